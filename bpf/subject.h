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
		differs |= ((exe.ino ^ checkpoint->exe.ino) | (__u64)(exe.dev ^ checkpoint->exe.dev) |
			    (__u64)(exe.gen ^ checkpoint->exe.gen)) & self;
		differs |= (~(__u64)checkpoint->flags) & CHECKPOINT_PRESENT;
		/* 1 when differs is 0 */
		counting |= ((__u32)((~differs & (differs - 1)) >> 63)) << i;
	}
	return counting;
}
