/* SPDX-License-Identifier: GPL-2.0-only */
/* H2, other submission paths: io_uring by its raw calls, and aio.
 *
 * mode=plain | async (a worker thread does it) | poll (SQPOLL: a kernel thread does it, without a system call of ours)
 */
#include "attempt.h"

#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <sys/mman.h>

/* numbers of include/uapi/linux/io_uring.h that older headers do not have; the kernel says EINVAL if it neither */
enum { OP_SOCKET = 45, OP_SEND_ZC = 47, OP_SENDMSG_ZC = 48, OP_FTRUNCATE = 55, OP_SETXATTR = 42, OP_FSETXATTR = 41 };
#define DIRECT_SLOT 3

static struct {
	int fd;
	unsigned int *head, *tail, *mask, *array, *flags, *done_head, *done_tail, *done_mask;
	struct io_uring_sqe *entries;
	struct io_uring_cqe *results;
	bool is_async, is_polled;
} ring;

static void *map(size_t size, off_t at)
{
	void *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, at);

	if (made == MAP_FAILED)
		broken("mapping the ring: %s", strerror(errno));
	return made;
}

static void open_ring(void)
{
	struct io_uring_params told = {0};
	char *queue, *answers;

	ring.is_async = is("mode", "async");
	ring.is_polled = is("mode", "poll");
	if (ring.is_polled) {
		told.flags = IORING_SETUP_SQPOLL;
		told.sq_thread_idle = 2000;
	}
	ring.fd = need(syscall(SYS_io_uring_setup, 8, &told), "io_uring_setup");
	queue = map(told.sq_off.array + told.sq_entries * 4, IORING_OFF_SQ_RING);
	answers = map(told.cq_off.cqes + told.cq_entries * sizeof(*ring.results), IORING_OFF_CQ_RING);
	ring.entries = map(told.sq_entries * sizeof(*ring.entries), IORING_OFF_SQES);
	ring.head = (void *)(queue + told.sq_off.head);
	ring.tail = (void *)(queue + told.sq_off.tail);
	ring.mask = (void *)(queue + told.sq_off.ring_mask);
	ring.array = (void *)(queue + told.sq_off.array);
	ring.flags = (void *)(queue + told.sq_off.flags);
	ring.done_head = (void *)(answers + told.cq_off.head);
	ring.done_tail = (void *)(answers + told.cq_off.tail);
	ring.done_mask = (void *)(answers + told.cq_off.ring_mask);
	ring.results = (void *)(answers + told.cq_off.cqes);
}

static struct io_uring_sqe *entry(int operation, int fd)
{
	unsigned int at = *ring.tail & *ring.mask;
	struct io_uring_sqe *sqe = &ring.entries[at];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = operation;
	sqe->fd = fd;
	sqe->flags = ring.is_async ? IOSQE_ASYNC : 0;
	ring.array[at] = at;
	__atomic_store_n(ring.tail, *ring.tail + 1, __ATOMIC_RELEASE);
	return sqe;
}

