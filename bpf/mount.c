/*
 * Mounting over a declared object, which puts another in its place for whoever goes by its path.  (tiers lsm and fmod_ret)
 *
 * The hooks are in guard.c, which asks about the mount of our pins first:
 *
 * sb_mount     mount(2), but for what changes a mount that is there: remount, and the kinds of propagation
 * move_mount   move_mount(2), also of what fsmount(2) and open_tree(2) made
 *
 * Nobody without the stamp may cover what is declared or lies in a tree.  PID 1 may, itself or in a child that has not become
 * the service yet: that is how ProtectSystem=, InaccessiblePaths=, PrivateTmp= and the like are made, in mounts of their own.
 * Directories above may be covered, as when a disk is mounted or a sandbox hides /run; pivot_root(2) and chroot(2) are not
 * asked about either.  All of these hide the object and deceive only who is in there.
 */

#ifndef NBSP_TIER_SOCKET

#define MS_REMOUNT 32
#define MS_BIND 4096
#define MS_PROPAGATION (15 << 17)	/* MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED */

/* Is this PID 1, or its child, running one of its programs still? */
static __always_inline int is_manager(__u32 slot)
{
	void *task = (void *)bpf_get_current_task(), *parent = 0, *inner = exes.lookup(&slot);
	struct object_key program = {};
	struct checkpoint *checkpoint;
	__u32 tgid = 0, above = 0, bit;
	unsigned long i;
	struct exe *exe;

	READ(tgid, task, task_struct, tgid);
	READ(parent, task, task_struct, real_parent);
	READ(above, parent, task_struct, tgid);
	if (tgid != 1 && above != 1)
		return 0;
	exe_key(task, &program);
	exe = inner ? bpf_map_lookup_elem(inner, &program) : 0;
	if (!exe)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < 7; i++) {
		bit = exe->bits[i] - 1;		/* an empty place becomes a bit that no checkpoint has */
		checkpoint = checkpoints.lookup(&bit);
		if (checkpoint && (checkpoint->flags & CHECKPOINT_MANAGER))
			return 1;
	}
	return 0;
}

static __always_inline int check_cover(struct dentry *dentry)
{
	struct question q = { .channel = CHANNEL_COVER };
	void *task = (void *)bpf_get_current_task(), *cred = 0, *userns = 0;
	int slot = active_slot(), level = 0;

	if (slot < 0)
		return 0;
	q.slot = slot;
	READ(cred, task, task_struct, cred);
	READ(userns, cred, cred, user_ns);
	READ(level, userns, user_namespace, level);
	q.wanted = ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC | ACCESS_CONNECT;	/* whatever a rule is about, another answers */
	q.policy = find_policy(&q, dentry, 0);
	if (!q.policy || (!level && is_manager(slot)))
		return 0;
	q.dentry = dentry;
	q.stamp = stamp_of(task);
	return judge(&q, CAN_SIGNAL);
}

static __always_inline int is_new_mount(unsigned long flags)
{
	return !(flags & MS_REMOUNT) && (!(flags & MS_PROPAGATION) || (flags & MS_BIND));
}

#endif
