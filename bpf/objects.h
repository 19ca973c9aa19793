/*
 * Is this file protected, and by which policy?  (tiers lsm and fmod_ret)
 *
 * An object is found by inode (file), by name in its directory (slot: a path that gets replaced or does not exist yet), or
 * by an ancestor (tree).  The walk goes over dentries up to the root of the superblock, so bind mounts, mount namespaces,
 * chroot and /proc/PID/root change nothing.  What a generation protects is in a bitmap, so that an unprotected file costs
 * one array look-up a level and no hash look-up.  A false hit of the bitmap only costs time.
 */

static __always_inline __u32 object_hash(__u64 ino, __u32 dev)
{
	__u64 hash = (ino * 0x9E3779B97F4A7C15ULL) ^ ((__u64)dev * 0xC2B2AE3D27D4EB4FULL);

	/* twice: inode numbers come in runs, and one multiplication keeps them in runs */
	hash = (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15ULL;
	return hash >> 32;
}

/* The word of the object filter for a hash; every index that is made here exists. */
static __always_inline __u64 filter_word(__u32 slot, __u32 mask, __u32 hash)
{
	__u32 index = slot * NBSP_FILTER_WORDS + ((hash >> 6) & mask);
	__u64 *word = filters.lookup(&index);

	return word ? *word : ~0ULL;
}

static __always_inline int filter_has(__u32 slot, __u32 mask, __u32 hash)
{
	return (filter_word(slot, mask, hash) >> (hash & 63)) & 1;
}

/* A declared name has its bit in the word of its directory, by the length of the name. */
static __always_inline __u32 slot_bit(__u32 directory_hash, __u32 length)
{
	return ((directory_hash ^ (length * 0x9E3779B1U)) >> 26) & 63;
}

/* Does this superblock hold anything protected? */
static __always_inline int superblock_guarded(__u32 slot, __u32 dev)
{
	__u32 index = slot * NBSP_SB_WORDS + ((dev ^ (dev >> 20)) & (NBSP_SB_WORDS - 1));
	__u64 *word = superblocks.lookup(&index);

	return word && ((*word >> ((dev >> 6) & 63)) & 1);
}

#define HASH_MULTIPLIER 0x9E3779B97F4A7C15ULL
#define SLOT_NAME_WORDS 8

/* Eight bytes of a name from `at` on, zeroes behind its end. */
static __always_inline __u64 name_word(const void *name, long length, long at)
{
	long rest = length - at;
	__u64 word = 0;

	rest &= ~(rest >> 63);		/* at least 0 */
	rest -= 8;
	rest &= rest >> 63;		/* at most 0: bytes that are too many, negative */
	bpf_probe_read_kernel(&word, sizeof(word), name + at);
	return (word << (-rest * 4)) << (-rest * 4) >> (-rest * 4) >> (-rest * 4);
}

/*
 * Hash of a name in the kernel's memory: all of it up to words * 8 bytes, of longer ones the last eight too.  The name itself
 * would be too large for the stack, and a per-CPU buffer is no place for it: these programs can be preempted by each other.
 */
static __always_inline __u64 name_hash(const void *name, long length, const int words)
{
	__u64 hash = length * HASH_MULTIPLIER;
	long i, tail;

#pragma clang loop unroll(disable)
	for (i = 0; i < words; i++) {
		hash = (hash ^ name_word(name, length, i * 8)) * HASH_MULTIPLIER;
		hash ^= hash >> 32;
	}
	/* the last eight bytes; of a shorter name nothing, for what stands before it is not part of it */
	tail = length - 8;
	return (hash ^ (name_word(name, length, tail) & ~(tail >> 63))) * HASH_MULTIPLIER;
}

/* What the walk can afford to hash of a name: its length, its first and its last eight bytes. */
static __always_inline __u64 name_hint(const void *name, long length)
{
	__u64 hint = (length * HASH_MULTIPLIER ^ name_word(name, length, 0)) * HASH_MULTIPLIER;
	long tail = length - 8;

	return ((hint ^ (hint >> 32)) ^ (name_word(name, length, tail) & ~(tail >> 63))) * HASH_MULTIPLIER;
}

static __always_inline struct slot *hinted_slot(void *inner, struct object_key *parent, const void *name, __u32 length)
{
	struct slot_key key = { .parent = *parent, .name = name_hint(name, length) };

	return inner ? bpf_map_lookup_elem(inner, &key) : 0;
}

static __always_inline int is_slot(struct slot *slot, const void *name, __u32 length)
{
	return !slot->name || slot->name == name_hash(name, length, SLOT_NAME_WORDS);
}

static __always_inline __u32 newborn_policy(struct generation *generation, struct object_key *key, __u32 hash)
{
	__u32 zero = 0;
	struct newborn_filter *filter = newborn_filters.lookup(&zero);
	struct newborn *newborn;

	if (!filter || !filter->bytes[hash & (NBSP_NEWBORN_BYTES - 1)])
		return 0;
	newborn = newborns.lookup(key);
	return newborn && newborn->serial == generation->serial ? newborn->policy : 0;
}

#ifndef NBSP_TIER_SOCKET

static __always_inline void notify_change(struct object_key *parent, __u32 channel)
{
	struct notice *notice = notices.ringbuf_reserve(sizeof(struct notice));

	if (!notice)
		return;		/* the daemon is told by the notices that are in the ring already */
	notice->parent = *parent;
	notice->channel = channel;
	notice->pad = 0;
	notices.ringbuf_submit(notice, 0);
}

/* Policy number past every policy there is: the judge cannot read it and denies. */
#define POLICY_UNDECIDED 0xffffffff

/*
 * The inode of a dentry that a hook was given, 0 for a name that nothing has yet.  Verifiers from 6.4 on believe that the
 * dentry of a hook always has one (BTF_TYPE_SAFE_TRUSTED), drop the check for NULL and let the load behind it bring the
 * kernel down.  So the check is made on a copy that they know nothing of.
 */
static __always_inline struct inode *inode_of(struct dentry *dentry)
{
	unsigned long raw = 0;

	READ(raw, dentry, dentry, d_inode);
	return raw ? dentry->d_inode : 0;
}

/* The policy that an inode brings; `is_itself`: it is what the access is about, not an ancestor. */
static __always_inline __u32 inode_policy(struct question *q, void *inner, struct object_key *key, int is_itself)
{
	struct object *object = bpf_map_lookup_elem(inner, key);
	__u32 policy;

	if (!object)
		return 0;
	policy = is_itself && object->policy ? object->policy : object->tree_policy;
	if (policy) {
		q->object = *key;
		q->kind = KIND_INODE;
	}
	return policy;
}

static __always_inline void set_key(struct object_key *key, struct inode *inode, __u32 dev)
{
	key->ino = inode->i_ino;
	key->dev = dev;
	key->gen = inode->i_generation;
}

#define SB_NOUSER (1UL << 31)	/* no file system of user space: pipes, sockets, memfds, whose dentries stand alone */

/* Does a walk that ended here say what the file lies below? */
static __always_inline int has_path(struct dentry *top)
{
	struct super_block *sb = top->d_sb;

	return sb->s_root == top || (sb->s_flags & SB_NOUSER);
}

/*
 * Returns the policy of the file that `dentry` names, 0 for none; fills q->object and q->kind.  `changes`: the access
 * creates, removes or replaces this name, of which the daemon wants to know where a path is declared.
 *
 * A walk that ends anywhere but at the root of the superblock is that of a dentry without a path, which open_by_handle_at(2)
 * can make: nobody can say what it lies below.
 *
 * Two walks: the first ends at a name that looks like a declared one; if it is another, which is rare, the second goes on
 * without names.  In the loops nothing is stored that is read after them, and little is done, since the verifier follows
 * every round.
 */
static __always_inline __u32 find_policy(struct question *q, struct dentry *dentry, int changes)
{
	struct generation *generation = generations.lookup(&q->slot);
	void *inner = objects.lookup(&q->slot), *names = slots.lookup(&q->slot);
	struct dentry *at = dentry, *below = dentry;
	__u32 dev = dentry->d_sb->s_dev, hash, policy, mask;
	struct object_key key = {};
	struct slot *named = 0;
	struct inode *inode;
	unsigned long i;
	__u64 word;

	if (!generation || !inner || !superblock_guarded(q->slot, dev))
		return 0;
	mask = generation->filter_mask;
	inode = inode_of(dentry);
	if (inode) {
		hash = object_hash(inode->i_ino, dev);
		set_key(&key, inode, dev);
		policy = newborn_policy(generation, &key, hash);
		if (policy) {
			q->object = key;
			q->kind = KIND_INODE;
		} else if (filter_has(q->slot, mask, hash)) {
			policy = inode_policy(q, inner, &key, 1);
		}
		if (policy) {
			if (changes)	/* a declared file is removed or replaced */
				notify_change(&key, q->channel);
			return policy;
		}
	}
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_WALK_MAX; i++) {
		below = at;
		at = at->d_parent;
		if (at == below)
			return has_path(at) ? 0 : POLICY_UNDECIDED;
		inode = at->d_inode;
		hash = object_hash(inode->i_ino, dev);
		word = filter_word(q->slot, mask, hash);
		if (!(((word >> (hash & 63)) | (word >> slot_bit(hash, below->d_name.len))) & 1))
			continue;
		set_key(&key, inode, dev);
		named = hinted_slot(names, &key, below->d_name.name, below->d_name.len);
		if (named)
			break;
		policy = inode_policy(q, inner, &key, 0);
		if (policy)
			return policy;
	}
	if (!named)
		goto too_deep;
	if (is_slot(named, below->d_name.name, below->d_name.len)) {
		policy = below == dentry ? named->policy : named->tree_policy;
		if (changes && below == dentry)
			notify_change(&key, q->channel);
		if (policy) {
			q->object = key;
			q->kind = KIND_SLOT;
			return policy;
		}
	}
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_WALK_MAX; i++) {
		inode = at->d_inode;
		hash = object_hash(inode->i_ino, dev);
		if (filter_has(q->slot, mask, hash)) {
			set_key(&key, inode, dev);
			policy = inode_policy(q, inner, &key, 0);
			if (policy)
				return policy;
		}
		below = at;
		at = at->d_parent;
		if (at == below)
			return has_path(at) ? 0 : POLICY_UNDECIDED;
	}
