/*
 * Files of pseudo file systems: procfs, sysfs, cgroups, debugfs ...  (tiers lsm and fmod_ret)
 *
 * Their inodes are numbered anew whenever they are read, and every namespace may have a superblock of its own.  So what counts
 * is the path: the kind of file system (s_magic) and the names from its root down.  That is the same on every mount, in
 * whatever namespace, through bind mounts, chroots and /proc/PID/root.
 *
 * The hash of a path is that of its directory times a number, plus the hash of the name; the root's is made of the kind.  So it
 * can be summed up while walking up from the file, and taken apart again on a second way, which looks at every ancestor.
 * In front of that: a bit for the kind, and a bit in the object filter for the first name below the root.
 */

#ifndef NBSP_TIER_SOCKET

#define MINOR_BITS 20
#define PSEUDO_NAME_WORDS 2	/* exact up to 24 bytes; of longer names the first 16 and last 8 */
#define HASH_INVERSE 0xF1DE83E19937733DULL	/* of HASH_MULTIPLIER, modulo 2^64 */

/* Policy number past every policy there is: the judge cannot read it and denies. */
#define POLICY_UNDECIDED 0xffffffff

#define SB_NOUSER (1UL << 31)	/* no file system of user space: pipes, sockets, memfds, whose dentries stand alone */

/* Does a walk that ended here say what the file lies below? */
static __always_inline int has_path(struct dentry *top)
{
	struct super_block *sb = top->d_sb;

	return sb->s_root == top || (sb->s_flags & SB_NOUSER);
}

static __always_inline __u64 pseudo_root(__u64 magic)
{
	__u64 hash = magic * HASH_MULTIPLIER;

	return (hash ^ (hash >> 32)) * HASH_MULTIPLIER;
}

/* The kind's bit in the words of a generation; these six are shared with none of tmpfs, overlayfs, btrfs, ramfs and fuse. */
static __always_inline __u64 pseudo_bit(__u64 root)
{
	return 1ULL << ((root >> 52) & 63);
}

/* Filter hash of the first name below the root. */
static __always_inline __u32 pseudo_top(__u64 root, const void *name, long length)
{
	return ((root ^ name_word(name, length, 0)) * HASH_MULTIPLIER + length) * HASH_MULTIPLIER >> 32;
}

/* The hash of a name wherever it stands. */
static __always_inline __u64 pseudo_wherever(__u64 root, __u64 name)
{
	return (name ^ root) * HASH_MULTIPLIER;
}

static __always_inline __u64 pseudo_name(struct dentry *dentry)
{
	return name_hash(dentry->d_name.name, dentry->d_name.len, PSEUDO_NAME_WORDS);
}

static __always_inline struct object *pseudo_object(struct question *q, void *inner, __u32 mask, __u64 hash)
{
	return filter_has(q->slot, mask, hash >> 32) ? bpf_map_lookup_elem(inner, &hash) : 0;
}

static __always_inline __u32 pseudo_found(struct question *q, __u32 policy, __u64 hash)
{
	q->object.ino = hash;
	q->object.dev = q->object.gen = 0;
	q->kind = KIND_PSEUDO;
	return policy;
}

/*
 * Returns the policy of a file on a pseudo file system, 0 for none: its own, else that of its name wherever it is, else that of
 * the nearest tree.  Declared paths have at most NBSP_PSEUDO_NAMES names, so deeper directories are only walked over.
 */
static __always_inline __u32 pseudo_policy(struct question *q, struct generation *generation, struct dentry *dentry)
{
	struct dentry *at = dentry, *below = dentry, *from = dentry, *top;
	__u64 root, kind, hash = 0, path, anywhere = 0, power = generation->one;
	__u32 mask = generation->filter_mask;
	void *inner = pseudo_paths.lookup(&q->slot);
	struct object *object;
	__u32 wherever = 0;
	unsigned long i;

	root = pseudo_root(dentry->d_sb->s_magic);
	kind = pseudo_bit(root);
	if (!(generation->pseudo_kinds & kind) || !inner)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_WALK_MAX; i++) {
		top = at->d_parent;
		if (top == at)
			goto at_top;
		below = at;
		at = top;
		if (i >= NBSP_PSEUDO_NAMES)
			from = from->d_parent;
	}
	return POLICY_UNDECIDED;
at_top:
	if (!has_path(top))
		return POLICY_UNDECIDED;
	if (generation->pseudo_anywhere & kind) {
		anywhere = pseudo_wherever(root, pseudo_name(dentry));
		object = pseudo_object(q, inner, mask, anywhere);
		if (object)
			wherever = object->policy;
	}
	if (!(generation->pseudo_whole & kind) &&
	    !filter_has(q->slot, mask, pseudo_top(root, below->d_name.name, below->d_name.len)))
		return wherever ? pseudo_found(q, wherever, anywhere) : 0;
	at = from;
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_PSEUDO_NAMES; i++) {
		if (at == top)
			break;
		hash += pseudo_name(at) * power;
		power *= HASH_MULTIPLIER;
		at = at->d_parent;
	}
	path = hash + root * power;
	if (from == dentry) {
		object = pseudo_object(q, inner, mask, path);
		if (object && object->policy)
			return pseudo_found(q, object->policy, path);
	}
	if (wherever)
		return pseudo_found(q, wherever, anywhere);
	if (!(generation->pseudo_trees & kind))
		return 0;
	at = from;
#pragma clang loop unroll(disable)
	for (i = 0; i <= NBSP_PSEUDO_NAMES; i++) {
		object = pseudo_object(q, inner, mask, path);
		if (object && object->tree_policy)
			return pseudo_found(q, object->tree_policy, path);
		if (at == top)
			break;
		path = (path - pseudo_name(at)) * HASH_INVERSE;
		at = at->d_parent;
	}
	return 0;
}

#endif
