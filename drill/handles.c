/* SPDX-License-Identifier: GPL-2.0-only */
/* H5, handles: what somebody else opened, or what was opened before there were rules. */
#include "attempt.h"

#include <linux/io_uring.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/mount.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static _Noreturn void use(int fd)	/* a descriptor of the target, by what= */
{
	const char *what = perhaps("what", "file");

	if (!strcmp(what, "tcp") || !strcmp(what, "unix"))
		greet(fd);
	if (!strcmp(what, "udp") || !strcmp(what, "dgram"))
		sent(send(fd, given("token"), strlen(given("token")), 0), "send");
	reach_fd(fd);
}

int receive_from_checkpoint(void)
{
	int fds[2];

	ok(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair");
	fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	start_checkpoint(-1, "pass", text("to=%d", fds[1]), text("what=%s", perhaps("what", "file")),
			 text("target=%s", perhaps("target", "")), text("address=%s", perhaps("address", "")),
			 text("port=%ld", number("port", 0)), text("protocol=%ld", number("protocol", 0)),
			 text("type=%ld", number("type", SOCK_STREAM)), NULL);
	close(fds[1]);
	return receive_fd(fds[0]);
}

TECHNIQUE("passed")		/* SCM_RIGHTS from the checkpoint */
{
	use(receive_from_checkpoint());
}

TECHNIQUE("passed-path")	/* an O_PATH descriptor, opened again by whoever got it */
{
	int fds[2];
	pid_t child;

	ok(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair");
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		send_fd(fds[1], ok(open(given("target"), O_PATH), "open O_PATH"));
		pause();
	}
	reach(text("/proc/self/fd/%d", receive_fd(fds[0])));
}

TECHNIQUE("taken")		/* pidfd_getfd(2) out of the checkpoint */
{
	struct holder holder = start_holder(perhaps("what", "file"));
	int pidfd = ok(syscall(SYS_pidfd_open, holder.pid, 0), "pidfd_open");

	use(ok(syscall(SYS_pidfd_getfd, pidfd, holder.fd, 0), "pidfd_getfd"));
}

TECHNIQUE("opened-again")	/* /proc/PID/fd/N of the checkpoint */
{
	struct holder holder = start_holder("file");

	reach(text("/proc/%d/fd/%d", holder.pid, holder.fd));
}

TECHNIQUE("map-files")		/* /proc/PID/map_files of a process that mapped it before the rules */
{
	int fd = ok(open(given("target"), O_RDONLY), "open");
	char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

	if (page == MAP_FAILED)
		failed("mmap");
	close(fd);
	wait_for_rules();
	reach(text("/proc/self/map_files/%lx-%lx", (unsigned long)page, (unsigned long)page + 4096));
}

TECHNIQUE("inherited")		/* over the exec that ends the checkpoint's stamp; goal of the descriptor */
{
	become(start_checkpoint(-1, "leak", text("program=%s", given("program")), "then=use-inherited",
				text("what=%s", perhaps("what", "file")), text("target=%s", perhaps("target", "")),
				text("address=%s", perhaps("address", "")), text("port=%ld", number("port", 0)),
				text("token=%s", given("token")), NULL));
}

ROLE("use-inherited")
{
	int fd = number("fd", -1), kind;
	socklen_t size = sizeof(kind);

	if (fcntl(fd, F_GETFD) < 0)
		end(BLOCKED, "the descriptor is gone: EBADF");
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) < 0)
		reach_fd(fd);
	if (kind == SOCK_STREAM)
		greet(fd);
	sent(send(fd, given("token"), strlen(given("token")), 0), "send");
}

TECHNIQUE("notified")		/* fanotify hands out a descriptor of what the checkpoint opens */
{
	struct fanotify_event_metadata event;
	int watch = ok(fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, open_flags()), "fanotify_init");

	ok(fanotify_mark(watch, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, given("target")), "fanotify_mark");
	start_holder("file");
	/* what cannot be opened for the watcher is an error of read, or an event without a descriptor */
	ok(read(watch, &event, sizeof(event)), "reading the event");
	if (event.fd < 0)
		end(BLOCKED, "the event came without a descriptor");
	reach_fd(event.fd);
}

