/* SPDX-License-Identifier: GPL-2.0-only */
/* H4: TCP and datagrams by ordinary sockets, in every way that they can be asked. */
#include "attempt.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#define TOKEN given("token"), strlen(given("token"))
#define TO(to) (struct sockaddr *)&(to).storage, (to).size
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static void option(int fd, int level, int name, int value, const char *step)
{
	ok(setsockopt(fd, level, name, &value, sizeof(value)), step);
}

static const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

TECHNIQUE("tcp")	/* address= port=, protocol=: 0, 262 MPTCP, 132 SCTP, 256 SMC */
{
	struct address to = given_address();
	int fd = tcp_socket(to.storage.ss_family, number("protocol", 0));

	ok(connect(fd, TO(to)), "connect");
	greet(fd);
}

TECHNIQUE("dccp")
{
	struct address to = given_address();
	int fd = ok(socket(to.storage.ss_family, SOCK_DCCP, IPPROTO_DCCP), "socket");

	ok(connect(fd, TO(to)), "connect");
	greet(fd);
}

TECHNIQUE("smc")	/* TCP with shared memory beside: AF_SMC */
{
	struct address to = given_address();
	int fd = ok(socket(43, SOCK_STREAM, to.storage.ss_family == AF_INET6), "socket");

	ok(connect(fd, TO(to)), "connect");
	greet(fd);
}

TECHNIQUE("tcp-later")	/* without waiting; finished by poll */
{
	struct address to = given_address();
	int fd = ok(socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
	struct pollfd wait = {fd, POLLOUT, 0};

	if (connect(fd, TO(to)) < 0 && errno != EINPROGRESS)
		failed("connect");
	poll(&wait, 1, 700);
	fcntl(fd, F_SETFL, 0);
	greet(fd);
}

TECHNIQUE("tcp-again")	/* to another server, dissolved with AF_UNSPEC, then here, with the same socket */
{
	struct address to = given_address(), other = address_of(given("address"), number("other", 0));
	int fd = tcp_socket(to.storage.ss_family, 0);

	ok(connect(fd, TO(other)), "connect to the unprotected server");
	ok(connect(fd, &nowhere, sizeof(nowhere)), "connect AF_UNSPEC");
	ok(connect(fd, TO(to)), "connect");
	greet(fd);
}

TECHNIQUE("tcp-option")	/* option=: device, mark, ip-options, transparent, bound, freebind, ttl, md5 */
{
	struct address to = given_address();
	const char *name = given("option");
	int fd = tcp_socket(to.storage.ss_family, 0);

	if (!strcmp(name, "device"))
		ok(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), "SO_BINDTODEVICE");
	else if (!strcmp(name, "mark"))
		option(fd, SOL_SOCKET, SO_MARK, 0x1234, "SO_MARK");
	else if (!strcmp(name, "priority"))
		option(fd, SOL_SOCKET, SO_PRIORITY, 6, "SO_PRIORITY");
	else if (!strcmp(name, "ip-options"))	/* record route: the header is longer than usual */
		ok(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, "\7\13\4\0\0\0\0\0\0\0\0", 12), "IP_OPTIONS");
	else if (!strcmp(name, "transparent"))
		option(fd, IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
	else if (!strcmp(name, "interface"))
		option(fd, IPPROTO_IP, IP_UNICAST_IF, htonl(if_nametoindex("lo")), "IP_UNICAST_IF");
	else if (!strcmp(name, "deferred"))
		option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
	else
		broken("option=%s is not known", name);
	if (!strcmp(name, "transparent") || !strcmp(name, "deferred")) {
		struct address from = address_of("127.5.5.5", 0);

		ok(bind(fd, TO(from)), "bind");
	}
	ok(connect(fd, TO(to)), "connect");
	greet(fd);
}

TECHNIQUE("fast-open")		/* how=sendto | sendmsg | connect: the first packet carries data; protocol=262: MPTCP */
{
	struct address to = given_address();
	struct iovec piece = {(void *)given("token"), strlen(given("token"))};
	struct msghdr message = {.msg_name = &to.storage, .msg_namelen = to.size, .msg_iov = &piece, .msg_iovlen = 1};
	int fd = tcp_socket(to.storage.ss_family, number("protocol", 0));

	if (is("how", "connect")) {
		option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1, "TCP_FASTOPEN_CONNECT");
		ok(connect(fd, TO(to)), "connect");
	} else if (is("how", "sendmsg")) {
		ok(sendmsg(fd, &message, MSG_FASTOPEN), "sendmsg MSG_FASTOPEN");
	} else {
		ok(sendto(fd, TOKEN, MSG_FASTOPEN, TO(to)), "sendto MSG_FASTOPEN");
	}
	greet(fd);
}

/* -- unix sockets by name; paths under other names are in names.c and mounts.c */

TECHNIQUE("unix-stream")
{
	struct address to = unix_address(given("target"));
	int fd = ok(socket(AF_UNIX, number("type", SOCK_STREAM), 0), "socket");

	ok(connect(fd, TO(to)), "connect");
	greet(fd);
}

TECHNIQUE("unix-datagram")	/* how=sendto | sendmsg | sendmmsg | connect */
{
	struct address to = unix_address(given("target"));
	struct iovec piece = {(void *)given("token"), strlen(given("token"))};
	struct mmsghdr message = {.msg_hdr = {.msg_name = &to.storage, .msg_namelen = to.size, .msg_iov = &piece, .msg_iovlen = 1}};
	int fd = ok(socket(AF_UNIX, SOCK_DGRAM, 0), "socket");

	if (is("how", "sendmsg"))
		sent(sendmsg(fd, &message.msg_hdr, 0), "sendmsg");
	if (is("how", "sendmmsg"))
		sent(sendmmsg(fd, &message, 1, 0), "sendmmsg");
	if (is("how", "connect")) {
		ok(connect(fd, TO(to)), "connect");
		sent(write(fd, TOKEN), "write");
	}
	sent(sendto(fd, TOKEN, 0, TO(to)), "sendto");
}

TECHNIQUE("unix-short-size")	/* a name without its last zero, as some programs give it */
{
	struct address to = unix_address(given("target"));
	int fd = ok(socket(AF_UNIX, SOCK_STREAM, 0), "socket");

	ok(connect(fd, (void *)&to.storage, to.size - 1), "connect");
	greet(fd);
}
