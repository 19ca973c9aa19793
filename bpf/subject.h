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

/* Index of the lowest set bit, without branches: each one would double what the verifier has to look at. */
static __always_inline __u32 lowest_bit(__u64 word)
{
	__u64 below = (word & -word) - 1;

	below -= (below >> 1) & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + ((below >> 2) & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (below * 0x0101010101010101ULL) >> 56;
}

/* Does the stamp `bit` of this task count here and now? */
static __always_inline int stamp_counts(void *task, __u32 bit)
{
	struct checkpoint *checkpoint = checkpoints.lookup(&bit);
	struct object_key exe = {};
	void *cred = 0;
	__u32 euid = 0;

	if (!checkpoint || !(checkpoint->flags & CHECKPOINT_PRESENT))
		return 0;
	if (checkpoint->flags & CHECKPOINT_USER) {
		READ(cred, task, task_struct, cred);
		READ(euid, cred, cred, euid);
		if (euid != checkpoint->uid)
			return 0;
	}
	if (!(checkpoint->flags & CHECKPOINT_CHILDREN)) {
		exe_key(task, &exe);
		if (exe.ino != checkpoint->exe.ino || exe.dev != checkpoint->exe.dev ||
		    exe.gen != checkpoint->exe.gen)
			return 0;
	}
	return 1;
}
