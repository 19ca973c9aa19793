/*
 * Sealing: whoever carries a stamp cannot be made to act for somebody else.  (tiers lsm and fmod_ret; dumps: all)
 *
 * ptrace_access_check  (guard.c) debuggers, process_vm_*, /proc/PID/mem, pidfd_getfd, perf on a stamped process: only from a process that
 *                      carries the same stamps.  Looking at it through /proc stays free: ps and systemctl do that.
 * ptrace_traceme       a stamped process does not give itself away to a parent without its stamps.  Whoever is traced
 *                      when it executes a checkpoint's program earns nothing (lineage.c).
 * mmap_file            executable pages: of a protected file as if executed; in a checkpoint only of its own `code`
 * file_mprotect        pages that become executable: the same, and those that were written to before are no file's any more
 * signal_deliver       a core dump of a stamped process would hold what it has read: it is killed instead
 *
 * Code is checked by the program that runs and not by the stamp alone: the kernel maps program and ld.so before the new
 * program has earned anything.  Where the stamp does not count (another user runs the program for purposes of his own),
 * foreign code is let in and noted: from then on none of that process's stamps counts.
 */

#define PROT_WRITE 2
#define PROT_EXEC 4
#define VM_SHARED 8
/* SIGQUIT ILL TRAP ABRT BUS FPE SEGV XCPU XFSZ SYS: signal(7) */
#define DUMPING ((1ULL << 3) | (1ULL << 4) | (1ULL << 5) | (1ULL << 6) | (1ULL << 7) | (1ULL << 8) | (1ULL << 11) | \
		 (1ULL << 24) | (1ULL << 25) | (1ULL << 31))

/* Which of a process's stamps, as a mask over its list, are those of checkpoints that are sealed now. */
static __always_inline __u32 sealed_stamps(struct stamp *stamp, __u32 slot)
{
	struct generation *generation = generations.lookup(&slot);
	struct checkpoint *checkpoint;
	__u32 sealed = 0, bit;
	unsigned long i;

	if (!generation || stamp->tainted)
		return 0;

#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_STAMPS_HELD; i++) {
		bit = stamp->list[i] - 1;
		checkpoint = checkpoints.lookup(&bit);
		if (!checkpoint)
			continue;
		sealed |= is_sealed(generation, bit) << i;
	}
	return sealed;
}

#ifndef NBSP_TIER_SOCKET

/* 0 when a task carries every sealed stamp that `other` has, and each of them counts there. */
static __always_inline __u64 lacks_stamps_of(struct stamp *other, void *task, __u32 slot)
{
	struct generation *generation = generations.lookup(&slot);
	struct stamp *own = stamp_of(task);
	__u64 lacking = 0, carries, wrong, self;
	struct checkpoint *checkpoint;
	struct object_key exe = {};
	void *cred = 0;
	__u32 euid = 0, bit;
	unsigned long i;

	if (!generation)
		return 1;
	exe_key(task, &exe);
	READ(cred, task, task_struct, cred);
	READ(euid, cred, cred, euid);
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_STAMPS_HELD; i++) {
		bit = other->list[i] - 1;
		checkpoint = checkpoints.lookup(&bit);
		if (!checkpoint)
			continue;
		carries = own ? own->bits[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] >> (bit & 63) : 0;
		self = ((checkpoint->flags / CHECKPOINT_CHILDREN) & 1) - 1ULL;
		wrong = ((__u64)(euid ^ checkpoint->uid)) & -(__u64)((checkpoint->flags / CHECKPOINT_USER) & 1);
		wrong |= key_difference(&exe, &checkpoint->exe) & self;
		lacking |= is_sealed(generation, bit) & ~(carries & is_zero(wrong));
	}
	return lacking | (own ? own->tainted : 0);
}

/* Judges what would let `task` act with the stamps of another process, one of them being the current one. */
static __always_inline int check_sealed(struct stamp *other, void *task, void *named, __u8 channel)
{
	struct question q = { .channel = channel, .wanted = ACCESS_CONTROL, .kind = KIND_PROCESS };
	int slot = active_slot();
	__u32 tgid = 0;

	if (slot < 0 || !sealed_stamps(other, slot) || !lacks_stamps_of(other, task, slot))
		return 0;
	READ(tgid, named, task_struct, tgid);
	q.slot = slot;
	q.policy = POLICY_SEALED;
	q.object.ino = tgid;
	q.sun = named + __builtin_offsetof(struct task_struct, comm);
	q.sun_len = 15;
	q.stamp = stamp_of((void *)bpf_get_current_task());
	return judge(&q, CANNOT_SIGNAL);
}

