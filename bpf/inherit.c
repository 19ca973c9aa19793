/*
 * What a process hands on to the program that it executes.  (tiers lsm and fmod_ret)
 *
 * bprm_check_security  before an exec by which a process loses stamps: of the descriptors that stay open, each file is judged
 *                      as if the new program had opened it.  If it might not, the exec is refused: nothing can close a
 *                      descriptor from here, and close-on-exec is for the program to set.
 * bprm_creds_for_exec  the same for sockets, as if it had connected them; apart, since the stack has no room for both
 *
 * Only processes with stamps are looked at.  A loop over the table of descriptors, one step for each descriptor, name on
 * the way up, or 64 descriptors that are closed; who has so many that the steps do not suffice is refused.  The first that is
 * protected decides: with others of other rules behind it, that may let a checkpoint have what it would not get by itself.
 * Files that are known by a slot only, in the moment before the daemon has looked at them, are not seen; nor are mappings,
 * which an exec ends, and what is registered with an io_uring.
 */

#ifndef NBSP_TIER_SOCKET

#define HANDLE_STEPS 512
#define SOCKET_STEPS 96		/* what the verifier of 6.1 can follow */
#define FMODE_PATH 0x4000

struct descriptors {
	void *files;		/* struct file ** */
	void *open;		/* bitmaps */
	void *closing;
	__u64 bits;		/* of the word before `next`: open and not yet looked at */
	__u32 next;
	__u32 most;
};

static __always_inline void begin_descriptors(struct descriptors *d, void *task)
{
	void *files = 0, *table = 0;

	READ(files, task, task_struct, files);
	READ(table, files, files_struct, fdt);
	READ(d->files, table, fdtable, fd);
	READ(d->open, table, fdtable, open_fds);
	READ(d->closing, table, fdtable, close_on_exec);
	READ(d->most, table, fdtable, max_fds);
	d->bits = 0;
	d->next = 0;
}

