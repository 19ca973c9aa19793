/* SPDX-License-Identifier: GPL-2.0-only */
/* H4: packets and frames made by hand, as root. Over ::1, because the kernel takes hand-made IPv4 frames on a loopback
 * device for forged (route_localnet), and IPv6 ones not. */
#include "attempt.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define FROM_PORT 47774

static uint32_t sum(uint32_t start, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < size; i++)
		start += i & 1 ? at[i] : at[i] << 8;
	return start;
}

static uint16_t folded(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return htons(~total & 0xffff);
}

static size_t datagram(unsigned char *to, bool has_sum, const void *addresses, size_t addresses_size)
{
	struct udphdr *head = (void *)to;
	size_t size = sizeof(*head) + strlen(given("token"));

	*head = (struct udphdr){.source = htons(FROM_PORT), .dest = htons(number("port", 0)), .len = htons(size)};
	memcpy(to + sizeof(*head), given("token"), strlen(given("token")));
	if (has_sum)
		head->check = folded(sum(IPPROTO_UDP + size, addresses, addresses_size) + sum(0, to, size));
	return size;
}

/* An IPv6 packet with that many extension headers between; from an address of the caller's choice. */
static size_t packet6(unsigned char *to, const char *from, int extensions)
{
	struct ip6_hdr *head = (void *)to;
	unsigned char *at = to + sizeof(*head);
	size_t size;

	*head = (struct ip6_hdr){.ip6_flow = htonl(6 << 28), .ip6_hlim = 64};
	inet_pton(AF_INET6, from, &head->ip6_src);
	inet_pton(AF_INET6, given("address"), &head->ip6_dst);
	head->ip6_nxt = extensions ? IPPROTO_DSTOPTS : IPPROTO_UDP;
	for (int i = 0; i < extensions; i++, at += 8)
		memcpy(at, (unsigned char[]){i + 1 < extensions ? IPPROTO_DSTOPTS : IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0}, 8);
	size = at - to + datagram(at, true, &head->ip6_src, 32);
	head->ip6_plen = htons(size - sizeof(*head));
	return size;
}

static size_t packet4(unsigned char *to, const char *from)
{
	struct iphdr *head = (void *)to;
	size_t size;

	*head = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
	inet_pton(AF_INET, from, &head->saddr);
	inet_pton(AF_INET, given("address"), &head->daddr);
	size = sizeof(*head) + datagram(to + sizeof(*head), false, NULL, 0);
	head->tot_len = htons(size);
	head->check = folded(sum(0, head, sizeof(*head)));
	return size;
}

TECHNIQUE("raw")	/* how=header (IP header included) | options | udp (the kernel makes it) | fragments | headers6 (extensions=) | fragment6 | udp6 */
{
	struct address to = given_address();
	unsigned char bytes[512];
	const char *how = given("how");
	size_t size;
	int fd;

	if (!strcmp(how, "options")) {		/* a header of 28 bytes: the ports are not where they usually are */
		struct iphdr *head = (void *)bytes;

		size = packet4(bytes, "127.0.0.1") + 8;
		memmove(bytes + 28, bytes + 20, size - 28);
		memset(bytes + 20, 1, 8);
		head->ihl = 7;
		head->tot_len = htons(size);
		fd = ok(socket(AF_INET, SOCK_RAW, IPPROTO_RAW), "raw socket");
		sent(sendto(fd, bytes, size, 0, (void *)&to.storage, to.size), "sendto");
	}
	if (!strcmp(how, "header") || !strcmp(how, "fragments")) {
		size = packet4(bytes, "127.0.0.1");
		fd = ok(socket(AF_INET, SOCK_RAW, IPPROTO_RAW), "raw socket");
		if (!strcmp(how, "header"))
			sent(sendto(fd, bytes, size, 0, (void *)&to.storage, to.size), "sendto");
		/* eight bytes in the first fragment: the UDP header and nothing more; the rest in a second one */
		struct iphdr *head = (void *)bytes;

		head->id = htons(getpid());
		head->frag_off = htons(IP_MF);
		head->tot_len = htons(28);
		ok(sendto(fd, bytes, 28, 0, (void *)&to.storage, to.size), "sendto of the first fragment");
		memmove(bytes + 20, bytes + 28, size - 28);
		head->frag_off = htons(1);
		head->tot_len = htons(size - 8);
		sent(sendto(fd, bytes, size - 8, 0, (void *)&to.storage, to.size), "sendto of the second fragment");
	}
	if (!strcmp(how, "headers6") || !strcmp(how, "fragment6")) {
		((struct sockaddr_in6 *)&to.storage)->sin6_port = 0;
		size = packet6(bytes, "::1", number("extensions", 0));
		if (!strcmp(how, "fragment6")) {	/* the extension becomes a fragment header, of all of the packet */
			bytes[6] = IPPROTO_FRAGMENT;
			memset(bytes + 41, 0, 7);
		}
		fd = ok(socket(AF_INET6, SOCK_RAW, IPPROTO_RAW), "raw socket");
		sent(sendto(fd, bytes, size, 0, (void *)&to.storage, to.size), "sendto");
	}
	if (!strcmp(how, "udp6")) {
		packet6(bytes, "::1", 0);
		fd = ok(socket(AF_INET6, SOCK_RAW, IPPROTO_UDP), "raw socket");
		((struct sockaddr_in6 *)&to.storage)->sin6_port = 0;
		sent(sendto(fd, bytes + 40, 8 + strlen(given("token")), 0, (void *)&to.storage, to.size), "sendto");
	}
	datagram(bytes, false, NULL, 0);
	fd = ok(socket(AF_INET, SOCK_RAW, IPPROTO_UDP), "raw socket");
	sent(sendto(fd, bytes, 8 + strlen(given("token")), 0, (void *)&to.storage, to.size), "sendto");
}

