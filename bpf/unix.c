/*
 * Unix sockets.
 *
 * Tiers lsm and fmod_ret: unix_stream_connect and unix_may_send see the socket at the other end, and so the inode and the
 * name it was bound to; symlinks, relative paths, mounts and namespaces change nothing.
 * Tier socket: cgroup/connect_unix and sendmsg_unix (kernels from 6.7 on) see the name that was asked for.  A declared name,
 * the same name relative to the working directory, and every abstract name are decided exactly; an alias (symlink, bind
 * mount) of a declared path is not seen, and coverage says so.
 */

#define SUN_FAMILY 2	/* bytes before sun_path */
#define SUN_NAME_WORDS 14	/* all of sun_path */

/* An abstract name begins with NUL and ends with its length; a path ends with its NUL. */
static __always_inline __u32 sun_policy(struct question *q, __u32 length)
{
	void *inner = sun_names.lookup(&q->slot);
	__u64 key = name_hash(q->sun, length, SUN_NAME_WORDS);
	__u32 *policy = inner ? bpf_map_lookup_elem(inner, &key) : 0;

	return policy ? *policy : 0;
}

static __always_inline int judge_sun(struct question *q, const int power)
{
	q->wanted = ACCESS_CONNECT;
	q->stamp = stamp_of((void *)bpf_get_current_task());
	return judge(q, power);
}


#ifndef NBSP_TIER_SOCKET

/* The policy of the abstract name that a socket is bound to. */
static __always_inline __u32 abstract_policy(struct question *q, void *sk)
{
	void *address = 0;
	__u32 length = 0;
	char first = 1;

	READ(address, sk, unix_sock, addr);
	READ(length, address, unix_address, len);
	if (!address || length <= SUN_FAMILY || length - SUN_FAMILY > NBSP_SUN_NAME)
		return 0;
	q->kind = KIND_ABSTRACT;
	q->sun = address + __builtin_offsetof(struct unix_address, name) + SUN_FAMILY;
	q->sun_len = length - SUN_FAMILY;
	bpf_probe_read_kernel(&first, 1, q->sun);
	return first ? 0 : sun_policy(q, q->sun_len);
}

/* The policy of the file that a socket is bound to, by inode or by name. */
static __always_inline __u32 bound_policy(struct question *q, void *dentry)
{
	struct generation *generation = generations.lookup(&q->slot);
	struct object_key key = {}, parent_key = {};
	void *inode = 0, *parent = 0, *name = 0, *inner = objects.lookup(&q->slot);
	struct object *object;
	struct slot *named;
	__u32 length = 0, hash;

	READ(inode, dentry, dentry, d_inode);
	inode_key(inode, &key);
	if (!generation || !inner || !superblock_guarded(q->slot, key.dev))
		return 0;
	q->kind = KIND_INODE;
	q->object = key;
	if (filter_has(q->slot, generation->filter_mask, object_hash(key.ino, key.dev))) {
		object = bpf_map_lookup_elem(inner, &key);
		if (object && object->policy)
			return object->policy;
	}
	READ(parent, dentry, dentry, d_parent);
	READ(inode, parent, dentry, d_inode);
	inode_key(inode, &parent_key);
	READ(length, dentry, dentry, d_name.len);
	hash = object_hash(parent_key.ino, parent_key.dev);
	if (!((filter_word(q->slot, generation->filter_mask, hash) >> slot_bit(hash, length)) & 1))
		return 0;
	q->kind = KIND_SLOT;
	q->object = parent_key;
	READ(name, dentry, dentry, d_name.name);
	named = hinted_slot(slots.lookup(&q->slot), &parent_key, name, length);
	return named && is_slot(named, name, length) ? named->policy : 0;
}

/* The policy of the name that a socket is bound to. */
static __always_inline __u32 unix_policy(struct question *q, void *sk)
{
	void *dentry = 0;

	READ(dentry, sk, unix_sock, path.dentry);
	if (!dentry)
		return abstract_policy(q, sk);
	q->dentry = dentry;
	return bound_policy(q, dentry);
}

