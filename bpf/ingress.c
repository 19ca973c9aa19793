/*
 * Packets that arrive.  (all tiers)
 *
 * cgroup_ingress   what comes to a socket that is connected to a protected endpoint without a stamp, from before the rules:
 *                  the server's next word, which waits for no packet of ours.  The socket is looked at and not the
 *                  packet, so that others cost little.  And what another interface than lo brings to a loopback address.
 *
 * A packet without data passes: it ends the connection, or tells nothing.
 */

/* Judges a packet that comes to a socket whose stamps are not those of a checkpoint; what has no data may pass. */
static __always_inline int judge_arrival(struct __sk_buff *skb, struct parsed *p, struct bpf_sock *sk, __u32 slot,
					 __u32 policy)
{
	struct question q = { .channel = CHANNEL_ARRIVAL, .wanted = ACCESS_CONNECT, .kind = KIND_ENDPOINT };
	struct parsed packet = {};

	q.socket = sk ? sockets.sk_storage_get(sk, 0, 0) : 0;	/* without: nobody's */
	if (!q.socket && parse(skb, &packet, HDR_START_NET, 0) == FOUND && is_bare_control(skb, &packet))
		return 1;
	q.slot = slot;
	q.policy = policy;
	q.addr = p->key.addr;
	q.port = swap16(p->key.port);
	q.proto = p->key.proto;
	q.ifindex = skb->ifindex;
	return judge(&q, CANNOT_AUDIT) == 0;
}

static __always_inline int is_loopback(struct endpoint_key *key)
{
	__u32 words[4];

	__builtin_memcpy(words, key->addr, 16);
	if (words[0] || words[1])
		return 0;
	return words[2] == swap32(0xffff) ? (words[3] & 255) == 127 : !words[2] && words[3] == swap32(1);
}

/*
 * The policy of a packet that another interface than lo delivers, to a loopback address: the kernel drops it as forged, but
 * not where somebody has set route_localnet.
 */
static __always_inline __u32 forged_policy(struct __sk_buff *skb, struct parsed *p, __u32 slot)
{
	__builtin_memset(p, 0, sizeof(*p));
	if (parse(skb, p, HDR_START_NET, 0) != FOUND || !is_loopback(&p->key))
		return 0;
	return packet_policy(skb, p, slot);
}

int cgroup_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct parsed p = {};
	int slot = active_slot();
	__u32 policy = 0;

	if (slot < 0 || !sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	p.key.proto = p.carrier = sk->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	p.key.port = sk->dst_port;
	if (p.key.port && port_guarded(slot, p.key.proto, swap16(p.key.port))) {
		if (sk->family == AF_INET) {
			set_ip4(&p.key, sk->dst_ip4);
		} else {
			__u32 words[4] = { sk->dst_ip6[0], sk->dst_ip6[1], sk->dst_ip6[2], sk->dst_ip6[3] };

			__builtin_memcpy(p.key.addr, words, 16);
		}
		policy = packet_policy(skb, &p, slot);
	}
	if (!policy && skb->ifindex != LOOPBACK_IFINDEX && port_guarded(slot, p.carrier, sk->src_port)) {
		policy = forged_policy(skb, &p, slot);
		sk = 0;
	}
	return policy ? judge_arrival(skb, &p, sk, slot, policy) : 1;
}
