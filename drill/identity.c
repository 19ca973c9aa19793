/* SPDX-License-Identifier: GPL-2.0-only */
/* H6, borrowed identity: to be taken for the checkpoint, or to act from within it. */
#include "attempt.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>

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
