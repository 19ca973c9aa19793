/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses, sockets, and what is said to the server: it greets with a secret and remembers the tokens that it hears. */
#include "attempt.h"

#include <netdb.h>
#include <stddef.h>
#include <sys/un.h>
#include <sys/wait.h>

#define ANSWER_MS 700

struct address address_of(const char *host, int port)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
	struct address made = {.size = 0};
	int error = getaddrinfo(host, text("%d", port), &hints, &found);

	if (error)
		broken("%s is no address: %s", host, gai_strerror(error));
	memcpy(&made.storage, found->ai_addr, found->ai_addrlen);
	made.size = found->ai_addrlen;
	freeaddrinfo(found);
	return made;
}

struct address given_address(void)
{
	return address_of(given("address"), number("port", 0));
}

struct address unix_address(const char *name)
{
	struct address made = {0};
	struct sockaddr_un *un = (void *)&made.storage;
	size_t size = strlen(name);

	if (size >= sizeof(un->sun_path))
		broken("%s is too long for the name of a socket", name);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, name, size);
	made.size = offsetof(struct sockaddr_un, sun_path) + size + (name[0] != '@');
	if (name[0] == '@')
		un->sun_path[0] = 0;
	return made;
}

static void be_impatient(int fd)
{
	struct timeval limit = {.tv_usec = ANSWER_MS * 1000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));	/* of connect(2), too */
}

int tcp_socket(int family, int protocol)
{
	int fd = ok(socket(family, SOCK_STREAM, protocol), "socket");

	be_impatient(fd);
	return fd;
}

int udp_socket(int family)
{
	int fd = ok(socket(family, SOCK_DGRAM, 0), "socket");

	be_impatient(fd);
	return fd;
}

_Noreturn void greet(int fd)
{
	const char *token = given("token");
	char greeting[256];
	ssize_t size;

	be_impatient(fd);
	if (send(fd, token, strlen(token), 0) < 0 && errno != EPIPE)
		failed("send");
	size = ok(recv(fd, greeting, sizeof(greeting), 0), "recv");
	if (!size)
		end(SILENT, "the server hung up without a word");
	show_bytes(greeting, size);
	done();
}

_Noreturn void sent(long result, const char *step)
{
	ok(result, step);
	done();
}

int command(const char *format, const char *argument)
{
	char *line = text(format, argument);
	int status = system(text("{ %s; } >&2", line));

	return status;
}

/* Even without duplicate address detection an address is tentative until a kernel worker has run. */
void wait_until_settled(void)
{
	for (int tries = 0; tries < 500 && !command("ip -6 address show tentative%s | grep -q .", ""); tries++)
		usleep(10000);
}

/* A contact with an address, in a child, so that the parent can tidy up whatever becomes of it. */
int contacted(struct address to)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (!child) {
		if (is("over", "udp"))
			sent(sendto(udp_socket(to.storage.ss_family), given("token"), strlen(given("token")), 0, (void *)&to.storage,
				    to.size), "sendto");
		int fd = tcp_socket(to.storage.ss_family, 0);

		ok(connect(fd, (void *)&to.storage, to.size), "connect");
		greet(fd);
	}
	waitpid(child, &status, 0);
	usleep(100000);		/* packets are delivered a little later; what leads them here must stay so long */
	return WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED;
}