static size_t frame(unsigned char *to, const char *from)	/* an Ethernet frame for the loopback device */
{
	memset(to, 0, 12);
	to[12] = ETH_P_IPV6 >> 8;
	to[13] = ETH_P_IPV6 & 0xff;
	return 14 + packet6(to + 14, from, 0);
}

/* A frame sent by a card, to the other card's address. */
void send_frame(const char *card, const char *from, const char *to_address)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IPV6), .sll_halen = 6,
				 .sll_ifindex = if_nametoindex(card)};
	int fd = ok(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IPV6)), "packet socket");
	unsigned char bytes[512];
	size_t size = frame(bytes, from);

	memcpy(bytes, to_address, 6);
	memcpy(bytes + 6, "\2\0\0\0\0\2", 6);
	sent(sendto(fd, bytes, size, 0, (void *)&to, sizeof(to)), "sendto");
}

/* PACKET_QDISC_BYPASS by a 32-bit system call, which takes its arguments from below 4 GiB. */
static long bypass_32(int fd)
{
#ifdef __x86_64__
	int *one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	long result = 366;	/* setsockopt */

	if (one == MAP_FAILED)
		failed("mmap below 4 GiB");
	*one = 1;
	asm volatile("int $0x80" : "+a"(result) : "b"((long)fd), "c"(SOL_PACKET), "d"(PACKET_QDISC_BYPASS), "S"(one), "D"(4L)
		     : "memory", "r8", "r9", "r10", "r11");
	if ((int)result == -ENOSYS)
		absent("this kernel takes no 32-bit system calls (ENOSYS)");
	errno = -(int)result;
	return (int)result ? -1 : 0;
#else
	absent("the code is for x86-64: %d", fd);
#endif
}

TECHNIQUE("packet")	/* AF_PACKET on the loopback device: how=raw | datagram | bypass | bypass-32 | bypass-older | ring | mislabelled | vlan */
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IPV6), .sll_halen = 6,
				 .sll_ifindex = if_nametoindex("lo")};
	bool is_datagram = is("how", "datagram");
	int fd = ok(socket(AF_PACKET, is_datagram ? SOCK_DGRAM : SOCK_RAW, htons(ETH_P_IPV6)), "packet socket"), one = 1;
	unsigned char bytes[512];
	size_t size = frame(bytes, "::1");

	if (is("how", "mislabelled"))	/* the socket says another protocol than the frame: the receiver believes the frame */
		to.sll_protocol = htons(0x88b5);
	if (is("how", "vlan")) {	/* a priority tag: VLAN 0, which the receiver takes off */
		memmove(bytes + 16, bytes + 12, size - 12);
		memcpy(bytes + 12, "\x81\0\0", 4);
		to.sll_protocol = htons(ETH_P_8021Q);
		size += 4;
	}
	if (is("how", "bypass") || is("how", "bypass-older"))
		ok(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)), "PACKET_QDISC_BYPASS");
	if (is("how", "bypass-32"))
		ok(bypass_32(fd), "PACKET_QDISC_BYPASS by int 0x80");
	if (is("how", "bypass-older"))
		wait_for_rules();
	if (is("how", "ring")) {
		struct tpacket_req shape = {.tp_block_size = 4096, .tp_frame_size = 2048, .tp_block_nr = 1, .tp_frame_nr = 2};
		struct tpacket_hdr *head;

		ok(setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &shape, sizeof(shape)), "PACKET_TX_RING");
		head = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if ((void *)head == MAP_FAILED)
			failed("mmap of the ring");
		ok(bind(fd, (void *)&to, sizeof(to)), "bind");
		memcpy((char *)head + TPACKET_HDRLEN - sizeof(struct sockaddr_ll), bytes, size);
		head->tp_len = size;
		head->tp_status = TP_STATUS_SEND_REQUEST;
		sent(send(fd, NULL, 0, 0), "send");
	}
	sent(sendto(fd, bytes + (is_datagram ? 14 : 0), size - (is_datagram ? 14 : 0), 0, (void *)&to, sizeof(to)), "sendto");
}

