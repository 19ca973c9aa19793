/* SPDX-License-Identifier: GPL-2.0-only */
/* H4: UDP by ordinary sockets, in every way that it can be asked. */
#include "attempt.h"

#include <linux/udp.h>
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/uio.h>

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

TECHNIQUE("udp-sendto")
{
	struct address to = given_address();

	sent(sendto(udp_socket(to.storage.ss_family), TOKEN, 0, TO(to)), "sendto");
}

TECHNIQUE("udplite")
{
	struct address to = given_address();

	sent(sendto(ok(socket(to.storage.ss_family, SOCK_DGRAM, IPPROTO_UDPLITE), "socket"), TOKEN, 0, TO(to)), "sendto");
}

TECHNIQUE("sctp-many")		/* SCTP without connect: the first message makes the association */
{
	struct address to = given_address();
	struct timeval limit = {.tv_usec = 700000};
	int fd = ok(socket(to.storage.ss_family, SOCK_SEQPACKET, IPPROTO_SCTP), "socket");

	ok(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), "SO_SNDTIMEO");
	ok(sendto(fd, TOKEN, 0, TO(to)), "sendto");
	usleep(500000);		/* it goes with this process */
	done();
}

TECHNIQUE("udp-sendmsg")	/* pktinfo=1: with a source address chosen in the message */
{
	struct address to = given_address();
	struct iovec piece = {(void *)given("token"), strlen(given("token"))};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control = {0};
	struct msghdr message = {.msg_name = &to.storage, .msg_namelen = to.size, .msg_iov = &piece, .msg_iovlen = 1};

	if (number("pktinfo", 0)) {
		struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f050505)};

		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.head.cmsg_level = IPPROTO_IP;
		control.head.cmsg_type = IP_PKTINFO;
		control.head.cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(&control.head), &info, sizeof(info));
	}
	sent(sendmsg(udp_socket(to.storage.ss_family), &message, 0), "sendmsg");
}

TECHNIQUE("udp-sendmmsg")	/* the first message is for another server, the second for this one */
{
	struct address to = given_address(), other = address_of(given("address"), number("other", 0));
	struct iovec piece = {(void *)given("token"), strlen(given("token"))};
	struct mmsghdr messages[2] = {
		{.msg_hdr = {.msg_name = &other.storage, .msg_namelen = other.size, .msg_iov = &piece, .msg_iovlen = 1}},
		{.msg_hdr = {.msg_name = &to.storage, .msg_namelen = to.size, .msg_iov = &piece, .msg_iovlen = 1}}};
	int fd = udp_socket(to.storage.ss_family);

	if (ok(sendmmsg(fd, messages, 2, 0), "sendmmsg") == 1)		/* the second one's error is told by the next call */
		sent(sendmmsg(fd, messages + 1, 1, 0), "sendmmsg");
	done();
}

TECHNIQUE("udp-connect")	/* how=: send, write, writev, sendfile, splice, again (from another server) */
{
	struct address to = given_address(), other = address_of(given("address"), number("other", 0));
	struct iovec piece = {(void *)given("token"), strlen(given("token"))};
	const char *how = given("how");
	int fd = udp_socket(to.storage.ss_family), fds[2];

	if (!strcmp(how, "again")) {
		ok(connect(fd, TO(other)), "connect to the unprotected server");
		ok(connect(fd, &nowhere, sizeof(nowhere)), "connect AF_UNSPEC");
	}
	if (!strcmp(how, "switch"))
		ok(connect(fd, TO(other)), "connect to the unprotected server");
	ok(connect(fd, TO(to)), "connect");
	if (!strcmp(how, "write"))
		sent(write(fd, TOKEN), "write");
	if (!strcmp(how, "writev"))
		sent(writev(fd, &piece, 1), "writev");
	if (!strcmp(how, "splice")) {
		ok(pipe(fds), "pipe");
		ok(write(fds[1], TOKEN), "write to a pipe");
		sent(splice(fds[0], NULL, fd, NULL, piece.iov_len, 0), "splice");
	}
	if (!strcmp(how, "sendfile")) {
		fill(scratch("token"), given("token"));
		sent(sendfile(fd, ok(open(scratch("token"), O_RDONLY), "open"), NULL, piece.iov_len), "sendfile");
	}
	sent(send(fd, TOKEN, 0), "send");
}

