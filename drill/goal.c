/* SPDX-License-Identifier: GPL-2.0-only */
/* The goals: what a technique wants to do with what it got hold of, in the plainest way. */
#include "attempt.h"

#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

void show_bytes(const void *bytes, size_t size)
{
	fflush(stdout);
	for (size_t at = 0; at < size;) {
		ssize_t more = write(1, (const char *)bytes + at, size - at);

		if (more <= 0)
			return;
		at += more;
	}
}

void show(int fd)
{
	char bytes[4096];
	ssize_t size;

	while ((size = ok(read(fd, bytes, sizeof(bytes)), "read")) > 0)
		show_bytes(bytes, size);
}

void put_token(int fd)
{
	const char *token = given("token");

	ok(write(fd, token, strlen(token)), "write");
}

int open_flags(void)
{
	return is("goal", "write") || is("goal", "act") ? O_WRONLY | O_APPEND : O_RDONLY;
}

void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			broken("waitpid: %s", strerror(errno));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		end(BLOCKED, "the process was killed with SIGKILL");
	return status;
}

_Noreturn void become(pid_t pid)
{
	int status = wait_for(pid);

	if (WIFSIGNALED(status))
		broken("the process died of signal %d", WTERMSIG(status));
	_exit(WEXITSTATUS(status));
}

/* The errno of a failed execve comes back through a pipe that a successful one closes. */
_Noreturn void run_program(char *const argv[])
{
	int pipe_fds[2], error = 0, status;
	pid_t child;

	ok(pipe2(pipe_fds, O_CLOEXEC), "pipe");
	fflush(stdout);
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		execv(argv[0], argv);
		error = errno;
		_exit(write(pipe_fds[1], &error, sizeof(error)) < 0);
	}
	close(pipe_fds[1]);
	if (read(pipe_fds[0], &error, sizeof(error)) == sizeof(error)) {
		errno = error;
		failed("execve");
	}
	status = wait_for(child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 127)
		broken("%s ended with wait status %#x", argv[0], status);
	_exit(WEXITSTATUS(status));
}

/*
 * Another program is asked to read `named`, and says in its own words whether it could.  It was refused when a line of what it
 * says names the file and the error; nobody's exit status tells that (a pipe's is that of its last program).
 */
_Noreturn void ask_program(char *const argv[], const char *named)
{
	char said[16384];
	size_t size = 0;
	ssize_t more;
	int fds[2], status;
	pid_t child;

	ok(pipe(fds), "pipe");
	fflush(stdout);
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		execv(argv[0], argv);
		failed(text("execve of %s", argv[0]));
	}
	close(fds[1]);
	while (size < sizeof(said) - 1 && (more = read(fds[0], said + size, sizeof(said) - 1 - size)) > 0)
		size += more;
	said[size] = 0;
	show_bytes(said, size);
	status = wait_for(child);
	for (char *rest = said, *line; (line = strsep(&rest, "\n"));)
		if (strstr(line, named) && (strstr(line, strerror(EPERM)) || strstr(line, strerror(EACCES))))
			end(BLOCKED, "%s: %s", name_of(argv[0]), line);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		broken("%s ended with wait status %#x", argv[0], status);
	done();
}

static _Noreturn void reach_unix(const char *path)
{
	bool is_stream = !is("goal", "send");
	struct address address = unix_address(path);
	int fd = ok(socket(AF_UNIX, is_stream ? SOCK_STREAM : SOCK_DGRAM, 0), "socket");

	if (is_stream) {
		ok(connect(fd, (void *)&address.storage, address.size), "connect");
		greet(fd);
	}
	sent(sendto(fd, given("token"), strlen(given("token")), 0, (void *)&address.storage, address.size), "sendto");
}

_Noreturn void reach_at(int dir, const char *name)
{
	if (is("goal", "exec")) {
		char *argv[] = {(char *)name, "reveal", NULL}, *envp[] = {NULL};
		pid_t child;

		fflush(stdout);
		child = ok(fork(), "fork");
		if (!child) {
			syscall(SYS_execveat, dir, name, argv, envp, 0);
			failed("execveat");
		}
		become(child);
	}
	reach_fd(ok(openat(dir, name, open_flags()), "open"));
}

_Noreturn void reach(const char *path)
{
	if (is("goal", "connect") || is("goal", "send"))
		reach_unix(path);
	if (is("goal", "exec"))
		run_program((char *[]){(char *)path, "reveal", NULL});
	reach_at(AT_FDCWD, path);
}

