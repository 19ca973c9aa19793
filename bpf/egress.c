/*
 * Packets, whatever made them.  (all tiers)
 *
 * cgroup_egress      every IP packet of every socket, after NAT of the address was decided: a packet to a protected endpoint
 *                    must come from a socket that was stamped at its connect or send.  Cuts connections that are older
 *                    than the rules.
 * interface_egress   the same at every network device: packet sockets, tunnels, what never was an inet socket; a forwarded
 *                    packet to a protected endpoint has no socket of this host and is denied.
 *
 * The kernel's own packets (RST, the ACKs of TIME_WAIT) have no full socket, or the raw one that the kernel keeps for them.
 * They pass when they carry no data and open nothing: without them each connection that a checkpoint closes would linger.
 *
 * The process named in the record is the one that ran when the packet left.
 */

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define LOOPBACK_IFINDEX 1	/* in every network namespace */
#define NEXTHDR_HOP 0
#define NEXTHDR_ROUTING 43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_DEST 60
#define TCP_FIN_SYN_RST 7
#define TCP_SYN 2
#define HDR_START_NET 1
#define IP4_MORE_FRAGMENTS 0x2000
#define IP6_EXTENSIONS 8

struct ip4_header {
	__u8 version_ihl;
	__u8 tos;
	__u16 total;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__u32 source;
	__u32 destination;
};

struct ip6_header {
	__u32 flow;
	__u16 payload;
	__u8 next;
	__u8 hop_limit;
	__u8 source[16];
	__u8 destination[16];
};

struct tcp_ports {
	__u16 source;
	__u16 destination;
	__u32 sequence;
	__u32 acknowledged;
	__u8 offset;
	__u8 flags;
};

/* What a packet says of itself; offsets from the network header. */
struct parsed {
	__u32 transport;
	__u32 length;
	__u32 is_whole;		/* no fragment, and its length stands in the header */
	struct endpoint_key key;
};

static __always_inline int parse_ip4(struct __sk_buff *skb, struct parsed *p)
{
	struct ip4_header ip = {};

	if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), HDR_START_NET))
		return 0;
	if (ip.fragment & swap16(0x1fff))
		return 0;	/* not the first fragment: without the first it is nothing */
	p->transport = (ip.version_ihl & 15) * 4;
	p->length = swap16(ip.total);
	p->is_whole = ip.total && !(ip.fragment & swap16(IP4_MORE_FRAGMENTS));
	p->key.proto = ip.protocol;
	set_ip4(&p->key, ip.destination);
	return 1;
}

static __always_inline int parse_ip6(struct __sk_buff *skb, struct parsed *p)
{
	struct ip6_header ip = {};
	__u8 extension[4] = {};
	__u32 offset = sizeof(ip), more = 0;
	unsigned long i;
	__u8 next;

	if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), HDR_START_NET))
		return 0;
	next = ip.next;
#pragma clang loop unroll(disable)
	for (i = 0; i < IP6_EXTENSIONS; i++) {
		if (next != NEXTHDR_HOP && next != NEXTHDR_ROUTING && next != NEXTHDR_DEST && next != NEXTHDR_FRAGMENT)
			break;
		if (bpf_skb_load_bytes_relative(skb, offset, extension, sizeof(extension), HDR_START_NET))
			return 0;
		if (next == NEXTHDR_FRAGMENT) {
			if ((extension[2] << 8 | extension[3]) & 0xfff8)
				return 0;
			more = extension[3] & 1;
			offset += 8;
		} else {
			offset += (extension[1] + 1) * 8;
		}
		next = extension[0];
	}
	p->transport = offset;
	p->length = swap16(ip.payload) + sizeof(ip);
	p->is_whole = ip.payload && !more;
	p->key.proto = next;
	__builtin_memcpy(p->key.addr, ip.destination, 16);
	return 1;
}

/*
 * A packet without a socket: one that carries data or opens a connection is nobody's here.  A first fragment may have no
 * data and bring it in the next.
 */
static __always_inline int is_bare_control(struct __sk_buff *skb, struct parsed *p)
{
	struct tcp_ports tcp = {};

	if (p->key.proto != IPPROTO_TCP || !p->is_whole)
		return 0;
	if (bpf_skb_load_bytes_relative(skb, p->transport, &tcp, sizeof(tcp), HDR_START_NET))
		return 0;
	return !(tcp.flags & TCP_SYN) && p->length <= p->transport + (tcp.offset >> 4) * 4;
}

/* Returns 1 to let the packet pass, 0 to drop it. */
static __always_inline int check_packet(struct __sk_buff *skb, __u8 channel)
{
	struct question q = { .channel = channel, .wanted = ACCESS_CONNECT, .kind = KIND_ENDPOINT };
	struct socket_stamp nobody = {};
	struct parsed p = {};
	struct bpf_sock *sk;
	int slot = active_slot();
	__u16 port_pair[2] = {};

	if (slot < 0)
		return 1;
	if (skb->protocol == swap16(ETH_P_IP)) {
		if (!parse_ip4(skb, &p))
			return 1;
	} else if (skb->protocol == swap16(ETH_P_IPV6)) {
		if (!parse_ip6(skb, &p))
			return 1;
	} else {
		return 1;
	}
	if (p.key.proto == IPPROTO_UDPLITE)
		p.key.proto = IPPROTO_UDP;
	if (p.key.proto != IPPROTO_TCP && p.key.proto != IPPROTO_UDP)
		return 1;
	if (bpf_skb_load_bytes_relative(skb, p.transport, port_pair, sizeof(port_pair), HDR_START_NET))
		return 1;
	p.key.port = port_pair[1];
	q.port = swap16(port_pair[1]);
	q.slot = slot;
	if (!port_guarded(slot, p.key.proto, q.port))
		return 1;
	p.key.prefixlen = ENDPOINT_BITS;
	q.policy = endpoint_policy(slot, &p.key);
	if (!q.policy && skb->ifindex == LOOPBACK_IFINDEX) {
		struct endpoint_key local = p.key;

		__builtin_memset(local.addr, 0, 16);
		local.addr[15] = 1;
		q.policy = endpoint_policy(slot, &local);
	}
	if (!q.policy)
		return 1;
	sk = skb->sk;
	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk)
		q.socket = sockets.sk_storage_get(sk, 0, 0);
	if (!q.socket) {
		if ((!sk || sk->type == SOCK_RAW) && is_bare_control(skb, &p))
			return 1;
		q.socket = &nobody;
	}
	q.addr = p.key.addr;
	q.proto = p.key.proto;
	q.ifindex = skb->ifindex;
	return judge(&q, CANNOT_SIGNAL) == 0;
}

int cgroup_egress(struct __sk_buff *skb)
{
	return check_packet(skb, CHANNEL_PACKET);
}

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2

int interface_egress(struct __sk_buff *skb)
{
	return check_packet(skb, CHANNEL_INTERFACE) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}
