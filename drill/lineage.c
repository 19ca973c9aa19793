/* SPDX-License-Identifier: GPL-2.0-only */
/* H8, lineage laundering: to get or keep a stamp by whose child one is, or to have it done by someone who runs anyway. */
#include "attempt.h"

#include <sys/mount.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

TECHNIQUE("child")	/* of the checkpoint, by exec: how=exec | fork | vfork | daemon. Its stamp ends with its program */
{
	become(start_checkpoint(-1, "errand", text("how=%s", given("how")), text("program=%s", given("program")),
				text("goal=%s", given("goal")), text("target=%s", given("target")),
				text("token=%s", perhaps("token", "")), NULL));
}

TECHNIQUE("re-parented")	/* under which process one hangs means nothing: how=subreaper | session | pid-namespace */
{
	const char *how = given("how");
	pid_t child;
	int status;

	if (!strcmp(how, "subreaper"))
		ok(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
	if (!strcmp(how, "pid-namespace"))
		ok(unshare(CLONE_NEWPID), "unshare(CLONE_NEWPID)");
	fflush(stdout);
	child = ok(fork(), "fork");
	if (!child) {
		if (!strcmp(how, "session"))
			setsid();
		if (!strcmp(how, "subreaper")) {	/* its parent goes, and it hangs under us */
			if (fork())
				_exit(DONE);
			usleep(50000);
		}
		reach(given("target"));
	}
	status = wait_for(child);
	if (!strcmp(how, "subreaper"))
		status = wait_for(-1);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED);
}

/* -- brokers: who starts things for others. from= the checkpoint whose children keep its stamp */

static char *request(void)	/* the line of shell that goes for the target and leaves what it got in a file */
{
	return text("%s plain goal=%s target=%s token=%s > %s.new 2>&1; mv %s.new %s", given("program"), given("goal"), given("target"),
		    perhaps("token", ""), scratch("answer"), scratch("answer"), scratch("answer"));
}

static _Noreturn void await(long seconds)	/* the answer of whoever was asked */
{
	for (long i = 0; i < seconds * 20; i++, usleep(50000)) {
		char last[4096] = {0};
		int fd = open(scratch("answer"), O_RDONLY);

		if (fd < 0)
			continue;
		ssize_t size = read(fd, last, sizeof(last) - 1);

		show_bytes(last, size > 0 ? size : 0);
		if (strstr(last, "\nblocked ") || strstr(last, "Operation not permitted") || strstr(last, "Permission denied"))
			end(BLOCKED, "EPERM for whoever was asked");
		done();
	}
	broken("nobody did it within %ld s", seconds);
}

ROLE("ask")	/* how=systemd-run | dbus | at | cron */
{
	const char *how = given("how"), *line = request();
	int status;

	if (!strcmp(how, "systemd-run"))
		status = system(text("systemd-run --quiet --collect --no-block sh -c '%s' >&2", line));
	else if (!strcmp(how, "dbus"))
		status = system(text("busctl --quiet -- call org.freedesktop.systemd1 /org/freedesktop/systemd1 "
				     "org.freedesktop.systemd1.Manager StartTransientUnit 'ssa(sv)a(sa(sv))' nbspd-drill-%d.service "
				     "fail 1 ExecStart 'a(sasb)' 1 /bin/sh 3 /bin/sh -c '%s' false 0 >&2", getpid(), line));
	else if (!strcmp(how, "at"))
		status = system(text("echo '%s' | at now >&2", line));
	else {
		const char *entry = "/etc/cron.d/nbspd-drill";

		fill(entry, text("* * * * * root %s\n", line));
		status = chmod(entry, 0644);
	}
	if (status)
		broken("%s: wait status %#x", how, status);
	done();
}

TECHNIQUE("broker")
{
	const char *how = given("how");
	int status;
	pid_t child;

	if ((!strcmp(how, "systemd-run") || !strcmp(how, "dbus")) && access("/run/systemd/system", F_OK))
		absent("systemd does not run here");
	if (!strcmp(how, "at") && (access("/usr/bin/at", X_OK) || access("/var/spool/cron/atjobs", F_OK)))
		absent("at is not installed");
	if (!strcmp(how, "at") && system("pidof atd >/dev/null 2>&1"))
		absent("atd does not run here");
	if (!strcmp(how, "cron") && (access("/etc/cron.d", F_OK) || system("pidof cron >/dev/null 2>&1")))
		absent("cron does not run here");
	child = start_checkpoint(2, "ask", text("how=%s", how), text("program=%s", given("program")), text("goal=%s", given("goal")),
				 text("target=%s", given("target")), text("token=%s", perhaps("token", "")),
				 text("scratch=%s", given("scratch")), NULL);
	status = wait_for(child);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN);
	await(!strcmp(how, "cron") ? 130 : 15);
}