_Noreturn void reach_fd(int fd)
{
	if (is("goal", "exec")) {
		char *argv[] = {"reveal", "reveal", NULL}, *envp[] = {NULL};
		pid_t child;

		fflush(stdout);
		child = ok(fork(), "fork");
		if (!child) {
			syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
			failed("execveat");
		}
		become(child);
	}
	if (is("goal", "write"))
		put_token(fd);
	else if (!is("goal", "act"))	/* of a knob: opened for writing, which is all that is judged, and left as it is */
		show(fd);
	done();
}

void fill(const char *path, const char *content)
{
	int fd = ok(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755), "making a file of our own");

	if (write(fd, content, strlen(content)) < 0)
		broken("writing a file of our own: %s", strerror(errno));
	close(fd);
}

void copy_file(const char *from, const char *to, mode_t mode)
{
	int in = ok(open(from, O_RDONLY), "open to copy"), out = ok(open(to, O_WRONLY | O_CREAT | O_TRUNC, mode), "create a copy");
	char bytes[65536];
	ssize_t size;

	while ((size = ok(read(in, bytes, sizeof(bytes)), "read to copy")) > 0)
		ok(write(out, bytes, size), "write a copy");
	fchmod(out, mode);
	close(in);
	close(out);
}

bool set_text(const char *path, const char *content)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_written = fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content);

	if (fd >= 0)
		close(fd);
	return is_written;
}

void write_text(const char *path, const char *content)
{
	if (!set_text(path, content))
		failed(text("writing %s", path));
}

bool in_userns(void)
{
	return is("via", "userns");
}

void own_mounts(void)
{
	if (in_userns()) {
		int uid = geteuid(), gid = getegid();

		need(unshare(CLONE_NEWUSER), "unshare(CLONE_NEWUSER)");
		set_text("/proc/self/setgroups", "deny");
		need(set_text("/proc/self/uid_map", text("0 %d 1", uid)) ? 0 : -1, "writing uid_map");
		need(set_text("/proc/self/gid_map", text("0 %d 1", gid)) ? 0 : -1, "writing gid_map");
		need(unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS) in a user namespace");
	} else {
		ok(unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)");
	}
	ok(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "making mounts private");
}

void mount_or_fail(const char *from, const char *to, const char *type, unsigned long flags, const char *data)
{
	if (mount(from, to, type, flags, data) < 0) {
		if (errno == ENODEV)
			absent("mount: this kernel has no file system %s (ENODEV)", type);
		failed(text("mount of %s", type ?: "a bind"));
	}
}

pid_t start_checkpoint(int out, ...)
{
	char *argv[24] = {(char *)given("checkpoint")};
	va_list list;
	pid_t child;
	int at = 1;

	va_start(list, out);
	while (at < 23 && (argv[at] = va_arg(list, char *)))
		at++;
	va_end(list);
	fflush(stdout);
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		if (out >= 0)
			dup2(out, 1);
		execv(argv[0], argv);
		failed("executing the checkpoint");
	}
	return child;
}

struct holder start_holder(const char *what)
{
	struct holder holder = {0};
	char line[256];
	int fds[2];
	ssize_t got;

	ok(pipe2(fds, O_CLOEXEC), "pipe");
	holder.pid = start_checkpoint(fds[1], strcmp(what, "idle") ? "hold" : "idle", text("what=%s", what), text("target=%s", perhaps("target", "")),
				      text("address=%s", perhaps("address", "")), text("port=%ld", number("port", 0)), NULL);
	close(fds[1]);
	holder.out = fds[0];
	got = read(fds[0], line, sizeof(line) - 1);
	line[got > 0 ? got : 0] = 0;
	if (sscanf(line, "held %d %lx", &holder.fd, &holder.address) != 2)
		end(strstr(line, "blocked") ? BLOCKED : BROKEN, "the checkpoint does not hold the target: %s", line);
	return holder;
}

void wait_for_rules(void)
{
	char byte;

	puts("ready");
	fflush(stdout);
	if (read(0, &byte, 1) != 1)
		broken("nobody said that the rules are active");
}

void send_fd(int over, int fd)
{
	char byte = '!';
	struct iovec piece = {&byte, 1};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

	control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	ok(sendmsg(over, &message, 0), "sending a descriptor");
}

/* A descriptor that a security module refuses is left out of the message, without an error. */
int receive_fd(int over)
{
	char byte;
	struct iovec piece = {&byte, 1};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int fd;

	if (!ok(recvmsg(over, &message, 0), "receiving a descriptor"))
		broken("whoever was to send the descriptor hung up");
	if (!CMSG_FIRSTHDR(&message) || message.msg_flags & MSG_CTRUNC)
		end(BLOCKED, "the message came without its descriptor");
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}