too_deep:
	q->kind = KIND_INODE;
	return POLICY_UNDECIDED;
}

/* Judges an access to the file that `dentry` names; the caller fills q->channel and q->wanted. */
static __always_inline int check_question(struct question *q, struct dentry *dentry, int changes)
{
	int slot = active_slot();

	if (slot < 0)
		return 0;
	q->slot = slot;
	q->policy = find_policy(q, dentry, changes);
	if (!q->policy)
		q->policy = pin_policy(q, dentry);
	if (!q->policy)
		return 0;
	q->dentry = dentry;
	q->stamp = stamp_of((void *)bpf_get_current_task());
	return judge(q, CAN_SIGNAL);
}

static __always_inline int check_dentry(struct dentry *dentry, __u8 channel, __u8 wanted, const int changes)
{
	struct question q = { .channel = channel, .wanted = wanted };

	return check_question(&q, dentry, changes);
}

/*
 * Judges link and rename: the old name, whose inode gets another name, and the new name, which that inode takes over.  Where
 * the new name is declared, the inode is protected from now on, whatever other names it has.
 */
static __always_inline int check_names(struct dentry *from, struct dentry *to, __u8 channel, const int moves)
{
	struct newborn_filter *filter;
	struct generation *generation;
	struct newborn newborn = {};
	struct object_key key = {};
	struct inode *inode;
	struct question q;
	__u32 zero = 0;
	unsigned long i;

	if (!from || !to)	/* never; verifiers from 7.x on want it said */
		return -EPERM;
	/* a loop of two, so that the judge is compiled once */
#pragma clang loop unroll(disable)
	for (i = 0; i < 2; i++) {
		__builtin_memset(&q, 0, sizeof(q));
		q.channel = channel;
		q.wanted = i ? ACCESS_WRITE : ACCESS_READ | ACCESS_WRITE;
		if (check_question(&q, i ? to : from, i || moves))
			return -EPERM;
	}
	if (!q.policy)
		return 0;
	inode = inode_of(to);
	if (q.kind != KIND_SLOT && (!inode || inode->i_ino != q.object.ino))
		return 0;	/* the new name is not declared, it lies in a tree */
	generation = generations.lookup(&q.slot);
	filter = newborn_filters.lookup(&zero);
	if (!generation || !filter)
		return 0;
	inode = inode_of(from);
	if (!inode)
		return 0;
	key.ino = inode->i_ino;
	key.gen = inode->i_generation;
	key.dev = from->d_sb->s_dev;
	newborn.policy = q.policy;
	newborn.serial = generation->serial;
	newborns.update(&key, &newborn);
	filter->bytes[object_hash(key.ino, key.dev) & (NBSP_NEWBORN_BYTES - 1)] = 1;
	return 0;
}

#endif
