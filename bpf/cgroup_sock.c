/*
 * Connect and send, in the context of the process that asks.  (all tiers)
 *
 * connect4, connect6   every connect(2), also TCP Fast Open's implicit one, io_uring and the kernel's MPTCP subflows
 * sendmsg4, sendmsg6   every datagram to an address that the caller names
 *
 * The address is the kernel's copy: nothing can change it after the check.  What the process carried is kept with the
 * socket, since the packets that follow leave in any context.
 */

/* The stamps that count now go with the socket; without a stamp none do, whatever went with it before. */
static __always_inline void keep_stamps(struct socket_stamp *socket, struct stamp *stamp)
{
	__u64 counting, bit;
	unsigned long i;

	for (i = 0; i < NBSP_STAMP_WORDS; i++)
		socket->bits[i] = 0;
	if (!stamp)
		return;
	counting = counting_stamps(stamp, 0);
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_STAMPS_HELD; i++) {
		bit = stamp->list[i] - 1;
		socket->bits[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] |= ((counting >> i) & 1) << (bit & 63);
	}
}

/*
 * Also where nothing is protected, a socket that has stamps gets those of who uses it now: NAT may turn the address into a
 * protected one, and the socket may be another's than whose it was.
 */
static __always_inline int check_endpoint(struct bpf_sock_addr *ctx, struct endpoint_key *key, __u8 channel)
{
	struct question q = { .channel = channel, .wanted = ACCESS_CONNECT, .kind = KIND_ENDPOINT };
	struct socket_stamp *socket;
	int slot = active_slot();
	__u8 proto = ctx->protocol;
	__u64 flags = 0;
	void *sk;

	if (slot < 0 || proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6)
		return 1;
	key->proto = ctx->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	key->prefixlen = ENDPOINT_BITS;
	q.port = swap16(key->port);
	q.slot = slot;
	if (port_guarded(slot, key->proto, q.port))
		q.policy = endpoint_policy(slot, key);
	if (q.policy) {
		q.addr = key->addr;
		q.proto = key->proto;
		q.stamp = stamp_of((void *)bpf_get_current_task());
		if (judge(&q, CANNOT_SIGNAL))
			return 0;
		flags = q.stamp ? BPF_SK_STORAGE_GET_F_CREATE : 0;	/* without: audit mode */
	}
	sk = ctx->sk;
	if (!sk)
		return 1;
	socket = sockets.sk_storage_get(sk, 0, flags);
	if (!socket)		/* where it could not be made, the packet layer denies */
		return 1;
	if (!q.policy)
		q.stamp = stamp_of((void *)bpf_get_current_task());
	keep_stamps(socket, q.stamp);
	return 1;
}

int cgroup_connect4(struct bpf_sock_addr *ctx)
{
	struct endpoint_key key = {};

	key.port = ctx->user_port;
	set_ip4(&key, ctx->user_ip4);
	return check_endpoint(ctx, &key, CHANNEL_CONNECT);
}

int cgroup_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct endpoint_key key = {};

	key.port = ctx->user_port;
	set_ip4(&key, ctx->user_ip4);
	return check_endpoint(ctx, &key, CHANNEL_SEND);
}

static __always_inline void set_ip6(struct endpoint_key *key, struct bpf_sock_addr *ctx)
{
	__u32 words[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };

	__builtin_memcpy(key->addr, words, 16);
}

int cgroup_connect6(struct bpf_sock_addr *ctx)
{
	struct endpoint_key key = {};

	key.port = ctx->user_port;
	set_ip6(&key, ctx);
	return check_endpoint(ctx, &key, CHANNEL_CONNECT);
}

int cgroup_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct endpoint_key key = {};

	key.port = ctx->user_port;
	set_ip6(&key, ctx);
	return check_endpoint(ctx, &key, CHANNEL_SEND);
}
