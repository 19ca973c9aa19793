/* SPDX-License-Identifier: GPL-2.0-only */
/* H14, races: what is asked for changes between the look at it and its use. Each tries for seconds= (2), and ends with
 * the first time that the goal is reached. */
#include "attempt.h"

#include <linux/io_uring.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PATIENCE_S 10

static volatile bool is_over;
static volatile bool is_turn;	/* toggles, for what has two states */
static char flipping[4096];
static const char *target, *decoy;
static struct address address, harmless;
static volatile struct address shown;
static int lasts_errno;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void flip_path(void)
{
	is_turn = !is_turn;
	/* both have the same length, and differ in the last letters only */
	memcpy(flipping, is_turn ? target : decoy, strlen(target));
}

static void flip_address(void)
{
	memcpy((void *)&shown, is_turn ? (void *)&address : (void *)&harmless, sizeof(shown));
	is_turn = !is_turn;
}

static void flip_link(void)	/* a symbolic link is replaced */
{
	is_turn = !is_turn;
	if (symlink(is_turn ? target : decoy, scratch("next")) == 0)
		rename(scratch("next"), scratch("link"));
}

static void flip_folder(void)	/* two directories of ours change places, one a link to the target's folder */
{
	renameat2(AT_FDCWD, scratch("one"), AT_FDCWD, scratch("two"), RENAME_EXCHANGE);
}

static void *turning(void *turn)
{
	while (!is_over)
		((void (*)(void))turn)();
	return NULL;
}

static const char *secret_of(int fd)	/* whether it is the target that was got; the decoy says so itself */
{
	static char bytes[512];
	ssize_t size = read(fd, bytes, sizeof(bytes) - 1);

	bytes[size > 0 ? size : 0] = 0;
	return strncmp(bytes, "decoy", 5) && size > 0 ? bytes : NULL;
}

static bool try_path(const char *path)
{
	int fd = open(path, O_RDONLY);
	const char *got;

	if (fd < 0) {
		lasts_errno = errno == ENOENT ? lasts_errno : errno;
		return false;
	}
	got = secret_of(fd);
	close(fd);
	if (got)
		show_bytes(got, strlen(got));
	return got;
}

static bool try_flipping(void)
{
	return try_path(flipping);
}

static bool try_link(void)
{
	return try_path(scratch("link"));
}

static bool try_folder(void)
{
	return try_path(text("%s/%s", scratch("one"), name_of(target)));
}

static bool try_execute(void)	/* the decoy is a program that says nothing */
{
	int fds[2], status;
	pid_t child;
	char bytes[256] = {0};

	ok(pipe(fds), "pipe");
	child = fork();
	if (!child) {
		dup2(fds[1], 1);
		execl(flipping, "tool", "reveal", NULL);
		_exit(errno == EPERM || errno == EACCES ? BLOCKED : BROKEN);
	}
	close(fds[1]);
	ssize_t size = read(fds[0], bytes, sizeof(bytes) - 1);

	close(fds[0]);
	waitpid(child, &status, 0);
	if ((WIFEXITED(status) && WEXITSTATUS(status) == BLOCKED) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		lasts_errno = EPERM;
	if (size > 0 && strstr(bytes, given("mark"))) {
		show_bytes(bytes, size);
		return true;
	}
	return false;
}

static bool try_connect(void)
{
	int fd = tcp_socket(address.storage.ss_family, 0);
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);

	if (connect(fd, (void *)&shown.storage, address.size) < 0) {
		lasts_errno = errno;
		close(fd);
		return false;
	}
	if (getpeername(fd, (void *)&peer, &size) == 0 && !memcmp(&peer, &address.storage, 8))
		greet(fd);
	close(fd);
	return false;
}

static bool try_send(void)	/* the server says whether it came; ours only tells that nothing was refused */
{
	static int fd = -1;

	if (fd < 0)
		fd = udp_socket(address.storage.ss_family);
	if (sendto(fd, given("token"), strlen(given("token")), 0, (void *)&shown.storage, address.size) < 0)
		lasts_errno = errno;
	return false;
}

static struct io_uring_params told;
static char *queue, *answers;
static struct io_uring_sqe *entries;

static bool try_ring(void)	/* a kernel thread reads the path from our memory, at a moment of its own */
{
	static int fd = -1;
	unsigned int *tail, *head, index;
	const char *got;
	int result;

	if (fd < 0) {
		told.flags = IORING_SETUP_SQPOLL;
		told.sq_thread_idle = 2000;
		fd = need(syscall(SYS_io_uring_setup, 1, &told), "io_uring_setup");
		queue = mmap(NULL, told.sq_off.array + 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
		answers = mmap(NULL, told.cq_off.cqes + told.cq_entries * 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			       IORING_OFF_CQ_RING);
		entries = mmap(NULL, sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	}
	*entries = (struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)flipping};
	*(unsigned int *)(queue + told.sq_off.array) = 0;
	tail = (unsigned int *)(queue + told.sq_off.tail);
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ok(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, NULL, 0), "io_uring_enter");
	head = (unsigned int *)(answers + told.cq_off.head);
	index = *head & *(unsigned int *)(answers + told.cq_off.ring_mask);
	result = ((struct io_uring_cqe *)(answers + told.cq_off.cqes))[index].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	if (result < 0) {
		lasts_errno = result == -ENOENT ? lasts_errno : -result;
		return false;
	}
	got = secret_of(result);
	close(result);
	if (got)
		show_bytes(got, strlen(got));
	return got;
}