HOOK(ptrace_traceme, security_ptrace_traceme)
{
	void *parent = ARG(ptrace_traceme, parent, void *);
	struct stamp *other;

	RESPECT_EARLIER(ptrace_traceme);
	other = stamp_of((void *)bpf_get_current_task());
	return other ? check_sealed(other, parent, parent, CHANNEL_TRACEME) : 0;
}

/* The nearest entry of the table of code for a file or a directory above it, 0 for none. */
static __always_inline struct code *listed_code(void *inner, struct dentry *dentry)
{
	struct dentry *at = dentry, *below;
	__u32 dev = dentry->d_sb->s_dev;
	struct object_key key = {};
	struct inode *inode;
	struct code *code;
	unsigned long i;

#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_WALK_MAX; i++) {
		inode = at->d_inode;
		key.ino = inode->i_ino;
		key.dev = dev;
		key.gen = inode->i_generation;
		code = bpf_map_lookup_elem(inner, &key);
		if (code)
			return code;
		below = at;
		at = at->d_parent;
		if (at == below)
			return 0;
	}
	return 0;
}

/*
 * POLICY_SEALED when the program that runs is a checkpoint's and may not execute these pages, else 0.  `dentry` 0: pages of
 * no file, or no longer of it.
 */
static __always_inline __u32 code_policy(struct question *q, struct dentry *dentry)
{
	void *inner = exes.lookup(&q->slot), *list = codes.lookup(&q->slot), *cred = 0, *task;
	struct generation *generation = generations.lookup(&q->slot);
	__u64 wrong, carries, bit_word, sealed, starts, need = 0, taint = 0, lacking = 0;
	struct object_key program = {}, key = {};
	struct checkpoint *checkpoint;
	struct code *code = 0;
	struct exe *exe;
	__u32 bit, euid = 0, unit, is_owned = 0;
	struct inode *inode;
	unsigned long i;

	if (!inner || !list || !generation)
		return 0;
	task = (void *)bpf_get_current_task();
	exe_key(task, &program);
	exe = bpf_map_lookup_elem(inner, &program);
	if (!exe)
		return 0;
	READ(cred, task, task_struct, cred);
	READ(euid, cred, cred, euid);
	unit = current_unit();
	if (q->stamp && q->stamp->tainted)
		return 0;
	/* whose demands count: of stamps it carries that count, or that it is about to earn; and the others it carries */
#pragma clang loop unroll(disable)
	for (i = 0; i < 7; i++) {
		bit = exe->bits[i] - 1;
		checkpoint = checkpoints.lookup(&bit);
		if (!checkpoint)
			continue;
		bit_word = q->stamp ? q->stamp->bits[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] : 0;
		sealed = is_sealed(generation, bit);
		carries = (bit_word >> (bit & 63)) & sealed;
		wrong = ((__u64)(euid ^ checkpoint->uid)) & -(__u64)((checkpoint->flags / CHECKPOINT_USER) & 1);
		wrong = is_zero(wrong) ^ 1;
		starts = is_zero(what_it_lacks(checkpoint, q->stamp, unit)) & ~(bit_word >> (bit & 63)) & sealed;
		if (!dentry)	/* memory */
			lacking |= (((checkpoint->flags / CHECKPOINT_ANY_MEMORY) & 1) ^ 1) << i;
		need |= ((carries & (wrong ^ 1)) | starts) << i;
		taint |= (carries & wrong) << i;
	}
	if (!dentry)
		goto decide;
	inode = dentry->d_inode;
	key.ino = inode->i_ino;
	key.dev = dentry->d_sb->s_dev;
	key.gen = inode->i_generation;
	if (!key_difference(&key, &program))
		return 0;
	is_owned = !inode->i_uid && !(inode->i_mode & 022);
	code = listed_code(list, dentry);
	lacking = ~0ULL;
	if (!code)
		goto decide;
	lacking = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < 7; i++) {
		bit = exe->bits[i] - 1;
		bit_word = code->any[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] |
			   (code->owned[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] & -(__u64)is_owned);
		lacking |= (~(bit_word >> (bit & 63)) & 1) << i;
	}
decide:
	HIDE(lacking);
	if (lacking & need)
		return POLICY_SEALED;
	if ((lacking & taint) && q->stamp)
		q->stamp->tainted = 1;
	return 0;
}

