/* SPDX-License-Identifier: GPL-2.0-only */
/* H6: from outside into the checkpoint's memory, by ptrace, process_vm, /proc/PID/mem, a core dump. */
#include "attempt.h"

#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>


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

/* Waits until a process is in pause(2), where its next instruction is known. Who may not look waits a little, and is
 * refused what comes next as well. */
static void await_pause(pid_t pid)
{
	char line[256];

	for (int i = 0; i < 600; i++, usleep(5000)) {
		FILE *file = fopen(text("/proc/%d/syscall", pid), "r");
		bool is_waiting = file && fgets(line, sizeof(line), file) && strtol(line, NULL, 10) == SYS_pause;

		if (file)
			fclose(file);
		if (is_waiting)
			return;
		if (!file && i > 20)
			return;
	}
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
		await_pause(holder.pid);
		ok(kill(holder.pid, SIGSTOP), "kill SIGSTOP");
		waitpid(holder.pid, NULL, __WALL);
		ok(ptrace(PTRACE_GETREGS, holder.pid, 0, &registers), "PTRACE_GETREGS");
		holder.address = (registers.rsp - 8192) & ~15UL;
	} else {
		holder = start_holder("idle");
		await_pause(holder.pid);
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

	await_pause(holder.pid);
	file = fopen(text("/proc/%d/syscall", holder.pid), "r");
	if (!file)
		failed("open /proc/PID/syscall");
	if (!fgets(line, sizeof(line), file))
		failed("read of /proc/PID/syscall");
	if (!strrchr(line, ' '))
		broken("the checkpoint does not wait: %s", line);
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