/* How many bits are set; without branches and without an instruction for it. */
static __always_inline __u64 weight(__u64 word)
{
	word -= (word >> 1) & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + ((word >> 2) & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (word * 0x0101010101010101ULL) >> 56;
}

/* Looks at the next 64 descriptors when those before are done; returns 0 when there are none. */
static __always_inline int has_more(struct descriptors *d)
{
	__u64 closing = 0;

	if (d->bits)
		return 1;
	if (d->next >= d->most)
		return 0;
	bpf_probe_read_kernel(&d->bits, sizeof(d->bits), d->open + d->next / 8);
	bpf_probe_read_kernel(&closing, sizeof(closing), d->closing + d->next / 8);
	d->bits &= ~closing;
	d->next += 64;
	return 1;
}

/* The next open file that is not closed by exec, 0 when there is none among these 64. */
static __always_inline void *next_file(struct descriptors *d)
{
	__u64 number = d->next - 64 + weight((d->bits & -d->bits) - 1);
	void *file = 0;

	if (d->bits)
		bpf_probe_read_kernel(&file, sizeof(file), d->files + number * sizeof(void *));
	d->bits &= d->bits - 1;
	return file;
}

/*
 * The policy of the path that a unix socket is connected to.  As unix_policy(), but for what costs the verifier too much in a
 * loop: abstract names are not looked at, and of a declared name its length, beginning and end count.
 */
static __always_inline __u32 peer_policy(struct question *q, void *sk)
{
	struct generation *generation = generations.lookup(&q->slot);
	void *peer = 0, *dentry = 0, *inode = 0, *parent = 0, *name = 0, *inner = objects.lookup(&q->slot);
	struct object_key key = {};
	struct object *object = 0;
	struct slot *named;
	__u32 length = 0, policy = 0;

	READ(peer, sk, unix_sock, peer);
	READ(dentry, peer, unix_sock, path.dentry);
	READ(inode, dentry, dentry, d_inode);
	inode_key(inode, &key);
	if (!dentry || !generation || !inner || !superblock_guarded(q->slot, key.dev))
		return 0;
	q->dentry = dentry;
	q->kind = KIND_INODE;
	q->object = key;
	if (filter_has(q->slot, generation->filter_mask, object_hash(key.ino, key.dev)))
		object = bpf_map_lookup_elem(inner, &key);
	if (object)
		policy = object->policy;
	if (policy)
		return policy;
	READ(parent, dentry, dentry, d_parent);
	READ(inode, parent, dentry, d_inode);
	inode_key(inode, &q->object);
	READ(length, dentry, dentry, d_name.len);
	READ(name, dentry, dentry, d_name.name);
	q->kind = KIND_SLOT;
	named = hinted_slot(slots.lookup(&q->slot), &q->object, name, length);
	return named ? named->policy : 0;
}

/* The policy of the first connected socket that stays open, 0 for none. */
static __always_inline __u32 kept_socket(struct question *q, struct endpoint_key *key)
{
	void *file, *at = 0, *socket = 0, *sk = 0;
	struct descriptors d;
	__u32 policy = 0;
	__u16 family = 0;
	unsigned long i;

	q->wanted = ACCESS_CONNECT;
	begin_descriptors(&d, (void *)bpf_get_current_task());
#pragma clang loop unroll(disable)
	for (i = 0; i < SOCKET_STEPS; i++) {
		if (at) {		/* a step of its own: in one loop body with the next, verifiers of 6.1 see no loop in it */
			READ(socket, at, file, private_data);
			READ(sk, socket, socket, sk);
			READ(family, sk, sock, skc_family);
			at = 0;
			if (family == AF_UNIX)
				policy = peer_policy(q, sk);
			else if (remote_endpoint(sk, key) && port_guarded(q->slot, key->proto, swap16(key->port)))
				policy = endpoint_policy(q->slot, key);
		} else {
			if (!has_more(&d))
				return 0;
			file = next_file(&d);
			at = is_socket(file) ? file : 0;
		}
		if (policy)
			break;
	}
	if (!policy)
		return POLICY_UNDECIDED;
	if (family != AF_UNIX) {
		q->kind = KIND_ENDPOINT;
		q->addr = key->addr;
		q->port = swap16(key->port);
		q->proto = key->proto;
	}
	return policy;
}

/* The policy of the first file that stays open, 0 for none. */
static __always_inline __u32 kept_file(struct question *q)
{
	struct generation *generation = generations.lookup(&q->slot);
	void *inner = objects.lookup(&q->slot), *file, *at = 0, *parent = 0, *inode = 0;
	__u32 policy = 0, mode = 0, is_itself = 0;
	struct object_key key = {};
	struct descriptors d;
	unsigned long i;

	if (!generation || !inner)
		return 0;
	begin_descriptors(&d, (void *)bpf_get_current_task());
#pragma clang loop unroll(disable)
	for (i = 0; i < HANDLE_STEPS; i++) {
		if (at) {		/* one name further up */
			READ(inode, at, dentry, d_inode);
			READ(key.ino, inode, inode, i_ino);
			READ(key.gen, inode, inode, i_generation);
			if (filter_has(q->slot, generation->filter_mask, object_hash(key.ino, key.dev)))
				policy = inode_policy(q, inner, &key, is_itself);
			is_itself = 0;
			READ(parent, at, dentry, d_parent);
			at = parent == at ? 0 : parent;
		} else {
			if (!has_more(&d))
				return 0;
			file = next_file(&d);
			READ(mode, file, file, f_mode);
			READ(at, file, file, f_path.dentry);
			READ(inode, file, file, f_inode);
			inode_key(inode, &key);
			if (!file || (mode & FMODE_PATH) || !superblock_guarded(q->slot, key.dev))
				at = 0;
			q->dentry = at;
			q->wanted = mode & (ACCESS_READ | ACCESS_WRITE);	/* FMODE_READ and FMODE_WRITE */
			is_itself = 1;
		}
		if (policy)
			return policy;
	}
	return POLICY_UNDECIDED;
}

/* Fills `after` with the stamps that the current process will carry; returns whether it loses one by that. */
static __always_inline int loses_stamps(void *bprm, struct stamp *after, __u32 slot)
{
	struct stamp *before = stamp_of((void *)bpf_get_current_task());
	struct object_key program = {};
	void *file = 0, *inode = 0;
	__u64 count = 0, lost = 0, bit;
	unsigned long i;

	if (!before)
		return 0;
	READ(file, bprm, linux_binprm, file);
	READ(inode, file, file, f_inode);
	inode_key(inode, &program);
	keep(after, before, &count);
	earn(after, before, &program, slot, 0, &count);
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_STAMPS_HELD; i++) {
		bit = before->list[i] - 1;	/* of an empty place neither has it */
		lost |= ((before->bits[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] &
			  ~after->bits[(bit >> 6) & (NBSP_STAMP_WORDS - 1)]) >> (bit & 63)) & 1 & (bit < 512);
	}
	return lost != 0;
}

HOOK(bprm_creds_for_exec, security_bprm_creds_for_exec)
{
	void *bprm = ARG(bprm_creds_for_exec, bprm, void *);
	struct question q = { .channel = CHANNEL_INHERIT };
	struct endpoint_key key = {};
	struct stamp after = {};
	int slot = active_slot();

	RESPECT_EARLIER(bprm_creds_for_exec);
	if (slot < 0 || !loses_stamps(bprm, &after, slot))
		return 0;
	q.slot = slot;
	q.policy = kept_socket(&q, &key);
	q.stamp = &after;
	return q.policy ? judge(&q, WILL_EXECUTE) : 0;
}

HOOK(bprm_check_security, security_bprm_check)
{
	void *bprm = ARG(bprm_check_security, bprm, void *);
	struct question q = { .channel = CHANNEL_INHERIT };
	struct stamp after = {};
	int slot = active_slot();

	RESPECT_EARLIER(bprm_check_security);
	if (slot < 0 || !loses_stamps(bprm, &after, slot))
		return 0;
	q.slot = slot;
	q.policy = kept_file(&q);
	q.stamp = &after;
	return q.policy ? judge(&q, WILL_EXECUTE) : 0;
}

#endif
