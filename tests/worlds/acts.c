/*
 * The acts one by one: each returns 0, an errno, KILLED, or BROKEN when what it needs could not be prepared.
 */
#define _GNU_SOURCE
#include "acts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

int broken(const char *what)
{
	printf("broken: %s: %s\n", what, strerror(errno));
	return BROKEN;
}

static int result(int status)
{
	return status < 0 ? errno : 0;
}

/* -- files */

static int opened(const char *path, int flags)
{
	int fd = open(path, flags, 0666);

	return fd < 0 ? errno : result(close(fd));
}

static int mapped(const char *path)
{
	int fd = open(path, O_RDONLY), error = 0;
	void *at;

	if (fd < 0)
		return errno;
	at = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		error = errno;
	else
		munmap(at, 4096);
	close(fd);
	return error;
}

static int executed(const char *path)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return broken("fork");
	if (!child) {
		execl(path, path, "nothing", (char *)0);
		_exit(errno);
	}
	waitpid(child, &status, 0);
	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	if (WTERMSIG(status) == SIGKILL)
		return KILLED;
	printf("broken: ended by signal %d\n", WTERMSIG(status));
	return BROKEN;
}

static int copied(const char *from, const char *to)
{
	static char text[1 << 16];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0777);
	ssize_t size;

	if (in < 0 || out < 0)
		return errno;
	while ((size = read(in, text, sizeof(text))) > 0)
		if (write(out, text, size) != size)
			return errno;
	close(in);
	return result(close(out));
}

/* -- sockets */

socklen_t inet_address(struct sockaddr_storage *to, const char *address, const char *port)
{
	struct sockaddr_in *four = (void *)to;
	struct sockaddr_in6 *six = (void *)to;

	memset(to, 0, sizeof(*to));
	if (strchr(address, ':')) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(atoi(port));
		inet_pton(AF_INET6, address, &six->sin6_addr);
		return sizeof(*six);
	}
	four->sin_family = AF_INET;
	four->sin_port = htons(atoi(port));
	inet_pton(AF_INET, address, &four->sin_addr);
	return sizeof(*four);
}

/* A name with @ in front is abstract. */
socklen_t unix_address(struct sockaddr_storage *to, const char *name)
{
	struct sockaddr_un *un = (void *)to;

	memset(to, 0, sizeof(*to));
	un->sun_family = AF_UNIX;
	strncpy(un->sun_path, name, sizeof(un->sun_path) - 1);
	if (*name != '@')
		return sizeof(*un);
	un->sun_path[0] = 0;
	return offsetof(struct sockaddr_un, sun_path) + strlen(name);
}

/* Connects, or sends a datagram without connecting, or both; never waits for long. */
static int reached(struct sockaddr_storage *to, socklen_t size, int type, int connects, int sends)
{
	struct linger at_once = { 1, 0 };
	struct timeval limit = { 2, 0 };
	int fd = socket(to->ss_family, type, 0), error = 0;

	if (fd < 0)
		return broken("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connects)
		error = result(connect(fd, (void *)to, size));
	if (!error && sends)
		error = connects ? result(send(fd, "x", 1, 0)) : result(sendto(fd, "x", 1, 0, (void *)to, size));
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
	return error;
}

static int inet_act(const char *verb, const char *address, const char *port)
{
	struct sockaddr_storage to;
	socklen_t size = inet_address(&to, address, port);

	if (!strcmp(verb, "tcp"))
		return reached(&to, size, SOCK_STREAM, 1, 0);
	return reached(&to, size, SOCK_DGRAM, strcmp(verb, "send"), strcmp(verb, "udp"));
}

static int unix_act(const char *verb, const char *name)
{
	struct sockaddr_storage to;
	socklen_t size = unix_address(&to, name);

	if (!strcmp(verb, "stream"))
		return reached(&to, size, SOCK_STREAM, 1, 0);
	return reached(&to, size, SOCK_DGRAM, !strcmp(verb, "dgram"), strcmp(verb, "dgram"));
}

/* -- acts */

int act(int count, char **word)
{
	const char *verb = word[0], *path = count > 1 ? word[1] : "", *other = count > 2 ? word[2] : "";

	if (!strcmp(verb, "read"))
		return opened(path, O_RDONLY);
	if (!strcmp(verb, "write"))
		return opened(path, O_WRONLY);
	if (!strcmp(verb, "rdwr"))
		return opened(path, O_RDWR);
	if (!strcmp(verb, "create"))
		return opened(path, O_WRONLY | O_CREAT | O_EXCL);
	if (!strcmp(verb, "list"))
		return opened(path, O_RDONLY | O_DIRECTORY);
	if (!strcmp(verb, "map"))
		return mapped(path);
	if (!strcmp(verb, "exec"))
		return executed(path);
	if (!strcmp(verb, "unlink"))
		return result(unlink(path));
	if (!strcmp(verb, "mkdir"))
		return result(mkdir(path, 0777));
	if (!strcmp(verb, "rmdir"))
		return result(rmdir(path));
	if (!strcmp(verb, "chmod"))
		return result(chmod(path, 0777));
	if (!strcmp(verb, "truncate"))
		return result(truncate(path, 4096));
	if (!strcmp(verb, "setxattr"))
		return result(setxattr(path, "user.world", "1", 1, 0));
	if (!strcmp(verb, "rename"))
		return result(rename(path, other));
	if (!strcmp(verb, "exchange"))
		return result(renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE));
	if (!strcmp(verb, "link"))
		return result(link(path, other));
	if (!strcmp(verb, "symlink"))
		return result(symlink(path, other));
	if (!strcmp(verb, "mknod"))
		return result(mknod(path, S_IFCHR | 0666, makedev(1, atoi(other))));
	if (!strcmp(verb, "copy"))
		return copied(path, other);
	if (!strcmp(verb, "tcp") || !strcmp(verb, "udp") || !strcmp(verb, "say") || !strcmp(verb, "send"))
		return inet_act(verb, path, other);
	if (!strcmp(verb, "stream") || !strcmp(verb, "dgram") || !strcmp(verb, "post"))
		return unix_act(verb, path);
	errno = EINVAL;
	return broken(verb);
}
