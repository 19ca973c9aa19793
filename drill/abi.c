/* SPDX-License-Identifier: GPL-2.0-only */
/* H3, other ABIs: the 32-bit calls by int 0x80, and x32, from this 64-bit process. Their tables are other tables. */
#include "attempt.h"

#include <linux/net.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/wait.h>

#ifndef __x86_64__

TECHNIQUE("int80")
{
	absent("int 0x80 is of x86");
}

TECHNIQUE("x32")
{
	absent("x32 is of x86");
}

#else

/* arch/x86/entry/syscalls/syscall_32.tbl */
enum { I_READ = 3, I_WRITE = 4, I_OPEN = 5, I_CREAT = 8, I_LINK = 9, I_UNLINK = 10, I_EXECVE = 11, I_CHMOD = 15, I_RENAME = 38,
       I_MKDIR = 39, I_TRUNCATE = 92, I_SOCKETCALL = 102, I_OPENAT = 295, I_EXECVEAT = 358, I_SOCKET = 359, I_CONNECT = 362,
       I_SENDMSG = 370, I_OPENAT2 = 437 };
#define X32 0x40000000

static char *low, *low_end;	/* memory below 4 GB: 32-bit pointers reach it */

static uint32_t lowly(const void *bytes, size_t size)
{
	char *place;

	if (!low) {
		low = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		if (low == MAP_FAILED)
			broken("mmap MAP_32BIT: %s", strerror(errno));
		low_end = low;
	}
	place = low_end;
	low_end += (size + 15) & ~15UL;
	if (bytes)
		memcpy(place, bytes, size);
	return (uintptr_t)place;
}

static uint32_t low_text(const char *string)
{
	return lowly(string, strlen(string) + 1);
}

static long int80(long call, long a, long b, long c, long d, long e)
{
	long result;

	/* the kernel clears or keeps r8 to r11, depending on its age; eax is 32 bits wide */
	asm volatile("int $0x80" : "=a"(result) : "0"(call), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		     : "r8", "r9", "r10", "r11", "memory");
	result = (int)result;
	if (result < 0 && result > -4096) {
		errno = -result;
		return -1;
	}
	return result;
}

static void probe(void)		/* a kernel without it answers with SIGSEGV */
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(int80(20, 0, 0, 0, 0, 0) != getpid());	/* getpid */
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status) || WEXITSTATUS(status))
		absent("int 0x80 answers with wait status %#x: no 32-bit system calls here", status);
}

static _Noreturn void use(int fd)
{
	uint32_t bytes = lowly(NULL, 4096);
	long size;

	if (is("goal", "write")) {
		ok(int80(I_WRITE, fd, low_text(given("token")), strlen(given("token")), 0, 0), "int 0x80 write");
		done();
	}
	size = ok(int80(I_READ, fd, bytes, 4096, 0, 0), "int 0x80 read");
	show_bytes((void *)(uintptr_t)bytes, size);
	done();
}

static _Noreturn void execute(bool is_at)
{
	uint32_t path = low_text(given("target")), argv[3] = {path, low_text("reveal"), 0}, none = 0;
	uint32_t words = lowly(argv, sizeof(argv)), environment = lowly(&none, sizeof(none));
	pid_t child;

	fflush(stdout);
	child = ok(fork(), "fork");
	if (!child) {
		if (is_at)
			int80(I_EXECVEAT, AT_FDCWD, path, words, environment, 0);
		else
			int80(I_EXECVE, path, words, environment, 0, 0);
		failed("int 0x80 execve");
	}
	become(child);
}

static _Noreturn void contact(const char *call)
{
	struct address to = perhaps("address", NULL) ? given_address() : unix_address(given("target"));
	bool is_stream = !!strstr(call, "connect");
	uint32_t name = lowly(&to.storage, to.size), token = low_text(given("token")), size = strlen(given("token"));
	int fd = ok(int80(I_SOCKET, to.storage.ss_family, is_stream ? SOCK_STREAM : SOCK_DGRAM, 0, 0, 0), "int 0x80 socket");
	long result;

	if (!strcmp(call, "connect")) {
		ok(int80(I_CONNECT, fd, name, to.size, 0, 0), "int 0x80 connect");
		greet(fd);
	}
	if (!strcmp(call, "socketcall-connect")) {
		uint32_t arguments[] = {fd, name, to.size};

		ok(int80(I_SOCKETCALL, SYS_CONNECT, lowly(arguments, sizeof(arguments)), 0, 0, 0), "int 0x80 socketcall connect");
		greet(fd);
	}
	if (!strcmp(call, "socketcall-sendto")) {	/* plain sendto has its sixth argument in ebp, which is the compiler's */
		uint32_t arguments[] = {fd, token, size, 0, name, to.size};

		result = int80(I_SOCKETCALL, SYS_SENDTO, lowly(arguments, sizeof(arguments)), 0, 0, 0);
	} else {
		uint32_t piece[] = {token, size}, message[] = {name, to.size, lowly(piece, sizeof(piece)), 1, 0, 0, 0};

		result = int80(I_SENDMSG, fd, lowly(message, sizeof(message)), 0, 0, 0);
	}
	sent(result, "int 0x80 send");
}

