/*
 * Is this file protected, and by which policy?  (tiers lsm and fmod_ret)
 *
 * An object is found by inode (file), by name in its directory (slot: a path that gets replaced or does not exist yet), or
 * by an ancestor (tree).  The walk goes over dentries up to the root of the superblock, so bind mounts, mount namespaces,
 * chroot and /proc/PID/root change nothing.  What a generation protects is in a bitmap, so that an unprotected file costs
 * one array look-up a level and no hash look-up.  A false hit of the bitmap only costs time.
 */

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
static __always_inline __u32 kept_policy(struct question *q, struct dentry *dentry, int changes)
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
		} else {
			word = filter_word(q->slot, mask, hash);
			if (((word >> (hash & 63)) | ((word >> move_bit(hash)) & ((q->wanted / ACCESS_MOVE) & 1))) & 1)
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

/*
 * The policy of a file that is known by its inode only: overlayfs before 6.5 opens the file of a layer under the name that it
 * has in the overlay.  The way up begins at a name that the kernel remembers of the inode; there is one, since the overlay
 * found the inode by it.
 */
static __always_inline __u32 layer_policy(struct question *q, struct inode *layer)
{
	struct generation *generation = generations.lookup(&q->slot);
	void *inner = objects.lookup(&q->slot), *node = 0, *at, *parent = 0, *inode = 0;
	struct object_key key = {};
	__u32 policy, hash;
	unsigned long i;

	inode_key(layer, &key);
	if (!generation || !inner || !superblock_guarded(q->slot, key.dev))
		return 0;
	hash = object_hash(key.ino, key.dev);
	policy = newborn_policy(generation, &key, hash);
	if (policy) {
		q->object = key;
		q->kind = KIND_INODE;
		return policy;
	}
	policy = inode_policy(q, inner, &key, 1);
	if (policy)
		return policy;
	READ(node, layer, inode, i_dentry_first);
	if (!node)
		return POLICY_UNDECIDED;
	at = node - __builtin_offsetof(struct dentry, d_alias);
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_WALK_MAX; i++) {
		READ(parent, at, dentry, d_parent);
		if (parent == at)
			return 0;
		READ(inode, parent, dentry, d_inode);
		READ(key.ino, inode, inode, i_ino);
		READ(key.gen, inode, inode, i_generation);
		if (filter_has(q->slot, generation->filter_mask, object_hash(key.ino, key.dev))) {
			policy = inode_policy(q, inner, &key, 0);
			if (policy)
				return policy;
		}
		at = parent;
	}
	return POLICY_UNDECIDED;
}

/* The same, also on file systems that make up what is in them. */
static __always_inline __u32 find_policy(struct question *q, struct dentry *dentry, int changes)
{
	struct generation *generation = generations.lookup(&q->slot);
	__u32 policy;

	if (generation && !(dentry->d_sb->s_dev >> MINOR_BITS)) {	/* on no device; all pseudo file systems are */
		policy = pseudo_policy(q, generation, dentry);
		if (policy)
			return policy;
	}
	return kept_policy(q, dentry, changes);
}

/*
 * Judges an access to the file that `dentry` names; the caller fills q->channel and q->wanted.  What `except` protects, if it
 * is a policy, was judged already.
 */
static __always_inline int check_question(struct question *q, struct dentry *dentry, int changes, const int may_be_pseudo,
					  const int power, __u32 except)
{
	int slot = active_slot();

	if (slot < 0)
		return 0;
	q->slot = slot;
	q->policy = may_be_pseudo ? find_policy(q, dentry, changes) : kept_policy(q, dentry, changes);
	if (!q->policy)
		q->policy = pin_policy(q, dentry);
	if (!q->policy || q->policy == except)
		return 0;
	q->dentry = dentry;
	q->stamp = stamp_of((void *)bpf_get_current_task());
	return judge(q, power);
}

static __always_inline int check_dentry(struct dentry *dentry, __u8 channel, __u8 wanted, const int changes)
{
	struct question q = { .channel = channel, .wanted = wanted };

	return check_question(&q, dentry, changes, 1, CAN_SIGNAL, 0);
}

/* What a name that is declared itself brings: its policy, for whatever inode takes it over; 0 for one that is not. */
static __always_inline __u32 declared_policy(struct question *q, struct dentry *dentry)
{
	/* a slot is found by its folder; of a name that only lies in a tree, the object is something further up */
	struct inode *inode = q->kind == KIND_SLOT ? dentry->d_parent->d_inode : inode_of(dentry);

	return inode && inode->i_ino == q->object.ino ? q->policy : 0;
}

/* The inode of `dentry` takes over a declared name: it is protected from now on, whatever other names it has. */
static __always_inline void take_over(struct question *q, struct dentry *dentry, __u32 policy)
{
	struct generation *generation = generations.lookup(&q->slot);
	struct inode *inode = inode_of(dentry);
	struct newborn_filter *filter;
	struct newborn newborn = {};
	struct object_key key = {};
	__u32 zero = 0;

	filter = newborn_filters.lookup(&zero);
	if (!generation || !filter || !inode)
		return;
	set_key(&key, inode, dentry->d_sb->s_dev);
	newborn.policy = policy;
	newborn.serial = generation->serial;
	newborns.update(&key, &newborn);
	filter->bytes[object_hash(key.ino, key.dev) & (NBSP_NEWBORN_BYTES - 1)] = 1;
}

#define RENAME_EXCHANGE 2	/* twice ACCESS_READ */

/*
 * Judges link and rename: the old name, whose inode gets another name, and the new name, which that inode takes over.  An
 * exchange moves both.  `wanted` of both; the old name is read too, since a new one would lead around a tree.  Nothing is
 * renamed or linked on a pseudo file system, and the verifier of 6.1 could not follow that as well.
 */
static __always_inline int check_names(struct dentry *from, struct dentry *to, __u8 channel, __u8 wanted,
				       const int exchanges)
{
	__u32 of_from = 0, of_to = 0, read;
	struct question q;
	unsigned long i;

	if (!from || !to)	/* never; verifiers from 7.x on want it said */
		return -EPERM;
	/* a loop of two, so that the judge is compiled once */
#pragma clang loop unroll(disable)
	for (i = 0; i < 2; i++) {
		__builtin_memset(&q, 0, sizeof(q));
		q.channel = channel;
		read = i ? exchanges / RENAME_EXCHANGE : ACCESS_READ;
		HIDE(read);
		q.wanted = wanted | read;
		if (check_question(&q, i ? to : from, i || (wanted & ACCESS_MOVE), 0, CAN_SIGNAL, 0))
			return -EPERM;
		of_from = of_to;
		of_to = declared_policy(&q, i ? to : from);
	}
	if (of_to)
		take_over(&q, from, of_to);
	if (exchanges && of_from)
		take_over(&q, to, of_from);
	return 0;
}

#endif