TECHNIQUE("udp-elsewhere")	/* connected to another server, sent here */
{
	struct address to = given_address(), other = address_of(given("address"), number("other", 0));
	int fd = udp_socket(to.storage.ss_family);

	ok(connect(fd, TO(other)), "connect to the unprotected server");
	sent(sendto(fd, TOKEN, 0, TO(to)), "sendto");
}

TECHNIQUE("udp-unspecified-family")	/* sendto takes AF_UNSPEC for AF_INET */
{
	struct address to = given_address();

	to.storage.ss_family = AF_UNSPEC;
	sent(sendto(udp_socket(AF_INET), TOKEN, 0, TO(to)), "sendto");
}

TECHNIQUE("other-family-socket")	/* an IPv6 socket, an IPv4 address in its own form; how=sendto | connect | tcp */
{
	struct address to = given_address();
	int fd = is("how", "tcp") ? tcp_socket(AF_INET6, 0) : udp_socket(AF_INET6);

	if (is("how", "sendto"))
		sent(sendto(fd, TOKEN, 0, TO(to)), "sendto");
	if (is("how", "tcp"))
		to.size = sizeof(struct sockaddr_in6);		/* less is too short for tcp_v6_connect() to look at it */
	ok(connect(fd, TO(to)), "connect");
	if (is("how", "tcp"))
		greet(fd);
	sent(send(fd, TOKEN, 0), "send");
}

TECHNIQUE("udp-cork")		/* collected first, sent when uncorked; how=more | cork */
{
	struct address to = given_address();
	int fd = udp_socket(to.storage.ss_family), off = 0;

	if (is("how", "more")) {
		ok(sendto(fd, TOKEN, MSG_MORE, TO(to)), "sendto MSG_MORE");
		sent(sendto(fd, "!", 1, 0, TO(to)), "sendto");
	}
	option(fd, IPPROTO_UDP, UDP_CORK, 1, "UDP_CORK");
	ok(sendto(fd, TOKEN, 0, TO(to)), "sendto");
	sent(setsockopt(fd, IPPROTO_UDP, UDP_CORK, &off, sizeof(off)), "uncork");
}

TECHNIQUE("udp-segments")	/* one call, the kernel cuts it into packets */
{
	struct address to = given_address();
	int fd = udp_socket(to.storage.ss_family);

	option(fd, IPPROTO_UDP, UDP_SEGMENT, strlen(given("token")), "UDP_SEGMENT");
	sent(sendto(fd, text("%s%s", given("token"), given("token")), 2 * strlen(given("token")), 0, TO(to)), "sendto");
}

TECHNIQUE("udp-zerocopy")
{
	struct address to = given_address();
	int fd = udp_socket(to.storage.ss_family);

	option(fd, SOL_SOCKET, SO_ZEROCOPY, 1, "SO_ZEROCOPY");
	sent(sendto(fd, TOKEN, MSG_ZEROCOPY, TO(to)), "sendto MSG_ZEROCOPY");
}

TECHNIQUE("udp-option")		/* option=device | ip-options | broadcast | confirm | dontroute */
{
	struct address to = given_address();
	const char *name = given("option");
	int fd = udp_socket(to.storage.ss_family), flags = 0;

	if (!strcmp(name, "device"))
		ok(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), "SO_BINDTODEVICE");
	else if (!strcmp(name, "ip-options"))
		ok(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, "\7\13\4\0\0\0\0\0\0\0\0", 12), "IP_OPTIONS");
	else if (!strcmp(name, "confirm"))
		flags = MSG_CONFIRM;
	else if (!strcmp(name, "dontroute"))
		flags = MSG_DONTROUTE;
	else if (!strcmp(name, "no-checksum"))
		option(fd, SOL_SOCKET, SO_NO_CHECK, 1, "SO_NO_CHECK");
	else
		broken("option=%s is not known", name);
	sent(sendto(fd, TOKEN, flags, TO(to)), "sendto");
}

TECHNIQUE("udp-extension-headers")	/* how many hop-by-hop and destination options the kernel itself writes */
{
	struct address to = given_address();
	static const unsigned char padding[8] = {0, 0, 1, 4};
	int fd = udp_socket(AF_INET6);

	ok(setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof(padding)), "IPV6_DSTOPTS");
	ok(setsockopt(fd, IPPROTO_IPV6, IPV6_HOPOPTS, padding, sizeof(padding)), "IPV6_HOPOPTS");
	sent(sendto(fd, TOKEN, 0, TO(to)), "sendto");
}
