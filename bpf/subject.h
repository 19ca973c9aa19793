/*
 * Who asks: the stamps of a process, and whether they still count.
 *
 * A stamp is kept by thread group id together with the leader's start time, so that a reused pid inherits nothing even if
 * an exit was missed.  A `self` stamp counts only while the process still runs the checkpoint's program.
 */

#define TICK_NS 10000000	/* USER_HZ is 100 on every architecture: what /proc/PID/stat shows */

static __always_inline __u64 start_ticks(void *task)
{
	void *leader = 0;
	__u64 start = 0;

	READ(leader, task, task_struct, group_leader);
	READ(start, leader, task_struct, start_boottime);
	return start / TICK_NS;
}

static __always_inline void inode_key(void *inode, struct object_key *key)
{
	void *sb = 0;
	unsigned long ino = 0;

	READ(ino, inode, inode, i_ino);
	key->ino = ino;
	key->gen = 0;
#ifndef NBSP_TIER_SOCKET
	READ(key->gen, inode, inode, i_generation);
#endif
	READ(sb, inode, inode, i_sb);
	READ(key->dev, sb, super_block, s_dev);
}

/* The program that a task runs, as /proc/PID/exe names it. */
static __always_inline void exe_key(void *task, struct object_key *key)
{
	void *mm = 0, *file = 0, *inode = 0;

	READ(mm, task, task_struct, mm);
	READ(file, mm, mm_struct, exe_file);
	READ(inode, file, file, f_inode);
	inode_key(inode, key);
}

static __always_inline struct stamp *stamp_of(void *task)
{
	__u32 tgid = 0;
	struct stamp *stamp;

	READ(tgid, task, task_struct, tgid);
	stamp = stamps.lookup(&tgid);
	if (!stamp || stamp->start_ticks != start_ticks(task))
		return 0;
	return stamp;
}

/* 1 when all bits are 0, else 0; without a branch, since each one doubles what the verifier has to look at. */
static __always_inline __u64 is_zero(__u64 value)
{
	return (~value & (value - 1)) >> 63;
}

static __always_inline __u64 key_difference(struct object_key *one, struct object_key *other)
{
	return (one->ino ^ other->ino) | (__u64)(one->dev ^ other->dev) | (__u64)(one->gen ^ other->gen);
}

/* Is the checkpoint with this bit sealed in a generation? */
static __always_inline __u64 is_sealed(struct generation *generation, __u32 bit)
{
	return (generation->sealed[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] >> (bit & 63)) & 1;
}

/* The number of the declared unit that the current process runs in, 0 for none. */
static __always_inline __u32 current_unit(void)
{
	__u64 cgroup = bpf_get_current_cgroup_id();
	__u32 *unit = unit_cgroups.lookup(&cgroup);

	return unit ? *unit : 0;
}

/* 0 when a process in `unit` that carries `before` earns the stamp by executing the checkpoint's program. */
static __always_inline __u64 what_it_lacks(struct checkpoint *checkpoint, struct stamp *before, __u32 unit)
{
	__u64 lacking = ((__u64)(unit ^ checkpoint->unit)) & -(__u64)((checkpoint->flags / CHECKPOINT_UNIT) & 1);
	unsigned long word;

	lacking |= ~(__u64)checkpoint->flags & CHECKPOINT_PRESENT;
	for (word = 0; word < NBSP_STAMP_WORDS; word++)
		lacking |= checkpoint->after[word] & ~(before ? before->bits[word] : 0);
	return lacking;
}

/*
 * Which of a process's stamps count here and now, as a mask over stamp->list.  Written without branches but for the failed
 * look-up: each one would double what the verifier has to look at.  `has_executed`: what it runs now is what is asked about,
 * and it ran the checkpoint until then.
 */
static __always_inline __u32 counting_stamps(struct stamp *stamp, const int has_executed)
{
	void *task = (void *)bpf_get_current_task(), *cred = 0;
	struct checkpoint *checkpoint;
	struct object_key exe = {};
	__u32 euid = 0, bit, counting = 0;
	__u64 differs, user, self;
	unsigned long i;

	exe_key(task, &exe);
	READ(cred, task, task_struct, cred);
	READ(euid, cred, cred, euid);
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_STAMPS_HELD; i++) {
		bit = stamp->list[i] - 1;	/* an empty place becomes a bit that no checkpoint has */
		checkpoint = checkpoints.lookup(&bit);
		if (!checkpoint)
			continue;
		user = -(__u64)((checkpoint->flags / CHECKPOINT_USER) & 1);
		self = has_executed ? 0 : ((checkpoint->flags / CHECKPOINT_CHILDREN) & 1) - 1ULL;
		differs = ((__u64)(euid ^ checkpoint->uid)) & user;
		differs |= key_difference(&exe, &checkpoint->exe) & self;
		differs |= (~(__u64)checkpoint->flags) & CHECKPOINT_PRESENT;
		counting |= ((__u32)is_zero(differs)) << i;
	}
	return counting & ~(0 - (__u32)stamp->tainted);
}