TECHNIQUE("older")		/* descriptors older than the rules: what=file | directory | path | tcp | udp | unix | dgram */
{
	const char *what = given("what");
	struct address to = {0};
	int fd;

	if (!strcmp(what, "directory")) {
		fd = ok(open(folder_of(given("target")), O_PATH | O_DIRECTORY), "open");
		wait_for_rules();
		reach_at(fd, name_of(given("target")));
	}
	if (!strcmp(what, "path")) {
		fd = ok(open(given("target"), O_PATH), "open");
		wait_for_rules();
		reach(text("/proc/self/fd/%d", fd));
	}
	if (!strcmp(what, "file")) {
		fd = ok(open(given("target"), open_flags()), "open");
		wait_for_rules();
		use(fd);
	}
	to = perhaps("address", NULL) ? given_address() : unix_address(given("target"));
	fd = ok(socket(to.storage.ss_family, strcmp(what, "udp") && strcmp(what, "dgram") ? SOCK_STREAM : SOCK_DGRAM, 0), "socket");
	ok(connect(fd, (void *)&to.storage, to.size), "connect");
	if (strcmp(what, "udp") && strcmp(what, "dgram"))	/* the greeting is older than the rules as well: it proves nothing */
		ok(recv(fd, (char[256]){0}, 256, 0), "recv");
	wait_for_rules();
	if (!strcmp(what, "udp") || !strcmp(what, "dgram"))
		sent(send(fd, given("token"), strlen(given("token")), 0), "send");
	greet(fd);
}

TECHNIQUE("older-subscription")	/* the server goes on talking to a connection that says nothing any more */
{
	struct address to = given_address();
	int fd = tcp_socket(to.storage.ss_family, number("protocol", 0));
	char bytes[4096];
	ssize_t size;

	ok(connect(fd, (void *)&to.storage, to.size), "connect");
	ok(send(fd, "subscribe", 9, 0), "send");
	ok(recv(fd, bytes, sizeof(bytes), 0), "recv");
	wait_for_rules();
	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;	/* what came before */
	size = ok(recv(fd, bytes, sizeof(bytes), 0), "recv");
	show_bytes(bytes, size);
	done();
}

TECHNIQUE("older-mapping")	/* shared and writable, or only read */
{
	bool is_write = is("goal", "write");
	int fd = ok(open(given("target"), is_write ? O_RDWR : O_RDONLY), "open");
	char *page = mmap(NULL, 4096, is_write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED)
		failed("mmap");
	close(fd);
	wait_for_rules();
	if (is_write)
		memcpy(page, given("token"), strlen(given("token")));
	else
		show_bytes(page, strnlen(page, 4096));
	done();
}

TECHNIQUE("older-link")		/* a hard link made before */
{
	ok(link(given("target"), scratch("alias")), "link");
	wait_for_rules();
	reach(scratch("alias"));
}

TECHNIQUE("older-bind")		/* a bind mount made before, in mounts of our own */
{
	own_mounts();
	ok(mkdir(scratch("point"), 0755), "mkdir");
	mount_or_fail(folder_of(given("target")), scratch("point"), NULL, MS_BIND | (in_userns() ? MS_REC : 0), NULL);
	wait_for_rules();
	reach(text("%s/%s", scratch("point"), name_of(given("target"))));
}

TECHNIQUE("older-tree")		/* a detached copy of the mount, made before */
{
	int tree;

	own_mounts();
	tree = ok(open_tree(AT_FDCWD, folder_of(given("target")), OPEN_TREE_CLONE | O_CLOEXEC | (in_userns() ? AT_RECURSIVE : 0)),
		  "open_tree");
	wait_for_rules();
	reach_at(tree, name_of(given("target")));
}

TECHNIQUE("older-overlay")	/* mounted above it before */
{
	own_mounts();
	ok(mkdir(scratch("point"), 0755), "mkdir");
	ok(mkdir(scratch("empty"), 0755), "mkdir");
	mount_or_fail("overlay", scratch("point"), "overlay", 0, text("lowerdir=%s:%s%s", folder_of(given("target")), scratch("empty"),
								      in_userns() ? ",userxattr" : ""));
	wait_for_rules();
	reach(text("%s/%s", scratch("point"), name_of(given("target"))));
}