TECHNIQUE("encapsulated")	/* a frame in the headers of a tunnel, made by hand, to a card of ours that takes them off */
{
	static const unsigned char header[8] = {0x08, 0, 0, 0, 0, 0, 7, 0};		/* VXLAN, network 7 */
	struct address tunnel = address_of("127.0.0.1", 47891);
	unsigned char bytes[512];
	ssize_t result;
	size_t size;

	if (command("ip link add %s type vxlan id 7 dstport 47891", "nbspdrillv"))
		absent("this kernel makes no VXLAN");
	if (command("ip link set %1$s address 02:00:00:00:00:01 up && ip -6 address add fd77:7::1/64 dev %1$s nodad", "nbspdrillv"))
		broken("the tunnel cannot be set up");
	wait_until_settled();
	memcpy(bytes, header, sizeof(header));
	size = sizeof(header) + frame(bytes + sizeof(header), "fd77:7::2");
	memcpy(bytes + sizeof(header), "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
	result = sendto(udp_socket(AF_INET), bytes, size, 0, (void *)&tunnel.storage, tunnel.size);
	usleep(100000);		/* what leads there must stay until it has arrived */
	command("ip link del %s", "nbspdrillv");
	sent(result, "sendto");
}

TECHNIQUE("xdp-socket")	/* AF_XDP on the loopback device, copying */
{
	enum { FRAME = 2048, FRAMES = 4 };
	struct xdp_umem_reg memory = {.len = FRAME * FRAMES, .chunk_size = FRAME};
	struct sockaddr_xdp to = {.sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY, .sxdp_ifindex = if_nametoindex("lo")};
	struct xdp_mmap_offsets offsets;
	socklen_t size = sizeof(offsets);
	int fd = ok(socket(AF_XDP, SOCK_RAW, 0), "AF_XDP socket"), count = FRAMES;
	unsigned char *area = mmap(NULL, FRAME * FRAMES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *queue;
	struct xdp_desc *entry;

	memory.addr = (uintptr_t)area;
	ok(setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory)), "XDP_UMEM_REG");
	ok(setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &count, sizeof(count)), "XDP_UMEM_FILL_RING");
	ok(setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &count, sizeof(count)), "XDP_UMEM_COMPLETION_RING");
	ok(setsockopt(fd, SOL_XDP, XDP_TX_RING, &count, sizeof(count)), "XDP_TX_RING");
	ok(getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size), "XDP_MMAP_OFFSETS");
	queue = mmap(NULL, offsets.tx.desc + FRAMES * sizeof(*entry), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		     XDP_PGOFF_TX_RING);
	if (queue == MAP_FAILED)
		failed("mmap of the ring");
	ok(bind(fd, (void *)&to, sizeof(to)), "bind");
	entry = (void *)(queue + offsets.tx.desc);
	*entry = (struct xdp_desc){.addr = 0, .len = frame(area, "::1")};
	__atomic_store_n((uint32_t *)(queue + offsets.tx.producer), 1, __ATOMIC_RELEASE);
	sent(sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0), "sendto");
}

TECHNIQUE("tun-localnet")	/* a packet for 127.0.0.1 from a tunnel device, where the kernel was told to take it */
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "nbspdrill%d"};
	int fd = need(open("/dev/net/tun", O_RDWR), "opening /dev/net/tun");
	unsigned char bytes[512];
	size_t size;

	ok(ioctl(fd, TUNSETIFF, &request), "TUNSETIFF");
	if (command("ip address add 198.18.79.1/24 dev %1$s && ip link set %1$s up", request.ifr_name))
		broken("the tunnel cannot be set up");
	write_text(text("/proc/sys/net/ipv4/conf/%s/route_localnet", request.ifr_name), "1");
	size = packet4(bytes, "198.18.79.2");
	ok(write(fd, bytes, size), "write to the tunnel");
	usleep(300000);
	done();
}

TECHNIQUE("tun")	/* a packet written to a tunnel device of ours arrives as if from outside; kind=tun | tap */
{
	bool is_tap = is("kind", "tap");
	struct ifreq request = {.ifr_flags = (is_tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI, .ifr_name = "nbspdrill%d"};
	int fd = need(open("/dev/net/tun", O_RDWR), "opening /dev/net/tun");
	unsigned char bytes[512];
	size_t size;

	ok(ioctl(fd, TUNSETIFF, &request), "TUNSETIFF");
	if (command("ip -6 address add fd77:7::1/64 dev %1$s nodad && ip link set %1$s up", request.ifr_name))
		broken("the tunnel cannot be set up");
	size = frame(bytes, "fd77:7::2");
	if (is_tap) {
		struct ifreq asked = request;

		ok(ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCGIFHWADDR, &asked), "SIOCGIFHWADDR");
		memcpy(bytes, asked.ifr_hwaddr.sa_data, 6);
		memcpy(bytes + 6, "\2\0\0\0\0\1", 6);
	}
	wait_until_settled();
	ok(write(fd, bytes + (is_tap ? 0 : 14), size - (is_tap ? 0 : 14)), "write to the tunnel");
	usleep(300000);		/* it goes with this process */
	done();
}
