/* SPDX-License-Identifier: GPL-2.0-only */
/* H7, code without exec: to run what may not be executed, or what is in it, by other means than executing its file. */
#include "attempt.h"

#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#define STACK 65536

static char *words[] = {"tool", "reveal", NULL};
static char *environment_[] = {NULL};

static void copy_into(int out)		/* by how=read | sendfile | splice | copy_file_range | mmap */
{
	int in = ok(open(given("target"), O_RDONLY), "open"), fds[2];
	struct stat status;

	ok(fstat(in, &status), "fstat");
	if (is("how", "sendfile")) {
		ok(sendfile(out, in, NULL, status.st_size), "sendfile");
	} else if (is("how", "splice")) {
		ssize_t size;

		ok(pipe(fds), "pipe");
		while ((size = ok(splice(in, NULL, fds[1], NULL, 65536, 0), "splice")) > 0)
			ok(splice(fds[0], NULL, out, NULL, size, 0), "splice");
	} else if (is("how", "mmap")) {
		char *bytes = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, in, 0);

		if (bytes == MAP_FAILED)
			failed("mmap");
		ok(write(out, bytes, status.st_size), "write");
	} else {
		char bytes[65536];
		ssize_t size;

		while ((size = ok(read(in, bytes, sizeof(bytes)), "read")) > 0)
			ok(write(out, bytes, size), "write");
	}
}

TECHNIQUE("memfd-copy")		/* its bytes in memory, executed there; how= they come there */
{
	int out = ok(memfd_create("tool", 0), "memfd_create");
	pid_t child;

	copy_into(out);
	fflush(stdout);
	child = ok(fork(), "fork");
	if (!child) {
		fexecve(out, words, environment_);
		failed("fexecve");
	}
	become(child);
}

TECHNIQUE("file-copy")
{
	int out = ok(open(scratch("copy"), O_WRONLY | O_CREAT, 0700), "create");

	copy_into(out);
	close(out);
	run_program((char *[]){(char *)scratch("copy"), "reveal", NULL});
}

TECHNIQUE("exec-descriptor")	/* execveat(2) of a descriptor; flags=path (O_PATH) | read */
{
	int fd = ok(open(given("target"), is("flags", "path") ? O_PATH : O_RDONLY), "open");

	reach_fd(fd);
}

TECHNIQUE("exec-proc-fd")
{
	run_program((char *[]){text("/proc/self/fd/%d", (int)ok(open(given("target"), O_PATH), "open")), "reveal", NULL});
}

TECHNIQUE("exec-loader")	/* ld.so maps it and jumps into it */
{
	const char *loader = perhaps("loader", "/lib64/ld-linux-x86-64.so.2");

	if (access(loader, X_OK))
		absent("%s is not there", loader);
	ask_program((char *[]){(char *)loader, (char *)given("target"), "reveal", NULL}, given("target"));
}

TECHNIQUE("exec-mapped")	/* mapped executable; what it would give away is looked up there */
{
	int fd = ok(open(given("target"), O_RDONLY), "open");
	const char *mark = given("mark");
	struct stat status;
	char *bytes, *found;

	ok(fstat(fd, &status), "fstat");
	bytes = mmap(NULL, status.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		failed("mmap PROT_EXEC");
	found = memmem(bytes, status.st_size, mark, strlen(mark));
	if (!found)
		broken("the mark is not in the program");
	show_bytes(found, strnlen(found, 64));
	done();
}

TECHNIQUE("exec-interpreter")	/* with=sh | source | python3 | perl | pipe: a script, read by its interpreter */
{
	const char *with = given("with"), *target = given("target");

	if (!strcmp(with, "source"))
		ask_program((char *[]){"/bin/sh", "-c", text(". %s", target), NULL}, target);
	if (!strcmp(with, "pipe"))
		ask_program((char *[]){"/bin/sh", "-c", text("cat %s | sh", target), NULL}, target);
	if (access(text("/usr/bin/%s", with), X_OK) && access(text("/bin/%s", with), X_OK))
		absent("%s is not installed", with);
	ask_program((char *[]){access(text("/usr/bin/%s", with), X_OK) ? text("/bin/%s", with) : text("/usr/bin/%s", with),
			       (char *)target, NULL}, target);
}

TECHNIQUE("exec-as-interpreter")	/* a script of ours names it in its first line */
{
	fill(scratch("script"), text("#!%s reveal\n", given("target")));
	run_program((char *[]){(char *)scratch("script"), NULL});
}

static int in_thread(void *unused)
{
	(void)unused;
	execve(given("target"), words, environment_);
	failed("execve");
}

static void *thread(void *unused)
{
	in_thread(unused);
	return NULL;
}

TECHNIQUE("exec-spawn")		/* how=posix_spawn | vfork | clone (shares memory) | thread */
{
	const char *how = given("how");
	pid_t child = 0;
	int error;

	fflush(stdout);
	if (!strcmp(how, "posix_spawn")) {
		error = posix_spawn(&child, given("target"), NULL, NULL, words, environment_);
		if (error) {
			errno = error;
			failed("posix_spawn");
		}
	} else if (!strcmp(how, "vfork")) {
		child = vfork();
		if (!child) {
			execve(given("target"), words, environment_);
			_exit(errno == EPERM || errno == EACCES ? BLOCKED : BROKEN);
		}
	} else if (!strcmp(how, "clone")) {
		child = clone(in_thread, (char *)mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + STACK,
			      CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL);
	} else {
		child = fork();
		if (!child) {		/* not the leader of its group of threads */
			pthread_t made;

			pthread_create(&made, NULL, thread, NULL);
			pthread_join(made, NULL);
		}
	}
	become(ok(child, how));
}

TECHNIQUE("uselib")		/* the oldest way to map a library */
{
#ifdef SYS_uselib
	ok(syscall(SYS_uselib, given("target")), "uselib");
	done();
#else
	absent("there is no uselib on this processor");
#endif
}

TECHNIQUE("exec-binfmt")	/* the interpreter of a format of ours, in a user namespace of ours (since 6.7) */
{
	own_mounts();
	ok(mkdir(scratch("formats"), 0755), "mkdir");
	need(mount("binfmt_misc", scratch("formats"), "binfmt_misc", 0, NULL), "mounting binfmt_misc in a user namespace");
	fill(scratch("file.drill"), "nothing\n");
	write_text(scratch("formats/register"), text(":drill:E::drill::%s:%s", given("target"), perhaps("flags", "")));
	ask_program((char *[]){"/bin/sh", "-c", text("exec %s reveal", scratch("file.drill")), NULL}, scratch("file.drill"));
}
