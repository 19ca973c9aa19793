/*
 * Packets that leave, whatever made them.  (all tiers)
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

#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define ETH_TYPE_AT 12		/* in an Ethernet frame */
#define VLAN_TAGS 8
#define HEADERS 256		/* bytes that must hold the headers of a frame made by hand */
#define PLAIN_HEADERS 78	/* of a forwarded one: Ethernet, one tag, IPv6, TCP */
#define HDR_START_MAC 0

/* Judges a packet to an endpoint with a policy; returns 1 to let it pass, 0 to drop it. */
static __always_inline int judge_packet(struct __sk_buff *skb, struct parsed *p, __u32 slot, __u32 policy, __u8 channel)
{
	struct question q = { .channel = channel, .wanted = ACCESS_CONNECT, .kind = KIND_ENDPOINT };
	struct bpf_sock *sk = skb->sk;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk)
		q.socket = sockets.sk_storage_get(sk, 0, 0);
	if (!q.socket) {
		if ((!sk || sk->type == SOCK_RAW) && is_bare_control(skb, p))
			return 1;
	}
	q.slot = slot;
	q.policy = policy;
	q.addr = p->key.addr;
	q.port = swap16(p->key.port);
	q.proto = p->carrier;
	q.ifindex = skb->ifindex;
	return judge(&q, CANNOT_SIGNAL) == 0;
}

int cgroup_egress(struct __sk_buff *skb)
{
	struct parsed p = {};
	int slot = active_slot(), found;
	__u32 policy;

	if (slot < 0 || !is_called_ip(skb))
		return 1;
	found = parse(skb, &p, HDR_START_NET, 0);
	if (found == NOTHING)
		return 1;
	if (found == UNDECIDED) {
		count_unreported();
		return 0;
	}
	policy = packet_policy(skb, &p, slot);
	return policy ? judge_packet(skb, &p, slot, policy, CHANNEL_PACKET) : 1;
}

/* Made by an IP socket of this host: then the kernel wrote the headers, or at least says rightly where they are. */
static __always_inline int is_of_ip_socket(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	return sk && (sk->family == AF_INET || sk->family == AF_INET6);
}

/* The packet in an Ethernet frame, behind what tags there are: the kernel takes off as many as it finds. */
static __always_inline int parse_frame(struct __sk_buff *skb, struct parsed *p)
{
	__u32 at = ETH_TYPE_AT;
	__u16 type = 0;
	unsigned long i;

#pragma clang loop unroll(disable)
	for (i = 0; i <= VLAN_TAGS; i++) {
		if (bpf_skb_load_bytes_relative(skb, at, &type, sizeof(type), HDR_START_MAC))
			return NOTHING;
		at += sizeof(type);
		if (type == swap16(ETH_P_IP) || type == swap16(ETH_P_IPV6))
			return parse(skb, p, HDR_START_MAC, at);
		if (type != swap16(ETH_P_8021Q) && type != swap16(ETH_P_8021AD))
			return NOTHING;
		at += sizeof(type);
	}
	return UNDECIDED;
}

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2

/*
 * Whoever writes frames by hand chooses their parts: pages that nobody has read yet, a protocol that is not the frame's, tags.
 * So such a frame is read as what the kernel calls it and as what it says itself.
 */
int interface_egress(struct __sk_buff *skb)
{
	int slot = active_slot(), found = NOTHING, is_by_hand;
	struct parsed p = {};
	__u32 policy = 0, wanted = skb->sk ? HEADERS : PLAIN_HEADERS;

	if (slot < 0)
		return TC_ACT_UNSPEC;
	is_by_hand = !is_of_ip_socket(skb);
	if (wanted > skb->len)
		wanted = skb->len;
	if (is_by_hand && skb->data_end - skb->data < wanted)
		bpf_skb_pull_data(skb, wanted);
	if (is_called_ip(skb))
		found = parse(skb, &p, HDR_START_NET, 0);
	if (found == FOUND)
		policy = packet_policy(skb, &p, slot);
	if (is_by_hand && found != UNDECIDED && !policy) {
		found = parse_frame(skb, &p);
		if (found == FOUND)
			policy = packet_policy(skb, &p, slot);
	}
	if (found == UNDECIDED) {
		count_unreported();
		return TC_ACT_SHOT;
	}
	if (!policy)
		return TC_ACT_UNSPEC;
	return judge_packet(skb, &p, slot, policy, CHANNEL_INTERFACE) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}