static __always_inline int check_unix(void *sk, __u8 channel)
{
	struct question q = { .channel = channel };
	int slot = active_slot();

	if (slot < 0)
		return 0;
	q.slot = slot;
	q.policy = unix_policy(&q, sk);
	return q.policy ? judge_sun(&q, CAN_SIGNAL) : 0;
}

HOOK(unix_stream_connect, security_unix_stream_connect)
{
	RESPECT_EARLIER(unix_stream_connect);
	return check_unix(ARG(unix_stream_connect, other, void *), CHANNEL_UNIX_CONNECT);
}

HOOK(unix_may_send, security_unix_may_send)
{
	void *other = ARG(unix_may_send, other, void *), *sk = 0;

	RESPECT_EARLIER(unix_may_send);
	READ(sk, other, socket, sk);
	return check_unix(sk, CHANNEL_UNIX_SEND);
}

#else

/* A name without a slash means the working directory's: find it as a slot. */
static __always_inline __u32 relative_policy(struct question *q, __u32 length)
{
	void *task = (void *)bpf_get_current_task(), *fs = 0, *dentry = 0, *inode = 0;
	struct slot *named;

	READ(fs, task, task_struct, fs);
	READ(dentry, fs, fs_struct, pwd.dentry);
	READ(inode, dentry, dentry, d_inode);
	inode_key(inode, &q->object);
	q->kind = KIND_SLOT;
	named = hinted_slot(slots.lookup(&q->slot), &q->object, q->sun, length);
	return named && is_slot(named, q->sun, length) ? named->policy : 0;
}

/* How many of eight bytes stand before the first NUL. */
static __always_inline __u64 bytes_before_nul(__u64 word)
{
	__u64 nul = (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL;
	__u64 below = (nul & -nul) - 1;

	below -= (below >> 1) & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + ((below >> 2) & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return ((below * 0x0101010101010101ULL) >> 56) / 8;
}

/* Length of what stands in sun_path up to a NUL, which need not be there; without branches, see name_hash(). */
static __always_inline __u64 path_length(void *path)
{
	__u64 length = 0, open = 1, word, before;
	unsigned long i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SUN_NAME_WORDS; i++) {
		word = 0;
		bpf_probe_read_kernel(&word, sizeof(word), path + i * 8);
		before = bytes_before_nul(word);
		length += before * open;
		open &= before >> 3;
	}
	return length;
}

static __always_inline int check_unix_name(struct bpf_sock_addr *ctx, __u8 channel)
{
	struct question q = { .channel = channel, .kind = KIND_ABSTRACT };
	struct bpf_sock_addr_kern kern = {};
	int slot = active_slot();
	__u64 length, path;
	char first = 0;

	if (slot < 0)
		return 1;
	/* ctx is the kernel's own struct; the verifier lets nobody touch these members, reading them as data is allowed */
	bpf_probe_read_kernel(&kern, sizeof(kern), (void *)ctx);
	if (kern.uaddrlen < SUN_FAMILY)
		return 1;
	length = kern.uaddrlen - SUN_FAMILY;
	q.slot = slot;
	q.sun = (void *)kern.uaddr + SUN_FAMILY;
	/* a path ends at its NUL, or where the caller says; an abstract name has its NUL in front and is all of the length */
	HIDE(length);
	if (length > NBSP_SUN_NAME)
		return 1;	/* longer than any name there can be */
	bpf_probe_read_kernel(&first, 1, q.sun);
	if (first) {
		path = path_length(q.sun);
		if (path < length)
			length = path;
	}
	q.sun_len = length;
	q.policy = sun_policy(&q, length);
	if (!q.policy && first && first != '/')
		q.policy = relative_policy(&q, length);
	return q.policy ? judge_sun(&q, CANNOT_SIGNAL) == 0 : 1;
}

int cgroup_connect_unix(struct bpf_sock_addr *ctx)
{
	return check_unix_name(ctx, CHANNEL_UNIX_CONNECT);
}

int cgroup_sendmsg_unix(struct bpf_sock_addr *ctx)
{
	return check_unix_name(ctx, CHANNEL_UNIX_SEND);
}

#endif
