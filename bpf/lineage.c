/*
 * Where stamps come from and go to, in all tiers: raw tracepoints on fork, exec and exit.
 *
 * sched_process_exec   after the new program is in place and before its first instruction: stamps that live on exec stay
 *                      (stamp: children), the new program may earn its own
 * sched_process_fork   in the parent, before the child is woken: the child gets a copy
 * sched_process_fork   of PID 1: the child is marked as its own until it executes something, see guard.h
 * sched_process_exit   when the last thread of a process has gone
 * cgroup_mkdir/rmdir   a declared unit's cgroup, by its path, however often systemd makes it anew
 *
 * The table of stamps never evicts.  When it is full, a new process stays without a stamp: denied, never let through.
 */

static __always_inline void give(struct stamp *stamp, __u64 bit, __u64 *count)
{
	__u64 word = (bit >> 6) & (NBSP_STAMP_WORDS - 1), mask = 1ULL << (bit & 63);

	if ((stamp->bits[word] & mask) || *count >= NBSP_STAMPS_HELD)
		return;
	stamp->bits[word] |= mask;
	stamp->list[*count & (NBSP_STAMPS_HELD - 1)] = bit + 1;
	*count += 1;
}

/* Stamps that survive exec. */
static __always_inline void keep(struct stamp *stamp, struct stamp *before, __u64 *count)
{
	struct checkpoint *checkpoint;
	unsigned long i;
	__u32 bit;

#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_STAMPS_HELD; i++) {
		bit = before->list[i] - 1;
		checkpoint = checkpoints.lookup(&bit);
		if (checkpoint && (checkpoint->flags & CHECKPOINT_CHILDREN))
			give(stamp, bit, count);
	}
}

/* Both generation slots: during a reload a process must earn what the next generation will ask for. */
static __always_inline void earn(struct stamp *stamp, struct stamp *before, struct object_key *program, __u32 slot,
				 int is_traced, __u64 *count)
{
	void *inner = exes.lookup(&slot);
	struct exe *exe = inner ? bpf_map_lookup_elem(inner, program) : 0;
	struct generation *generation = generations.lookup(&slot);
	struct checkpoint *checkpoint;
	struct monitor *monitor = the_monitor();
	__u32 bit, unit, daemon = monitor ? monitor->stamp - 1 : -1;	/* see earn_monitor() */
	unsigned long i;

	if (!exe || !generation)
		return;
	unit = current_unit();
#pragma clang loop unroll(disable)
	for (i = 0; i < 7; i++) {
		bit = exe->bits[i] - 1;		/* an empty place becomes a bit that no checkpoint has */
		checkpoint = checkpoints.lookup(&bit);
		if (!checkpoint || bit == daemon || what_it_lacks(checkpoint, before, unit))
			continue;
		if (is_traced && is_sealed(generation, bit))
			continue;	/* its debugger would act with the stamp */
		give(stamp, bit, count);
	}
}

/* The daemon's stamp goes to what PID 1 starts in the daemon's cgroup, whatever program that is; see guard.h. */
static __always_inline void earn_monitor(struct stamp *stamp, struct stamp *before, __u64 *count)
{
	struct monitor *monitor = the_monitor();
	__u64 cgroup = bpf_get_current_cgroup_id();
	__u32 *unit;

	if (!before || !monitor || !monitor->stamp || !has_bit(before, NBSP_STAMP_INIT))
		return;
	unit = unit_cgroups.lookup(&cgroup);
	if (unit && *unit == monitor->unit)
		give(stamp, monitor->stamp - 1, count);
}

#ifdef NBSP_TIER_SOCKET
/* Nothing can refuse the exec in this tier: the process is killed before the first instruction of the new program. */
static __always_inline void check_exec(struct stamp *before, void *task, struct object_key *program)
{
	struct question q = { .channel = CHANNEL_EXEC, .wanted = ACCESS_EXEC, .kind = KIND_INODE };
	struct object *object;
	int slot = active_slot();
	void *inner, *mm = 0, *file = 0;

	if (slot < 0)
		return;
	q.slot = slot;
	inner = objects.lookup(&q.slot);
	object = inner ? bpf_map_lookup_elem(inner, program) : 0;
	if (!object || !object->policy)
		return;
	q.policy = object->policy;
	q.object = *program;
	q.stamp = before;
	READ(mm, task, task_struct, mm);
	READ(file, mm, mm_struct, exe_file);
	READ(q.dentry, file, file, f_path.dentry);
	judge(&q, MUST_KILL);
}
#endif

