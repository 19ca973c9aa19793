/*
 * Frames that no filter would see.  (all tiers)
 *
 * socket_setsockopt   (lsm, fmod_ret) and cgroup_setsockopt (socket): a packet socket that asks to leave out the queue of its
 * cgroup_setsockopt   device, and with it our filter, and an AF_XDP socket that asks for a ring to send from.
 *
 * Nobody can say where such a frame would go, so it is refused while any endpoint is protected to whoever may not go to all
 * of them.  A socket that has it from before the rules keeps it, and coverage says so.  The kernel leaves out the
 * cgroup's hook for 32-bit system calls (net/socket.c, do_sock_setsockopt), not that of the LSMs.
 */

#define SOL_PACKET 263
#define PACKET_QDISC_BYPASS 20
#define SOL_XDP 283
#define XDP_TX_RING 3

static __always_inline int check_raw_frames(int level, int option, const int power)
{
	struct question q = { .channel = CHANNEL_RAW_FRAMES, .wanted = ACCESS_CONNECT, .policy = NBSP_POLICY_RAW_FRAMES };
	int slot = active_slot();

	if (slot < 0)
		return 0;
	if ((level != SOL_PACKET || option != PACKET_QDISC_BYPASS) && (level != SOL_XDP || option != XDP_TX_RING))
		return 0;
	q.slot = slot;
	q.stamp = stamp_of((void *)bpf_get_current_task());
	return judge(&q, power);
}

#ifndef NBSP_TIER_SOCKET

HOOK(socket_setsockopt, security_socket_setsockopt)
{
	RESPECT_EARLIER(socket_setsockopt);
	return check_raw_frames(ARG(socket_setsockopt, level, int), ARG(socket_setsockopt, optname, int), CAN_SIGNAL);
}

#else

int cgroup_setsockopt(struct bpf_sockopt *ctx)
{
	return check_raw_frames(ctx->level, ctx->optname, CANNOT_SIGNAL) == 0;
}

#endif
