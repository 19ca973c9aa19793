/*
 * Carries out what a world's script says and prints the errno of each act; play.py writes it.
 *
 *     actor drive < SCRIPT    "= STEP…" begins a process, the lines behind it are its acts.  A step is u:UID (becomes that
 *                             user), f (forks and lets the child go on) or the path of a program, which is this one under
 *                             another name: it executes that and goes on there.
 *                             Prints a line for each act: its errno, 0 for done, or "killed"; what had to be prepared for
 *                             the act and failed is "broken" and why.
 *     actor serve < ADDRESSES listens at "tcp ADDRESS PORT", "udp …", "unix stream|dgram NAME" and takes whatever comes;
 *                             prints its process id when all of them are open, and goes to the background.
 *     actor nothing           ends at once: what a program does that is executed for the sake of executing it
 */
#define _GNU_SOURCE
#include "acts.h"

#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 64
#define LISTENERS 256
#define LINES 65536

static int split(char *line, char **word)
{
	int count = 0;

	for (line = strtok(line, " \n"); line && count < WORDS; line = strtok(0, " \n"))
		word[count++] = line;
	return count;
}

/* Does the acts that stand in standard input, as whatever this process is by now. */
static int perform(void)
{
	char line[4096], *word[WORDS];
	int count, done;

	while (fgets(line, sizeof(line), stdin)) {
		count = split(line, word);
		if (!count)
			continue;
		done = act(count, word);
		if (done == KILLED)
			puts("killed");
		else if (done != BROKEN)
			printf("%d\n", done);
		fflush(stdout);
	}
	return 0;
}

/* -- processes */

static void become(const char *uid)
{
	gid_t none = atoi(uid);

	if (setgroups(1, &none) || setresgid(none, none, none) || setresuid(none, none, none))
		exit(broken("setresuid") != 0);
}

/* Waits for a child and ends as it did. */
static int end_like(pid_t child)
{
	int status = 0;

	waitpid(child, &status, 0);
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return WEXITSTATUS(status);
}

/* Takes the steps of a chain: `step` has what is left of it, ended by 0. */
static int follow(char **step)
{
	static char *again[WORDS + 3];
	pid_t child;

	for (; *step; step++) {
		if (!strncmp(*step, "u:", 2)) {
			become(*step + 2);
		} else if (!strcmp(*step, "f")) {
			child = fork();
			if (child < 0)
				return broken("fork");
			if (child)
				return end_like(child);
		} else {
			int count = 2;

			again[0] = *step;
			again[1] = "follow";
			while (*++step)
				again[count++] = *step;
			execv(again[0], again);
			return broken(again[0]);
		}
	}
	umask(0);
	return perform();
}

/* Gives a process its acts and passes on what it prints; returns how many acts it did, and whether it was killed. */
static int run(char **step, char **acts, int count, int *was_killed)
{
	int to[2], from[2], status = 0, lines = 0, i, size;
	char text[4096];
	pid_t child;

	if (pipe(to) || pipe(from))
		return broken("pipe");
	fflush(stdout);
	child = fork();
	if (!child) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		for (i = 3; i < 16; i++)
			close(i);
		clearerr(stdin);
		exit(follow(step) ? 1 : 0);
	}
	close(to[0]);
	close(from[1]);
	for (i = 0; i < count; i++)
		dprintf(to[1], "%s\n", acts[i]);
	close(to[1]);
	while ((size = read(from[0], text, sizeof(text))) > 0) {
		fwrite(text, 1, size, stdout);
		for (i = 0; i < size; i++)
			lines += text[i] == '\n';
	}
	close(from[0]);
	waitpid(child, &status, 0);
	*was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	return lines;
}

/* A process that is killed is made anew for the acts behind the one that killed it. */
static int drive_one(char *chain, char **acts, int count)
{
	char *step[WORDS + 1];
	int was_killed = 0, done;

	step[split(chain, step)] = 0;
	while (count) {
		done = run(step + 1, acts, count, &was_killed);
		if (done < count && !was_killed)
			return printf("broken: a process ended with %d acts left\n", count - done), 1;
		if (done < count && was_killed)
			puts("killed"), done++;
		acts += done;
		count -= done;
	}
	return 0;
}

static int drive(void)
{
	static char *lines[LINES];
	char *line = 0;
	size_t room = 0;
	int total = 0, i, first;

	while (getline(&line, &room, stdin) > 0 && total < LINES) {
		line[strcspn(line, "\n")] = 0;
		lines[total++] = strdup(line);
	}
	signal(SIGPIPE, SIG_IGN);
	umask(0);
	for (first = 0; first < total; first = i) {
		for (i = first + 1; i < total && lines[i][0] != '='; i++)
			;
		if (drive_one(lines[first], lines + first + 1, i - first - 1))
			return 1;
	}
	return 0;
}

/* -- the other end */

static int listener(int count, char **word)
{
	int is_unix = !strcmp(word[0], "unix"), one = 1, fd;
	int type = !strcmp(word[0], "tcp") || !strcmp(word[1], "stream") ? SOCK_STREAM : SOCK_DGRAM;
	struct sockaddr_storage at;
	socklen_t size;

	if (count < 3)
		return -1;
	size = is_unix ? unix_address(&at, word[2]) : inet_address(&at, word[1], word[2]);
	fd = socket(at.ss_family, type | SOCK_NONBLOCK, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (at.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (void *)&at, size) || (type == SOCK_STREAM && listen(fd, 1024)))
		return -1;
	return fd;
}

static int serve(void)
{
	static struct pollfd at[LISTENERS];
	char line[4096], *word[WORDS];
	int count = 0, i, one, type;
	socklen_t size = sizeof(type);

	umask(0);
	while (count < LISTENERS && fgets(line, sizeof(line), stdin)) {
		at[count].fd = listener(split(line, word), word);
		at[count].events = POLLIN;
		if (at[count++].fd < 0)
			return broken(word[0]), 1;
	}
	if ((one = fork())) {
		printf("%d\n", one);
		return 0;
	}
	setsid();
	for (i = 0; i < 3; i++)
		close(i);
	while (poll(at, count, -1) >= 0)
		for (i = 0; i < count; i++) {
			if (!at[i].revents)
				continue;
			getsockopt(at[i].fd, SOL_SOCKET, SO_TYPE, &type, &size);
			if (type == SOCK_DGRAM)
				recv(at[i].fd, line, sizeof(line), 0);
			else
				close(accept(at[i].fd, 0, 0));
		}
	return 1;
}

int main(int count, char **word)
{
	if (count > 1 && !strcmp(word[1], "nothing"))
		return 0;
	if (count > 1 && !strcmp(word[1], "follow"))
		return follow(word + 2);
	if (count == 2 && !strcmp(word[1], "drive"))
		return drive();
	if (count == 2 && !strcmp(word[1], "serve"))
		return serve();
	fprintf(stderr, "usage: %s drive | serve | nothing\n", word[0]);
	return 2;
}