/*
 * While a program is being started none of it runs yet, and the kernel maps what it opened in order to execute it: that was
 * judged at open, by the stamps of the program before, which a `self` stamp does not outlive.  The end of the arguments is
 * written when everything is mapped, and no process can set it back to 0.
 */
static __always_inline int is_starting(void *task)
{
	unsigned long arguments_end = 0;
	void *mm = 0;

	READ(mm, task, task_struct, mm);
	READ(arguments_end, mm, mm_struct, arg_end);
	return mm && !arguments_end;
}

/* Judges executable pages: in a checkpoint, then of a protected file. */
static __always_inline int check_code(struct dentry *dentry, int is_of_file)
{
	struct question q = { .channel = CHANNEL_CODE, .wanted = ACCESS_EXEC, .kind = KIND_MEMORY };
	int slot = active_slot();
	void *task;

	if (slot < 0)
		return 0;
	task = (void *)bpf_get_current_task();
	q.slot = slot;
	q.stamp = stamp_of(task);
	q.policy = code_policy(&q, is_of_file ? dentry : 0);
	if (!dentry)
		return q.policy ? judge(&q, CAN_SIGNAL) : 0;
	q.dentry = dentry;
	set_key(&q.object, dentry->d_inode, dentry->d_sb->s_dev);
	if (q.policy) {
		q.kind = is_of_file ? KIND_INODE : KIND_MEMORY;
	} else {
		if (is_starting(task))
			return 0;
		q.channel = CHANNEL_MMAP;
		q.policy = find_policy(&q, dentry, 0);
		if (!q.policy)
			return 0;
	}
	return judge(&q, CAN_SIGNAL);
}

HOOK(mmap_file, security_mmap_file)
{
	unsigned long raw = 0;
	struct file *file = ARG(mmap_file, file, struct file *);
	unsigned long prot = ctx[ARG_mmap_file_prot];
	struct dentry *dentry = 0;

	RESPECT_EARLIER(mmap_file);
	if (!(prot & PROT_EXEC))
		return 0;
	/*
	 * The file may be NULL, which verifiers up to 6.12 don't know and later ones want checked: compare the pointer, and
	 * a copy that none can reason about.
	 */
	bpf_probe_read_kernel(&raw, sizeof(raw), &ctx[ARG_mmap_file_file]);
	if (raw && file)
		dentry = file->f_path.dentry;
	return check_code(dentry, !(prot & PROT_WRITE));
}

HOOK(file_mprotect, security_file_mprotect)
{
	struct vm_area_struct *vma = ARG(file_mprotect, vma, struct vm_area_struct *);
	unsigned long prot = ctx[ARG_file_mprotect_prot], raw = 0;
	struct dentry *dentry = 0;
	struct file *file;
	int is_of_file;

	RESPECT_EARLIER(file_mprotect);
	if (!(prot & PROT_EXEC))
		return 0;
	READ(raw, vma, vm_area_struct, vm_file);
	is_of_file = !(prot & PROT_WRITE) && ((vma->vm_flags & VM_SHARED) || !vma->anon_vma);
	file = vma->vm_file;
	if (raw && file)	/* see mmap_file */
		dentry = file->f_path.dentry;
	return check_code(dentry, is_of_file);
}

#endif

int raw_tracepoint__signal_deliver(struct bpf_raw_tracepoint_args *ctx)
{
	struct question q = { .channel = CHANNEL_DUMP, .wanted = ACCESS_READ, .kind = KIND_PROCESS };
	void *task, *action = (void *)ctx->args[2], *handler = 0;
	__u64 number = ctx->args[0];
	int slot = active_slot();
	__u32 tgid = 0;

	if (slot < 0 || number > 31 || !((DUMPING >> number) & 1))
		return 0;
	READ(handler, action, k_sigaction, sa_handler);
	if (handler)
		return 0;
	task = (void *)bpf_get_current_task();
	q.stamp = stamp_of(task);
	if (!q.stamp || !sealed_stamps(q.stamp, slot))
		return 0;
	READ(tgid, task, task_struct, tgid);
	q.slot = slot;
	q.policy = POLICY_SEALED;
	q.object.ino = tgid;
	q.sun = task + __builtin_offsetof(struct task_struct, comm);
	q.sun_len = 15;
	judge(&q, MUST_KILL);
	return 0;
}