/* -- the kernel itself starts programs: knob=core_pattern | modprobe | release_agent | uevent_helper */

static char *helper(void)
{
	fill(scratch("helper"), text("#!/bin/sh\n%s\n", request()));
	ok(chmod(scratch("helper"), 0755), "chmod");
	return (char *)scratch("helper");
}

TECHNIQUE("kernel-helper")
{
	const char *knob = given("knob"), *path = helper();
	bool is_core = !strcmp(knob, "core_pattern");
	const char *file = is_core ? "/proc/sys/kernel/core_pattern" : !strcmp(knob, "modprobe") ? "/proc/sys/kernel/modprobe" :
			   "/sys/kernel/uevent_helper";
	char before[256] = {0};

	if (access(file, F_OK))
		absent("there is no %s", file);
	ok(read(ok(open(file, O_RDONLY), "open"), before, sizeof(before) - 1), "read");
	write_text(file, is_core ? text("|%s", path) : path);
	pid_t child = fork();

	if (!child) {
		if (is_core)
			abort();
		if (!strcmp(knob, "modprobe"))
			mount("none", given("scratch"), "nbspdrill", 0, NULL);	/* the kernel asks for the module of that */
		else
			set_text("/sys/class/net/lo/uevent", "change");
		_exit(0);
	}
	waitpid(child, NULL, 0);
	usleep(300000);
	set_text(file, before);
	await(5);
}

TECHNIQUE("release-agent")	/* of a hierarchy of our own */
{
	const char *path = helper();
	pid_t child;

	own_mounts();
	ok(mkdir(scratch("group"), 0755), "mkdir");
	mount_or_fail("cgroup", scratch("group"), "cgroup", 0, "none,name=nbspd-drill");
	write_text(scratch("group/release_agent"), path);	/* refused, it leaves a hierarchy that goes with its mount */
	ok(mkdir(scratch("group/inner"), 0755), "mkdir of a cgroup");
	write_text(scratch("group/inner/notify_on_release"), "1");
	child = fork();
	if (!child) {
		write_text(scratch("group/inner/cgroup.procs"), "0");
		_exit(0);
	}
	waitpid(child, NULL, 0);
	usleep(300000);
	rmdir(scratch("group/inner"));
	await(5);
}

/* -- the knobs themselves */

TECHNIQUE("second-mount")	/* of type=, the file system that the target is on, mounted at= */
{
	const char *rest = given("target") + strlen(given("at"));
	pid_t child;

	own_mounts();
	ok(unshare(CLONE_NEWPID), "unshare(CLONE_NEWPID)");
	ok(mkdir(scratch("point"), 0755), "mkdir");
	fflush(stdout);
	child = ok(fork(), "fork");
	if (!child) {
		mount_or_fail("drill", scratch("point"), given("type"), 0, NULL);
		reach(text("%s%s", scratch("point"), rest));
	}
	become(child);
}

TECHNIQUE("release-agent-option")	/* by=mount | fsconfig: no file is opened */
{
	own_mounts();
	ok(mkdir(scratch("group"), 0755), "mkdir");
	if (is("by", "fsconfig")) {
		enum { SET_FLAG = 0, SET_STRING = 1, CREATE = 6 };
		int fd = ok(syscall(SYS_fsopen, "cgroup", 0), "fsopen");

		ok(syscall(SYS_fsconfig, fd, SET_FLAG, "none", NULL, 0), "fsconfig of none");
		ok(syscall(SYS_fsconfig, fd, SET_STRING, "name", text("nbspd-drill-%d", getpid()), 0), "fsconfig of name");
		ok(syscall(SYS_fsconfig, fd, SET_STRING, "release_agent", "/nonexistent", 0), "fsconfig of release_agent");
		ok(syscall(SYS_fsconfig, fd, CREATE, NULL, NULL, 0), "fsconfig to create");
		done();
	}
	mount_or_fail("cgroup", scratch("group"), "cgroup", 0,
		      text("none,name=nbspd-drill-%d,release_agent=/nonexistent", getpid()));
	umount2(scratch("group"), 0);
	done();
}
