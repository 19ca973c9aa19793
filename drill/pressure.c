/* SPDX-License-Identifier: GPL-2.0-only */
/* H10 and H11: the same act again and again while the daemon does something, in a crowd, or very deep. */
#include "attempt.h"

#include <sys/wait.h>
#include <time.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}


static int once(void)		/* exit status of one plain try in a process of its own */
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		die_with_parent();
		if (perhaps("address", NULL) && is("over", "udp"))
			perform("udp-sendto");
		if (perhaps("address", NULL))
			perform("tcp");
		reach(given("target"));
	}
	if (child < 0)
		return BROKEN;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED;
}

TECHNIQUE("persistent")		/* again and again for seconds= (3), while the daemon reloads, or dies and returns */
{
	double deadline = now() + number("seconds", 3);
	int status = BROKEN;

	while (now() < deadline) {
		status = once();
		if (status != BLOCKED && status != SILENT)
			_exit(status);
	}
	_exit(status);
}

TECHNIQUE("crowd")		/* kind=: attempts | checkpoints | descriptors | files | threads, count= of them, then the goal */
{
	const char *kind = given("kind");
	long count = number("count", 1000);

	if (!strcmp(kind, "attempts")) {		/* a flood of refusals */
		for (long i = 0; i < count; i++) {
			int fd = open(given("target"), O_RDONLY);

			if (fd >= 0) {
				show(fd);
				done();
			}
		}
	} else if (!strcmp(kind, "connections")) {
		struct address to = given_address();

		for (long i = 0; i < count; i++) {
			int fd = tcp_socket(to.storage.ss_family, 0);

			if (connect(fd, (void *)&to.storage, to.size) == 0)
				greet(fd);
			close(fd);
		}
		_exit(once());
	} else if (!strcmp(kind, "datagrams")) {
		struct address to = given_address();
		int fd = udp_socket(to.storage.ss_family);

		for (long i = 0; i < count; i++)
			if (sendto(fd, given("token"), strlen(given("token")), 0, (void *)&to.storage, to.size) > 0)
				done();
		_exit(once());
	} else if (!strcmp(kind, "checkpoints")) {	/* many stamped processes */
		for (long i = 0; i < count; i++) {
			pid_t child = fork();

			if (child < 0)
				break;
			if (!child) {
				die_with_parent();
				int nothing = open("/dev/null", O_WRONLY);

				dup2(nothing, 1);
				execl(given("checkpoint"), "checkpoint", "idle", NULL);
				_exit(1);
			}
		}
	} else if (!strcmp(kind, "forks")) {		/* processes that come and go */
		for (long i = 0; i < count; i++) {
			pid_t child = fork();

			if (!child)
				_exit(0);
			if (child > 0)
				waitpid(child, NULL, 0);
		}
	} else if (!strcmp(kind, "executions")) {
		for (long i = 0; i < count; i++) {
			pid_t child = fork();

			if (!child) {
				close(1);
				execl(given("checkpoint"), "checkpoint", "bare", NULL);
				_exit(1);
			}
			if (child > 0)
				waitpid(child, NULL, 0);
		}
	} else if (!strcmp(kind, "files")) {
		for (long i = 0; i < count; i++) {
			const char *path = scratch(text("%ld", i));

			fill(path, "");
			rename(path, scratch("same"));
		}
	} else if (!strcmp(kind, "descriptors")) {
		for (long i = 0; i < count; i++)
			if (open(given("target"), O_PATH) < 0)
				break;
	} else {
		broken("kind=%s is not known", kind);
	}
	reach(given("target"));
}

TECHNIQUE("deep")		/* a file in the tree, depth= directories down, made before the rules; then reached step by step */
{
	const char *step = "a";
	long depth = number("depth", 100);
	int folder = ok(open(given("target"), O_RDONLY | O_DIRECTORY), "open"), fd;

	for (long i = 0; i < depth; i++) {
		ok(mkdirat(folder, step, 0755), "mkdir");
		int next = ok(openat(folder, step, O_RDONLY | O_DIRECTORY), "open");

		close(folder);
		folder = next;
	}
	fd = ok(openat(folder, "deep", O_RDWR | O_CREAT, 0666), "create");
	ok(write(fd, given("secret"), strlen(given("secret"))), "write");
	close(fd);
	if (!is("by", "held")) {	/* down again from the top, without a descriptor that is older */
		wait_for_rules();
		close(folder);
		folder = ok(open(folder_of(given("target")), O_PATH | O_DIRECTORY), "open");
		int next = ok(openat(folder, name_of(given("target")), O_PATH | O_DIRECTORY), "open");

		folder = next;
		for (long i = 0; i < depth; i++) {
			next = ok(openat(folder, step, O_PATH | O_DIRECTORY), "open");
			close(folder);
			folder = next;
		}
	} else {
		wait_for_rules();
	}
	fd = ok(openat(folder, "deep", O_RDONLY), "open");
	show(fd);
	done();
}