TECHNIQUE("int80")	/* call=: open, openat, openat2, creat, link, unlink, rename, mkdir, chmod, truncate, execve, connect … */
{
	const char *call = given("call"), *target = perhaps("target", "");
	uint32_t path = low_text(target);
	int flags = open_flags();

	probe();
	if (!strcmp(call, "open"))
		use(ok(int80(I_OPEN, path, flags, 0, 0, 0), "int 0x80 open"));
	if (!strcmp(call, "openat"))
		use(ok(int80(I_OPENAT, AT_FDCWD, path, flags, 0, 0), "int 0x80 openat"));
	if (!strcmp(call, "openat2")) {
		struct open_how how = {.flags = flags};

		use(ok(int80(I_OPENAT2, AT_FDCWD, path, lowly(&how, sizeof(how)), sizeof(how), 0), "int 0x80 openat2"));
	}
	if (!strcmp(call, "execve") || !strcmp(call, "execveat"))
		execute(!strcmp(call, "execveat"));
	if (!strcmp(call, "creat"))
		ok(int80(I_CREAT, path, 0600, 0, 0, 0), "int 0x80 creat");
	else if (!strcmp(call, "link"))
		ok(int80(I_LINK, path, low_text(scratch("alias")), 0, 0, 0), "int 0x80 link");
	else if (!strcmp(call, "unlink"))
		ok(int80(I_UNLINK, path, 0, 0, 0, 0), "int 0x80 unlink");
	else if (!strcmp(call, "rename"))
		ok(int80(I_RENAME, path, low_text(scratch("alias")), 0, 0, 0), "int 0x80 rename");
	else if (!strcmp(call, "mkdir"))
		ok(int80(I_MKDIR, low_text(text("%s/new", target)), 0700, 0, 0, 0), "int 0x80 mkdir");
	else if (!strcmp(call, "chmod"))
		ok(int80(I_CHMOD, path, 0700, 0, 0, 0), "int 0x80 chmod");
	else if (!strcmp(call, "truncate"))
		ok(int80(I_TRUNCATE, path, 1, 0, 0, 0), "int 0x80 truncate");
	else
		contact(call);
	done();
}

TECHNIQUE("x32")	/* call=open | openat | execve | connect | sendto: numbers with bit 30 */
{
	const char *call = given("call");

	if (syscall(X32 | SYS_getpid) < 0)
		absent("x32 calls: %s", strerrorname_np(errno));
	if (!strcmp(call, "open") || !strcmp(call, "openat"))
		reach_fd(ok(!strcmp(call, "open") ? syscall(X32 | SYS_open, given("target"), open_flags())
						  : syscall(X32 | SYS_openat, AT_FDCWD, given("target"), open_flags()), "x32 open"));
	if (!strcmp(call, "execve")) {
		char *const argv[] = {(char *)given("target"), "reveal", NULL};
		uint32_t words[] = {low_text(argv[0]), low_text(argv[1]), 0}, none = 0;
		pid_t child = ok(fork(), "fork");

		if (!child) {
			syscall(X32 | 520, argv[0], (long)lowly(words, sizeof(words)), (long)lowly(&none, sizeof(none)));
			failed("x32 execve");
		}
		become(child);
	}
	struct address to = perhaps("address", NULL) ? given_address() : unix_address(given("target"));

	if (!strcmp(call, "connect")) {
		int fd = ok(syscall(X32 | SYS_socket, to.storage.ss_family, SOCK_STREAM, 0), "x32 socket");

		ok(syscall(X32 | SYS_connect, fd, &to.storage, to.size), "x32 connect");
		greet(fd);
	}
	int fd = ok(syscall(X32 | SYS_socket, to.storage.ss_family, SOCK_DGRAM, 0), "x32 socket");

	sent(syscall(X32 | SYS_sendto, fd, given("token"), strlen(given("token")), 0, &to.storage, to.size), "x32 sendto");
}

#endif
