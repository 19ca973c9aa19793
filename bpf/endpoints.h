/*
 * Is this endpoint protected, and by which policy?  (all tiers)
 *
 * A bitmap of ports stands before the trie of networks.  IPv4 is looked up as ::ffff:a.b.c.d.  A loopback endpoint was
 * spread by the compiler over 127.0.0.0/8, 0.0.0.0, ::1 and ::, and by the daemon over this host's addresses; a packet that
 * leaves through lo is looked up as ::1 too, so that an address which nobody told us of is no way around.
 *
 * SCTP and DCCP have ports of their own, which a rule cannot name: what is protected for TCP or UDP is protected for them.
 */

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMP 1
#define IPPROTO_ICMPV6 58
#define IPPROTO_UDPLITE 136
#define IPPROTO_DCCP 33
#define IPPROTO_SCTP 132
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define ENDPOINT_BITS 160	/* proto, pad, port, address */

static __always_inline __u16 swap16(__u16 value)
{
	return __builtin_bswap16(value);
}

static __always_inline __u32 swap32(__u32 value)
{
	return __builtin_bswap32(value);
}

/* Is anything protected on this port?  `port` in host order. */
static __always_inline int port_guarded(__u32 slot, __u8 proto, __u16 port)
{
	__u32 index = (slot * 2 + (proto == IPPROTO_UDP)) * NBSP_PORT_WORDS + (port >> 6);
	__u64 *word = ports.lookup(&index);

	return word && ((*word >> (port & 63)) & 1);
}

static __always_inline __u32 endpoint_policy(__u32 slot, struct endpoint_key *key)
{
	void *inner = endpoints.lookup(&slot);
	__u32 *policy = inner ? bpf_map_lookup_elem(inner, key) : 0;

	return policy ? *policy : 0;
}

static __always_inline void set_ip4(struct endpoint_key *key, __u32 ip)
{
	__builtin_memset(key->addr, 0, 10);
	key->addr[10] = key->addr[11] = 0xff;
	__builtin_memcpy(&key->addr[12], &ip, 4);
}

/*
 * The endpoint that an IP socket is connected to, read from anywhere; returns 0 when it is to none.  Connecting, in the
 * kernel, begins with the port.
 */
static __always_inline int remote_endpoint(void *sk, struct endpoint_key *key)
{
	__u16 family = 0, type = 0;
	__u32 ip = 0;

	READ(family, sk, sock, skc_family);
	READ(type, sk, sock, sk_type);
	READ(key->port, sk, sock, skc_dport);
	if (!key->port)
		return 0;
	key->proto = type == SOCK_DGRAM ? IPPROTO_UDP : IPPROTO_TCP;
	key->prefixlen = ENDPOINT_BITS;
	if (family == AF_INET) {
		READ(ip, sk, sock, skc_daddr);
		set_ip4(key, ip);
		return 1;
	}
#ifdef HAS_sock_skc_v6_daddr
	if (family == AF_INET6) {
		READ(key->addr, sk, sock, skc_v6_daddr);
		return 1;
	}
#endif
	return 0;
}