static bool try_handed(void)	/* opened while another process moves it about under two names */
{
	return try_path(decoy) || try_path(target);
}

static void flip_names(void)
{
	renameat2(AT_FDCWD, target, AT_FDCWD, decoy, RENAME_EXCHANGE);
}

static const struct {
	const char *name;
	void (*turn)(void);
	bool (*attempt)(void);
} races[] = {
	{"path", flip_path, try_flipping}, {"link", flip_link, try_link}, {"folder", flip_folder, try_folder},
	{"exec", flip_path, try_execute}, {"connect", flip_address, try_connect}, {"send", flip_address, try_send},
	{"ring", flip_path, try_ring}, {"names", flip_names, try_handed},
};

TECHNIQUE("race")	/* what=: path, link, folder, exec, connect, send, ring, names */
{
	double deadline = now() + number("seconds", 2);
	pthread_t thread;
	bool is_told;		/* by the server, whether the goal was reached */

	target = perhaps("target", "");
	decoy = perhaps("decoy", "");
	if (perhaps("address", NULL)) {
		address = given_address();
		harmless = address_of(given("address"), number("other", 0));
		shown = harmless;
	} else {
		if (strlen(target) != strlen(decoy))
			broken("target= and decoy= have to be of one length");
		strcpy(flipping, decoy);
		ok(symlink(decoy, scratch("link")), "symlink");
		ok(mkdir(scratch("one"), 0755), "mkdir");
		fill(text("%s/%s", scratch("one"), name_of(target)), "decoy\n");
		ok(symlink(folder_of(target), scratch("two")), "symlink");
	}
	for (size_t i = 0; i < sizeof(races) / sizeof(*races); i++) {
		if (!is("what", races[i].name))
			continue;
		if (pthread_create(&thread, NULL, turning, races[i].turn))
			broken("no thread");
		is_told = !strcmp(races[i].name, "send");
		/* on a busy machine the threads may take long to meet: then it goes on until something has happened */
		while (now() < deadline || (!is_told && !lasts_errno && now() < deadline + PATIENCE_S))
			if (races[i].attempt())
				done();
		is_over = true;
		pthread_join(thread, NULL);
		if (is_told && !lasts_errno)
			done();
		errno = lasts_errno;
		if (!lasts_errno)
			end(SILENT, "never reached, never refused");
		failed("all tries");
	}
	broken("what=%s is not known", given("what"));
}

static int become_checkpoint(void *unused)
{
	char *words[] = {"checkpoint", "bare", NULL}, *none[] = {NULL};

	(void)unused;
	close(1);
	execve(given("checkpoint"), words, none);
	_exit(1);
}

TECHNIQUE("race-shared")	/* memory, files and folders shared with a process that becomes the checkpoint meanwhile */
{
	double deadline = now() + number("seconds", 2);
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	while (now() < deadline) {
		pid_t child = ok(clone(become_checkpoint, stack + 65536, CLONE_VM | CLONE_FS | SIGCHLD, NULL), "clone");
		bool is_reached = false;

		for (int i = 0; i < 50 && !is_reached; i++)
			is_reached = try_path(given("target"));
		waitpid(child, NULL, 0);
		if (is_reached)
			done();
	}
	errno = lasts_errno ?: EPERM;
	failed("all tries");
}

TECHNIQUE("pid-reuse")		/* the number of a checkpoint that has ended, for a process of ours */
{
	double deadline = now() + number("seconds", 3);
	int last = open("/proc/sys/kernel/ns_last_pid", O_RDWR);

	if (last < 0)
		absent("ns_last_pid: %s", strerrorname_np(errno));
	while (now() < deadline) {
		struct holder holder = start_holder("file");
		pid_t child;

		kill(holder.pid, SIGKILL);
		waitpid(holder.pid, NULL, 0);
		close(holder.out);
		if (pwrite(last, text("%d", holder.pid - 1), strlen(text("%d", holder.pid - 1)), 0) < 0)
			absent("ns_last_pid: %s", strerrorname_np(errno));
		fflush(stdout);
		child = fork();
		if (!child)
			reach(given("target"));
		if (child == holder.pid)
			become(child);
		waitpid(child, NULL, 0);
	}
	broken("the number %s", "never came again");
}
