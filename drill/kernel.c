/* SPDX-License-Identifier: GPL-2.0-only */
/* H13, the kernel: code or eyes inside it. The modules and programs here are nonsense, and only asked for: what matters is
 * whether the kernel begins to look at them. */
#include "attempt.h"

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/io.h>
#include <sys/wait.h>

static long bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

TECHNIQUE("module")		/* by=memory | file: ENOEXEC says that it was taken for a module and read */
{
	static const char nonsense[256] = "\177ELF nonsense";	/* shorter than a header, it would not even be looked at */
	long result;

	if (is("by", "file")) {
		fill(scratch("module"), nonsense);
		result = syscall(SYS_finit_module, ok(open(scratch("module"), O_RDONLY), "open"), "", 0);
	} else {
		result = syscall(SYS_init_module, nonsense, sizeof(nonsense), "");
	}
	if (result < 0 && errno == ENOEXEC)
		done();
	ok(result, "init_module");
	done();
}

TECHNIQUE("new-kernel")		/* kexec: by=load | file, with nothing to load (lab) */
{
	long result;

	fill(scratch("kernel"), "no kernel");
	result = is("by", "file") ? syscall(SYS_kexec_file_load, ok(open(scratch("kernel"), O_RDONLY), "open"), -1, 0, NULL, 4)
				  : syscall(SYS_kexec_load, 0, 0, NULL, 0);

	if (result < 0 && (errno == ENOEXEC || errno == EINVAL))
		done();
	ok(result, "kexec_load");
	done();
}

TECHNIQUE("kernel-memory")	/* file=/dev/mem, /proc/kcore, /dev/port, /dev/cpu/0/msr (lab): opened and a byte read */
{
	const char *file = given("file");
	char byte[8];
	int fd;

	if (access(file, F_OK))
		absent("there is no %s", file);
	fd = ok(open(file, O_RDONLY), "open");
	if (pread(fd, byte, 8, 0) < 0 && (errno == EPERM || errno == EACCES))
		failed("read");
	done();
}

TECHNIQUE("io-ports")		/* (lab) */
{
#ifdef __x86_64__
	ok(iopl(3), "iopl");
	done();
#else
	absent("ports are of x86");
#endif
}

static int load(int type, int attach, const struct bpf_insn *code, size_t count)
{
	static char log[4096];
	union bpf_attr attributes = {.prog_type = type, .expected_attach_type = attach, .insns = (uintptr_t)code, .insn_cnt = count,
				     .license = (uintptr_t)"GPL", .log_buf = (uintptr_t)log, .log_size = sizeof(log), .log_level = 1};
	int fd = bpf(BPF_PROG_LOAD, &attributes);

	if (fd < 0)
		fputs(log, stderr);
	return fd;
}

TECHNIQUE("foreign-program")	/* type= of enum bpf_prog_type, attach= of enum bpf_attach_type: it returns, and is thrown away */
{
	static const struct bpf_insn nothing[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
						  {.code = BPF_JMP | BPF_EXIT}};
	int fd = load(number("type", 1), number("attach", 0), nothing, 2);

	if (fd < 0 && errno == EINVAL)
		absent("this kernel has no programs of type %ld (EINVAL)", number("type", 1));
	ok(fd, "BPF_PROG_LOAD");
	done();
}

TECHNIQUE("foreign-rewrite")	/* a program in a cgroup below turns the connection towards port= after it was asked for elsewhere */
{
	struct bpf_insn code[] = {
		{.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 0},				/* the address */
		{.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 1, .src_reg = 2, .off = 4},		/* user_ip4 */
		{.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 0},				/* the port */
		{.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 1, .src_reg = 2, .off = 24},		/* user_port */
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1}, {.code = BPF_JMP | BPF_EXIT}};
	const char *group = text("%s/nbspd-drill-%d", given("cgroup"), getpid());
	struct address to = given_address(), ask = address_of("127.99.99.99", 9);
	bool is_udp = is("over", "udp");
	int attach = is_udp ? BPF_CGROUP_UDP4_SENDMSG : BPF_CGROUP_INET4_CONNECT, program, status, folder;
	pid_t child;

	memcpy(&code[0].imm, (char *)&to.storage + 4, 4);
	memcpy(&code[2].imm, (char *)&to.storage + 2, 2);
	program = ok(load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, attach, code, 6), "BPF_PROG_LOAD");
	ok(mkdir(group, 0755), "mkdir of a cgroup");
	folder = ok(open(group, O_RDONLY | O_DIRECTORY), "open of a cgroup");
	union bpf_attr attributes = {.target_fd = folder, .attach_bpf_fd = program, .attach_type = attach,
				     .attach_flags = BPF_F_ALLOW_MULTI};

	status = bpf(BPF_PROG_ATTACH, &attributes);
	if (status < 0) {
		int error = errno;

		rmdir(group);
		errno = error;
		failed("BPF_PROG_ATTACH");
	}
	fflush(stdout);
	child = fork();
	if (!child) {
		write_text(text("%s/cgroup.procs", group), "0");
		if (is_udp)
			sent(sendto(udp_socket(AF_INET), given("token"), strlen(given("token")), 0, (void *)&ask.storage, ask.size),
			     "sendto");
		int fd = tcp_socket(AF_INET, 0);

		ok(connect(fd, (void *)&ask.storage, ask.size), "connect");
		greet(fd);
	}
	waitpid(child, &status, 0);
	for (int i = 0; i < 100 && rmdir(group) < 0; i++)
		usleep(10000);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED);
}

TECHNIQUE("kernel-probe")	/* perf_event_open of a kprobe: an eye on a function of the kernel */
{
	struct perf_event_attr attributes = {.size = sizeof(attributes)};
	char type[16] = {0};
	int fd = open("/sys/bus/event_source/devices/kprobe/type", O_RDONLY);

	if (fd < 0)
		absent("this kernel has no kprobe events");
	ok(read(fd, type, sizeof(type) - 1), "read");
	attributes.type = atoi(type);
	attributes.kprobe_func = (uintptr_t)"do_nanosleep";
	attributes.sample_period = 1;
	ok(syscall(SYS_perf_event_open, &attributes, -1, 0, -1, 0), "perf_event_open");
	done();
}
