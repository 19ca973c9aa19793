/* SPDX-License-Identifier: GPL-2.0-only */
/* What a checkpoint does in the attempts: it reaches the target by right, and is then made to share it, or is asked by
 * its own words to load what is not its own. A checkpoint is a copy of this program. */
#include "attempt.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char memory[4096];

static int reached(void)	/* the target, as what= says, and what it has to say in memory */
{
	ssize_t size = 0;
	int fd;

	if (is("what", "tcp")) {
		struct address to = given_address();

		fd = tcp_socket(to.storage.ss_family, number("protocol", 0));
		ok(connect(fd, (void *)&to.storage, to.size), "connect");
	} else if (is("what", "udp-sent")) {	/* and not connected */
		struct address to = given_address();

		fd = udp_socket(to.storage.ss_family);
		ok(sendto(fd, "", 0, 0, (void *)&to.storage, to.size), "sendto");
	} else if (is("what", "udp")) {
		struct address to = given_address();

		fd = udp_socket(to.storage.ss_family);
		ok(connect(fd, (void *)&to.storage, to.size), "connect");
	} else if (is("what", "unix") || is("what", "dgram")) {
		struct address to = unix_address(given("target"));

		fd = ok(socket(AF_UNIX, number("type", SOCK_STREAM), 0), "socket");
		ok(connect(fd, (void *)&to.storage, to.size), "connect");
	} else {
		fd = ok(open(given("target"), O_RDONLY), "open");
		size = ok(read(fd, memory, sizeof(memory) - 1), "read");
		lseek(fd, 0, SEEK_SET);
	}
	memory[size] = 0;
	return fd;
}

ROLE("hold")		/* keeps it and waits; tracer=any: a debugger may be anybody, where Yama asks */
{
	int fd = reached();

	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	printf("held %d %lx\n", fd, (unsigned long)memory);
	fflush(stdout);
	for (;;)
		pause();
}

ROLE("idle")		/* has nothing, waits; a debugger may be anybody */
{
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	printf("held -1 %lx\n", (unsigned long)memory);
	fflush(stdout);
	for (;;)
		pause();
}

ROLE("pass")		/* sends it over the socket to= */
{
	send_fd(number("to", -1), reached());
	pause();
	done();
}

ROLE("leak")		/* executes program= with words after it, the target open as descriptor 100 */
{
	dup2(reached(), 100);
	execl(given("program"), "attempt", given("then"), "fd=100", text("token=%s", perhaps("token", "")),
	      text("goal=%s", perhaps("goal", "read")), NULL);
	failed("execve");
}

ROLE("errand")		/* starts program= as a child in one of several ways, which is then no checkpoint any more */
{
	const char *how = perhaps("how", "fork");
	char *argv[] = {"attempt", "plain", text("goal=%s", given("goal")), text("target=%s", given("target")),
			text("token=%s", perhaps("token", "")), NULL};
	pid_t child = strcmp(how, "exec") ? strcmp(how, "vfork") ? fork() : vfork() : 0;

	if (child)
		become(child);
	if (!strcmp(how, "daemon")) {		/* twice forked, a session of its own, its parent gone */
		int fds[2];

		ok(pipe(fds), "pipe");
		if (fork()) {
			char byte;
			int status = BROKEN;

			close(fds[1]);
			while (read(fds[0], &byte, 1) > 0)
				status = byte;
			_exit(status);
		}
		setsid();
		if (fork())
			_exit(0);
		while (getppid() == getsid(0))
			usleep(1000);
		child = fork();
		if (child) {
			int status;
			char byte;

			waitpid(child, &status, 0);
			byte = WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED;
			if (write(fds[1], &byte, 1) != 1)
				_exit(BROKEN);
			_exit(0);
		}
		close(fds[1]);
	}
	execv(given("program"), argv);
	failed("execve");
}

ROLE("load-library")		/* dlopen(3) */
{
	if (!dlopen(given("library"), RTLD_NOW))
		end(BLOCKED, "EACCES dlopen: %s", dlerror());
	broken("the library came back");
}

/* Code that needs nothing but its registers: opens rdi, reads it into rsi, writes it to 1, ends. */
#ifdef __x86_64__
extern const unsigned char payload[], payload_end[];
asm(".section .rodata\n.globl payload\n.globl payload_end\npayload:\n"
    "mov %rsi, %r12\n xor %esi, %esi\n xor %edx, %edx\n mov $2, %eax\n syscall\n"		/* open */
    "test %eax, %eax\n js 1f\n mov %eax, %edi\n mov %r12, %rsi\n mov $1024, %edx\n xor %eax, %eax\n syscall\n"	/* read */
    "mov %eax, %edx\n mov %r12, %rsi\n mov $1, %edi\n mov $1, %eax\n syscall\n"		/* write */
    "xor %edi, %edi\n mov $60, %eax\n syscall\n"						/* exit 0 */
    "1: mov $10, %edi\n mov $60, %eax\n syscall\n"						/* exit: blocked */
    "payload_end:\n.previous\n");
#endif

ROLE("alien")		/* runs code that is not its own: from=anonymous | private | file | memfd, by=mmap | mprotect */
{
#ifdef __x86_64__
	size_t size = payload_end - payload;
	const char *from = given("from");
	bool is_late = is("by", "mprotect");
	int protection = is_late ? PROT_READ | PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC, fd = -1;
	char *code;

	if (!strcmp(from, "file"))
		fd = ok(open(scratch("code"), O_RDWR | O_CREAT, 0700), "open a file of our own");
	if (!strcmp(from, "memfd"))
		fd = ok(memfd_create("code", 0), "memfd_create");
	if (fd >= 0)
		ok(ftruncate(fd, 4096), "ftruncate");
	code = mmap(NULL, 4096, protection, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (code == MAP_FAILED)
		failed("mmap PROT_EXEC");
	memcpy(code, payload, size);
	if (is_late)
		ok(mprotect(code, 4096, PROT_READ | PROT_EXEC), "mprotect PROT_EXEC");
	fflush(stdout);
	((void (*)(const char *, char *))(void *)code)(given("target"), memory);
	broken("the code came back");
#else
	absent("the code is for x86-64");
#endif
}
