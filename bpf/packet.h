/*
 * What a packet says of itself, and which policy the endpoint has that it goes to.  (all tiers)
 *
 * SCTP and DCCP packets are looked up as TCP, then as UDP: their ports are numbers of their own, and rules have no name for
 * them.
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

/* What a packet says of itself. */
struct parsed {
	__u32 start;		/* BPF_HDR_START_*: what the offsets count from */
	__u32 transport;	/* offset */
	__u32 end;		/* offset of what is behind the packet */
	__u32 is_whole;		/* no fragment, and its length stands in the header */
	__u32 carrier;		/* the transport protocol in the header; the key has the one that rules speak of */
	struct endpoint_key key;
};

#define NOTHING 0	/* no IP packet, or one without ports */
#define FOUND 1
#define UNDECIDED 2	/* nobody sends such a packet but to hide what is in it */

static __always_inline int parse_ip4(struct __sk_buff *skb, struct parsed *p, __u32 at)
{
	struct ip4_header ip = {};
	__u32 length;

	if (bpf_skb_load_bytes_relative(skb, at, &ip, sizeof(ip), p->start))
		return NOTHING;
	if ((ip.version_ihl & 15) < 5 || (ip.fragment & swap16(0x1fff)))
		return NOTHING;		/* not the first fragment: without the first it is nothing */
	length = swap16(ip.total);
	p->transport = at + (ip.version_ihl & 15) * 4;
	p->end = at + length;
	p->is_whole = length && !(ip.fragment & swap16(IP4_MORE_FRAGMENTS));
	p->key.proto = ip.protocol;
	set_ip4(&p->key, ip.destination);
	return FOUND;
}

static __always_inline int is_extension(__u8 next)
{
	return next == NEXTHDR_HOP || next == NEXTHDR_ROUTING || next == NEXTHDR_DEST || next == NEXTHDR_FRAGMENT;
}

static __always_inline int parse_ip6(struct __sk_buff *skb, struct parsed *p, __u32 at)
{
	struct ip6_header ip = {};
	__u8 extension[4] = {};
	__u32 offset = at + sizeof(ip), more = 0;
	unsigned long i;
	__u8 next;

	if (bpf_skb_load_bytes_relative(skb, at, &ip, sizeof(ip), p->start))
		return NOTHING;
	next = ip.next;
#pragma clang loop unroll(disable)
	for (i = 0; i < IP6_EXTENSIONS; i++) {
		if (!is_extension(next))
			break;
		if (bpf_skb_load_bytes_relative(skb, offset, extension, sizeof(extension), p->start))
			return UNDECIDED;
		if (next == NEXTHDR_FRAGMENT) {
			if ((extension[2] << 8 | extension[3]) & 0xfff8)
				return NOTHING;
			more = extension[3] & 1;
			offset += 8;
		} else {
			offset += (extension[1] + 1) * 8;
		}
		next = extension[0];
	}
	if (is_extension(next))
		return UNDECIDED;
	p->transport = offset;
	p->end = at + sizeof(ip) + swap16(ip.payload);
	p->is_whole = ip.payload && !more;
	p->key.proto = next;
	__builtin_memcpy(p->key.addr, ip.destination, 16);
	return FOUND;
}

/* By the version in the header and not by what the sender calls the packet: the receiver goes by the frame. */
static __always_inline int parse(struct __sk_buff *skb, struct parsed *p, __u32 start, __u32 at)
{
	__u8 version = 0;
	__u16 ports[2] = {};
	int found;

	p->start = start;
	if (bpf_skb_load_bytes_relative(skb, at, &version, sizeof(version), start))
		return NOTHING;
	version >>= 4;
	found = version == 4 ? parse_ip4(skb, p, at) : version == 6 ? parse_ip6(skb, p, at) : NOTHING;
	if (found != FOUND)
		return found;
	p->carrier = p->key.proto;
	if (p->carrier == IPPROTO_UDPLITE)
		p->key.proto = IPPROTO_UDP;
	if (p->carrier == IPPROTO_SCTP || p->carrier == IPPROTO_DCCP)
		p->key.proto = IPPROTO_TCP;
	if (p->key.proto != IPPROTO_TCP && p->key.proto != IPPROTO_UDP)
		return NOTHING;
	/* they lie in pages that only splice(2) has seen, or behind more headers than anybody needs */
	if (bpf_skb_load_bytes_relative(skb, p->transport, ports, sizeof(ports), start))
		return UNDECIDED;
	p->key.port = ports[1];
	return FOUND;
}

static __always_inline int is_called_ip(struct __sk_buff *skb)
{
	return skb->protocol == swap16(ETH_P_IP) || skb->protocol == swap16(ETH_P_IPV6);
}

/* The policy of the endpoint that the key names, 0 for none. */
static __always_inline __u32 address_policy(struct __sk_buff *skb, struct parsed *p, __u32 slot)
{
	__u32 policy;

	if (!port_guarded(slot, p->key.proto, swap16(p->key.port)))
		return 0;
	p->key.prefixlen = ENDPOINT_BITS;
	policy = endpoint_policy(slot, &p->key);
	if (!policy && skb->ifindex == LOOPBACK_IFINDEX) {
		struct endpoint_key local = p->key;

		__builtin_memset(local.addr, 0, 16);
		local.addr[15] = 1;
		policy = endpoint_policy(slot, &local);
	}
	return policy;
}

/* The policy of the endpoint that a packet goes to, 0 for none. */
static __always_inline __u32 packet_policy(struct __sk_buff *skb, struct parsed *p, __u32 slot)
{
	__u32 policy = address_policy(skb, p, slot);

	if (!policy && (p->carrier == IPPROTO_SCTP || p->carrier == IPPROTO_DCCP)) {
		p->key.proto = IPPROTO_UDP;
		policy = address_policy(skb, p, slot);
	}
	return policy;
}

/*
 * A packet without a socket: one that carries data or opens a connection is nobody's here.  A first fragment may have no
 * data and bring it in the next.
 */
static __always_inline int is_bare_control(struct __sk_buff *skb, struct parsed *p)
{
	struct tcp_ports tcp = {};

	if (p->carrier != IPPROTO_TCP || !p->is_whole)
		return 0;
	if (bpf_skb_load_bytes_relative(skb, p->transport, &tcp, sizeof(tcp), p->start))
		return 0;
	return !(tcp.flags & TCP_SYN) && p->end <= p->transport + (tcp.offset >> 4) * 4;
}