int raw_tracepoint__sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	void *task = (void *)ctx->args[0];
	struct stamp now = {}, *before, *old;
	struct object_key program = {};
	__u64 count = 0;
	__u32 tgid = 0, ptrace = 0;

	READ(tgid, task, task_struct, tgid);
	READ(ptrace, task, task_struct, ptrace);
	exe_key(task, &program);
	now.start_ticks = start_ticks(task);
	old = stamps.lookup(&tgid);
	before = old && old->start_ticks == now.start_ticks ? old : 0;
#ifdef NBSP_TIER_SOCKET
	check_exec(before, task, &program);
#endif
	if (before)
		keep(&now, before, &count);
	earn_monitor(&now, before, &count);
	earn(&now, before, &program, 0, ptrace != 0, &count);
	earn(&now, before, &program, 1, ptrace != 0, &count);
	if (count)
		stamps.update(&tgid, &now);
	else if (old)
		stamps.delete(&tgid);
	return 0;
}

int raw_tracepoint__sched_process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	void *parent = (void *)ctx->args[0], *child = (void *)ctx->args[1];
	__u32 parent_tgid = 0, child_tgid = 0;
	struct stamp copy = {}, *stamp;
	struct monitor *monitor;
	int has_stamps;

	READ(parent_tgid, parent, task_struct, tgid);
	READ(child_tgid, child, task_struct, tgid);
	if (parent_tgid == child_tgid)
		return 0;	/* a thread */
	stamp = stamps.lookup(&parent_tgid);
	has_stamps = stamp && stamp->start_ticks == start_ticks(parent);
	if (has_stamps)
		copy = *stamp;
	monitor = the_monitor();
	if (parent_tgid == 1 && monitor && monitor->stamp)
		copy.bits[NBSP_STAMP_INIT >> 6] |= 1ULL << (NBSP_STAMP_INIT & 63);
	else if (!has_stamps)
		return 0;
	copy.start_ticks = start_ticks(child);
	stamps.update(&child_tgid, &copy);
	return 0;
}

int raw_tracepoint__sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	void *task = (void *)ctx->args[0], *signal = 0;
	__u32 tgid = 0;
	int live = 0;

	READ(signal, task, task_struct, signal);
	READ(live, signal, signal_struct, live);
	if (live)
		return 0;
	READ(tgid, task, task_struct, tgid);
	stamps.delete(&tgid);
	return 0;
}

static __always_inline int in_unified_tree(void *cgroup)
{
	void *root = 0;
	int hierarchy = -1;

	READ(root, cgroup, cgroup, root);
	READ(hierarchy, root, cgroup_root, hierarchy_id);
	return hierarchy == 0;
}

int raw_tracepoint__cgroup_mkdir(struct bpf_raw_tracepoint_args *ctx)
{
	void *cgroup = (void *)ctx->args[0], *node = 0, *parent = 0;
	__u32 zero = 0, *unit;
	__u64 id = 0, parent_id = 0;
	struct scratch *scratch = scratches.lookup(&zero);

	if (!scratch || !in_unified_tree(cgroup))
		return 0;
	READ(node, cgroup, cgroup, kn);
	READ(id, node, kernfs_node, id);
	__builtin_memset(&scratch->unit, 0, sizeof(scratch->unit));
	bpf_probe_read_kernel_str(scratch->unit.path, sizeof(scratch->unit.path), (void *)ctx->args[1]);
	unit = units.lookup(&scratch->unit);
	if (!unit) {		/* a cgroup below a unit's is the unit's */
		READ(parent, node, kernfs_node, parent);
		READ(parent_id, parent, kernfs_node, id);
		unit = unit_cgroups.lookup(&parent_id);
	}
	if (unit) {
		zero = *unit;
		unit_cgroups.update(&id, &zero);
	}
	return 0;
}

int raw_tracepoint__cgroup_rmdir(struct bpf_raw_tracepoint_args *ctx)
{
	void *cgroup = (void *)ctx->args[0], *node = 0;
	__u64 id = 0;

	if (!in_unified_tree(cgroup))
		return 0;
	READ(node, cgroup, cgroup, kn);
	READ(id, node, kernfs_node, id);
	unit_cgroups.delete(&id);
	return 0;
}