/* Submits all entries, waits for that many answers, and returns the worst: the first negative one, or the last. */
static long submit(unsigned int wanted, const char *step)
{
	long worst = 0;

	if (!ring.is_polled)
		ok(syscall(SYS_io_uring_enter, ring.fd, wanted, wanted, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
	else
		ok(syscall(SYS_io_uring_enter, ring.fd, wanted, wanted, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, NULL, 0),
		   "io_uring_enter");
	for (; wanted; wanted--) {
		while (__atomic_load_n(ring.done_tail, __ATOMIC_ACQUIRE) == *ring.done_head)
			ok(syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
		long result = ring.results[*ring.done_head & *ring.done_mask].res;

		__atomic_store_n(ring.done_head, *ring.done_head + 1, __ATOMIC_RELEASE);
		if (result == -EINPROGRESS)	/* a connection that is being made: ask its socket */
			result = 0;
		if (worst >= 0 && (result != -ECANCELED || wanted == 1))
			worst = result;
	}
	if (worst < 0) {
		errno = -worst;
		if (worst == -EINVAL || worst == -EDESTADDRREQ)		/* send took no address before Linux 6.1 */
			absent("%s: io_uring of this kernel does not know it (%s)", step, strerrorname_np(errno));
		failed(step);
	}
	return worst;
}

static void prepare_open(struct io_uring_sqe *sqe, bool is_openat2, const char *path, int flags)
{
	static struct open_how how;

	how.flags = flags;
	sqe->opcode = is_openat2 ? IORING_OP_OPENAT2 : IORING_OP_OPENAT;
	sqe->addr = (uintptr_t)path;
	if (is_openat2) {
		sqe->len = sizeof(how);
		sqe->off = (uintptr_t)&how;
	} else {
		sqe->open_flags = flags;
	}
}

TECHNIQUE("uring-open")		/* call=openat | openat2; then the goal by ordinary calls */
{
	open_ring();
	prepare_open(entry(0, AT_FDCWD), is("call", "openat2"), given("target"), open_flags());
	reach_fd(submit(1, "io_uring open"));
}

TECHNIQUE("uring-only")		/* opened and read or written in one chain, in a slot of the ring: no descriptor ever */
{
	static int none[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
	bool is_write = is("goal", "write");
	struct io_uring_sqe *sqe;
	char bytes[4096] = {0};
	struct iovec piece = {bytes, sizeof(bytes)};

	open_ring();
	ok(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, none, 8), "IORING_REGISTER_FILES");
	if (is("how", "fixed"))
		ok(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &piece, 1), "IORING_REGISTER_BUFFERS");
	if (is_write)
		piece.iov_len = snprintf(bytes, sizeof(bytes), "%s", given("token"));
	sqe = entry(0, AT_FDCWD);
	prepare_open(sqe, is("call", "openat2"), given("target"), open_flags());
	sqe->file_index = DIRECT_SLOT + 1;
	sqe->flags |= IOSQE_IO_LINK;
	sqe = entry(is_write ? IORING_OP_WRITE : IORING_OP_READ, DIRECT_SLOT);
	sqe->addr = (uintptr_t)bytes;
	sqe->len = piece.iov_len;
	sqe->flags |= IOSQE_FIXED_FILE;
	if (is("how", "fixed"))
		sqe->opcode = is_write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
	if (is("how", "vector")) {
		sqe->opcode = is_write ? IORING_OP_WRITEV : IORING_OP_READV;
		sqe->addr = (uintptr_t)&piece;
		sqe->len = 1;
	}
	submit(2, "io_uring open and read");
	show_bytes(bytes, strnlen(bytes, sizeof(bytes)));
	done();
}

TECHNIQUE("uring-splice")	/* opened in a slot, spliced from there into a pipe */
{
	static int none[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
	struct io_uring_sqe *sqe;
	char bytes[4096];
	int fds[2];

	ok(pipe(fds), "pipe");
	open_ring();
	ok(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, none, 8), "IORING_REGISTER_FILES");
	sqe = entry(0, AT_FDCWD);
	prepare_open(sqe, false, given("target"), O_RDONLY);
	sqe->file_index = DIRECT_SLOT + 1;
	sqe->flags |= IOSQE_IO_LINK;
	sqe = entry(IORING_OP_SPLICE, fds[1]);
	sqe->splice_fd_in = DIRECT_SLOT;
	sqe->splice_flags = SPLICE_F_FD_IN_FIXED;
	sqe->splice_off_in = 0;
	sqe->off = -1;
	sqe->len = sizeof(bytes);
	submit(2, "io_uring open and splice");
	show_bytes(bytes, ok(read(fds[0], bytes, sizeof(bytes)), "read from a pipe"));
	done();
}

TECHNIQUE("uring-change")	/* how=: unlink, rename, rename-over, link, symlink, mkdir, xattr, fallocate, truncate */
{
	const char *how = given("how"), *target = given("target");
	struct io_uring_sqe *sqe;

	open_ring();
	sqe = entry(0, AT_FDCWD);
	sqe->addr = (uintptr_t)target;
	if (!strcmp(how, "unlink")) {
		sqe->opcode = IORING_OP_UNLINKAT;
	} else if (!strcmp(how, "rename") || !strcmp(how, "link")) {
		sqe->opcode = *how == 'r' ? IORING_OP_RENAMEAT : IORING_OP_LINKAT;
		sqe->addr2 = (uintptr_t)scratch("alias");
		sqe->len = AT_FDCWD;
	} else if (!strcmp(how, "rename-over")) {
		fill(scratch("mine"), given("token"));
		sqe->opcode = IORING_OP_RENAMEAT;
		sqe->addr = (uintptr_t)scratch("mine");
		sqe->addr2 = (uintptr_t)target;
		sqe->len = AT_FDCWD;
	} else if (!strcmp(how, "symlink")) {
		sqe->opcode = IORING_OP_SYMLINKAT;
		sqe->addr = (uintptr_t)"/etc/hostname";
		sqe->addr2 = (uintptr_t)text("%s/new", target);
	} else if (!strcmp(how, "mkdir")) {
		sqe->opcode = IORING_OP_MKDIRAT;
		sqe->addr = (uintptr_t)text("%s/new", target);
		sqe->len = 0700;
	} else if (!strcmp(how, "xattr")) {
		sqe->opcode = OP_SETXATTR;
		sqe->addr = (uintptr_t)"user.drill";
		sqe->addr2 = (uintptr_t)given("token");
		sqe->addr3 = (uintptr_t)target;
		sqe->len = 4;
	} else if (!strcmp(how, "fallocate")) {
		sqe->opcode = IORING_OP_FALLOCATE;
		sqe->fd = ok(open(target, O_WRONLY), "open");
		sqe->addr = 8192;	/* length; off is where, len the mode */
	} else if (!strcmp(how, "truncate")) {
		sqe->opcode = OP_FTRUNCATE;
		sqe->fd = ok(open(target, O_WRONLY), "open");
		sqe->addr = 0;
		sqe->off = 1;
	} else {
		broken("how=%s is not known", how);
	}
	submit(1, text("io_uring %s", how));
	if (!strcmp(how, "rename") || !strcmp(how, "link"))
		reach(scratch("alias"));
	done();
}

TECHNIQUE("uring-connect")	/* TCP or a unix stream socket; socket=ring: the ring makes the socket, too */
{
	struct address to = perhaps("address", NULL) ? given_address() : unix_address(given("target"));
	int fd;

	open_ring();
	if (is("socket", "ring")) {
		struct io_uring_sqe *sqe = entry(OP_SOCKET, to.storage.ss_family);

		sqe->off = SOCK_STREAM;
		fd = submit(1, "io_uring socket");
	} else {
		fd = ok(socket(to.storage.ss_family, SOCK_STREAM, 0), "socket");
	}
	struct io_uring_sqe *sqe = entry(IORING_OP_CONNECT, fd);

	sqe->addr = (uintptr_t)&to.storage;
	sqe->off = to.size;
	submit(1, "io_uring connect");
	greet(fd);
}

TECHNIQUE("uring-send")		/* a datagram: how=sendmsg | sendmsg_zc | send | send_zc; tcp=1: with TCP Fast Open */
{
	struct address to = perhaps("address", NULL) ? given_address() : unix_address(given("target"));
	const char *how = given("how"), *token = given("token");
	bool is_tcp = number("tcp", 0);
	struct iovec piece = {(void *)token, strlen(token)};
	struct msghdr message = {.msg_name = &to.storage, .msg_namelen = to.size, .msg_iov = &piece, .msg_iovlen = 1};
	struct io_uring_sqe *sqe;
	int fd = is_tcp ? tcp_socket(to.storage.ss_family, 0) : (int)ok(socket(to.storage.ss_family, SOCK_DGRAM, 0), "socket");
	bool is_copyless = strstr(how, "_zc");

	open_ring();
	sqe = entry(0, fd);
	sqe->msg_flags = is_tcp ? MSG_FASTOPEN : 0;
	if (!strncmp(how, "sendmsg", 7)) {
		sqe->opcode = is_copyless ? OP_SENDMSG_ZC : IORING_OP_SENDMSG;
		sqe->addr = (uintptr_t)&message;
		sqe->len = 1;
	} else {
		sqe->opcode = is_copyless ? OP_SEND_ZC : IORING_OP_SEND;
		sqe->addr = (uintptr_t)token;
		sqe->len = strlen(token);
		sqe->addr2 = (uintptr_t)&to.storage;
		((uint16_t *)&sqe->splice_fd_in)[0] = to.size;		/* addr_len, since 6.0; before, send wants a connection */
	}
	if (is_tcp) {
		submit(1, text("io_uring %s", how));
		greet(fd);
	}
	sent(submit(1, text("io_uring %s", how)), "io_uring");
}

TECHNIQUE("aio")		/* the older asynchronous calls, on an opened file */
{
	bool is_write = is("goal", "write");
	int fd = ok(open(given("target"), is_write ? O_WRONLY : O_RDONLY), "open");
	char *bytes = aligned_alloc(4096, 4096);
	struct iocb request = {.aio_fildes = fd, .aio_buf = (uintptr_t)bytes, .aio_nbytes = 4096, .aio_offset = 0};
	struct iocb *requests[] = {&request};
	struct io_event event;
	aio_context_t context = 0;

	memset(bytes, 0, 4096);
	request.aio_lio_opcode = is_write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	if (is_write)
		request.aio_nbytes = strlen(strcpy(bytes, given("token")));
	ok(syscall(SYS_io_setup, 1, &context), "io_setup");
	ok(syscall(SYS_io_submit, context, 1, requests), "io_submit");
	ok(syscall(SYS_io_getevents, context, 1, 1, &event, NULL), "io_getevents");
	errno = event.res < 0 ? -event.res : 0;
	ok(event.res, "aio");
	show_bytes(bytes, strnlen(bytes, 4096));
	done();
}