TECHNIQUE("older-connection-passed")	/* a descriptor that is older and travels now */
{
	int fds[2], fd = ok(open(given("target"), O_RDONLY), "open");
	pid_t child;

	ok(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair");
	child = ok(fork(), "fork");
	if (!child) {
		close(fd);
		reach_fd(receive_fd(fds[0]));
	}
	wait_for_rules();
	send_fd(fds[1], fd);
	close(fds[1]);
	become(child);
}

TECHNIQUE("older-in-flight")	/* it was sent before and lies in the socket since */
{
	int fds[2], fd = ok(open(given("target"), O_RDONLY), "open");

	ok(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair");
	send_fd(fds[1], fd);
	close(fd);
	wait_for_rules();
	reach_fd(receive_fd(fds[0]));
}

static int ring_of_one(struct io_uring_params *told, char **queue, char **answers, struct io_uring_sqe **entries)
{
	int fd = need(syscall(SYS_io_uring_setup, 2, told), "io_uring_setup");

	*queue = mmap(NULL, told->sq_off.array + 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	*answers = mmap(NULL, told->cq_off.cqes + told->cq_entries * 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_CQ_RING);
	*entries = mmap(NULL, 2 * sizeof(**entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (*queue == MAP_FAILED || *answers == MAP_FAILED || *entries == MAP_FAILED)
		broken("mapping the ring: %s", strerror(errno));
	return fd;
}

TECHNIQUE("older-ring")		/* a file registered with a ring before: no descriptor is left. then=read | install */
{
	struct io_uring_params told = {0};
	struct io_uring_sqe *entry;
	char *queue, *answers, bytes[4096] = {0};
	int file = ok(open(given("target"), O_RDONLY), "open"), fd = ring_of_one(&told, &queue, &answers, &entry), result;

	ok(syscall(SYS_io_uring_register, fd, IORING_REGISTER_FILES, &file, 1), "IORING_REGISTER_FILES");
	close(file);
	wait_for_rules();
	*entry = (struct io_uring_sqe){.opcode = IORING_OP_READ, .flags = IOSQE_FIXED_FILE, .fd = 0, .addr = (uintptr_t)bytes,
				       .len = sizeof(bytes)};
	if (is("then", "install")) {	/* back into the table of descriptors, since 6.8 */
		*entry = (struct io_uring_sqe){.opcode = 54, .flags = IOSQE_FIXED_FILE, .fd = 0};
	}
	*(unsigned int *)(queue + told.sq_off.array) = 0;
	__atomic_store_n((unsigned int *)(queue + told.sq_off.tail), 1, __ATOMIC_RELEASE);
	ok(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
	result = ((struct io_uring_cqe *)(answers + told.cq_off.cqes))->res;
	if (result < 0) {
		errno = -result;
		if (result == -EINVAL)
			absent("this io_uring does not know the operation (EINVAL)");
		failed("io_uring");
	}
	if (is("then", "install"))
		reach_fd(result);
	show_bytes(bytes, result);
	done();
}

TECHNIQUE("ring-message")	/* IORING_OP_MSG_RING hands a registered file from one ring to another */
{
	struct io_uring_params told[2] = {{0}, {0}};
	struct io_uring_sqe *entry[2];
	char *queue[2], *answers[2], bytes[4096] = {0};
	int none[2] = {-1, -1}, ring[2], file = ok(open(given("target"), O_RDONLY), "open"), result;

	for (int i = 0; i < 2; i++)
		ring[i] = ring_of_one(&told[i], &queue[i], &answers[i], &entry[i]);
	ok(syscall(SYS_io_uring_register, ring[0], IORING_REGISTER_FILES, &file, 1), "IORING_REGISTER_FILES");
	ok(syscall(SYS_io_uring_register, ring[1], IORING_REGISTER_FILES, none, 2), "IORING_REGISTER_FILES");
	close(file);
	wait_for_rules();
	for (int i = 0; i < 2; i++) {
		/* first the message, which carries slot 0 of the one into slot 1 of the other; then the reading there */
		*entry[i] = i ? (struct io_uring_sqe){.opcode = IORING_OP_READ, .flags = IOSQE_FIXED_FILE, .fd = 0,
						      .addr = (uintptr_t)bytes, .len = sizeof(bytes)}
			      : (struct io_uring_sqe){.opcode = 40, .fd = ring[1], .addr = 1, .addr3 = 0, .file_index = 1};
		*(unsigned int *)(queue[i] + told[i].sq_off.array) = 0;
		__atomic_store_n((unsigned int *)(queue[i] + told[i].sq_off.tail), 1, __ATOMIC_RELEASE);
		ok(syscall(SYS_io_uring_enter, ring[i], 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
		struct io_uring_cqe *answer = (void *)(answers[i] + told[i].cq_off.cqes);

		if (i)		/* the first answer in the second ring is the message's arrival */
			answer += *(unsigned int *)(answers[i] + told[i].cq_off.tail) - 1;
		result = answer->res;
		if (result < 0) {
			errno = -result;
			if (result == -EINVAL)
				absent("this io_uring sends no files between rings (EINVAL)");
			failed("io_uring");
		}
	}
	show_bytes(bytes, strnlen(bytes, sizeof(bytes)));
	done();
}
