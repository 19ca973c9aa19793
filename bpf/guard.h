/*
 * What the daemon is, for the programs that guard it (guard.c), for those that stamp (lineage.c), and for the judge.
 *
 * The daemon is whatever PID 1 itself starts in the cgroup of nbspd.service, and what that starts.  PID 1 forks; the child
 * carries NBSP_STAMP_INIT until it executes something; what it executes in that cgroup becomes the daemon and carries the
 * stamp of the daemon's checkpoint, `stamp: children`.  Nobody else gets into it: a process that joins the cgroup, or is made
 * in it by clone3(CLONE_INTO_CGROUP), was not forked by PID 1, whoever its parent is later.
 */

static __always_inline struct monitor *the_monitor(void)
{
	__u32 zero = 0;

	return monitors.lookup(&zero);
}

/* The number of the rule that denies nothing for the moment (nbsp maintain), or one that no rule has. */
static __always_inline __u32 rule_under_maintenance(void)
{
	struct monitor *monitor = the_monitor();

	return monitor && monitor->open_until_ns > bpf_ktime_get_boot_ns() ? monitor->rule : NBSP_RULES;
}

static __always_inline int has_bit(struct stamp *stamp, __u32 bit)
{
	return (stamp->bits[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] >> (bit & 63)) & 1;
}

/* Is a task the daemon, or one of its children? */
static __always_inline int is_monitor(struct monitor *monitor, void *task)
{
	struct stamp *stamp = monitor->stamp ? stamp_of(task) : 0;

	return stamp && has_bit(stamp, monitor->stamp - 1);
}

#define PF_KTHREAD 0x00200000

/* PID 1, or a child of it that sets up a service and has not executed anything yet. */
static __always_inline int is_init_task(void *task)
{
	struct stamp *stamp;
	__u32 tgid = 0;

	READ(tgid, task, task_struct, tgid);
	if (tgid == 1)
		return 1;
	stamp = stamp_of(task);
	return stamp && has_bit(stamp, NBSP_STAMP_INIT);
}

/* They, and threads of the kernel, may do to the daemon what they do to all. */
static __always_inline int is_init(void)
{
	void *task = (void *)bpf_get_current_task();
	__u32 flags = 0;

	READ(flags, task, task_struct, flags);
	return (flags & PF_KTHREAD) || is_init_task(task);
}

#ifndef NBSP_TIER_SOCKET

#define WALK_PINS 4		/* links-x/hook: no deeper */

/* The policy of a name in the folder of the pins, which lies on a bpffs and so in no rule. */
static __always_inline __u32 pin_policy(struct question *q, struct dentry *dentry)
{
	struct generation *generation = generations.lookup(&q->slot);
	struct monitor *monitor = the_monitor();
	struct dentry *at = dentry;
	unsigned long i, ino;
	void *inode;

	if (!monitor || !generation || !generation->guard_policy || dentry->d_sb->s_dev != monitor->pins_dev)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < WALK_PINS; i++) {
		ino = 0;
		READ(inode, at, dentry, d_inode);
		READ(ino, inode, inode, i_ino);
		if (inode && ino == monitor->pins_ino) {
			q->channel = CHANNEL_PIN;
			q->kind = KIND_MONITOR;
			return generation->guard_policy;
		}
		READ(at, at, dentry, d_parent);
	}
	return 0;
}

#define CGROUP2_MAGIC 0x63677270
#define PROC_MAGIC 0x9fa0
#define FREEZE 0x662e70756f726763ULL	/* "cgroup.f", as the machine reads it */
#define KILL 0x6b2e70756f726763ULL	/* "cgroup.k" */
#define FTRACE 0x655f656361727466ULL	/* "ftrace_e", kernel.ftrace_enabled: without ftrace no program on a hook is called */

/* The first eight letters of a name. */
static __always_inline __u64 name_begin(struct dentry *dentry)
{
	void *text = 0;
	__u64 name = 0;

	READ(text, dentry, dentry, d_name.name);
	bpf_probe_read_kernel(&name, sizeof(name), text);
	return name;
}

/* Does a cgroup's file, opened for writing, decide about the daemon?  `folder` is the cgroup. */
static __always_inline int is_cgroup_knob(struct monitor *monitor, struct dentry *dentry, __u64 folder)
{
	__u32 *unit = unit_cgroups.lookup(&folder);
	unsigned long i;
	__u64 name;

	if (unit && *unit == monitor->unit)
		return 1;
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_MONITOR_GROUPS; i++)
		if (monitor->groups[i] == folder)
			break;
	if (i == NBSP_MONITOR_GROUPS)
		return 0;
	name = name_begin(dentry);
	return name == FREEZE || name == KILL;
}

/* The number that the topmost directory of a path in /proc has, 0 when it is no process's. */
static __always_inline __u32 proc_number(struct dentry *dentry)
{
	void *at = dentry, *parent = 0, *below = dentry, *text = 0;
	unsigned long i;
	__u32 number = 0;
	char digits[8] = {};

#pragma clang loop unroll(disable)
	for (i = 0; i < 8; i++) {
		READ(parent, at, dentry, d_parent);
		if (parent == at)
			break;
		below = at;
		at = parent;
	}
	READ(text, below, dentry, d_name.name);
	bpf_probe_read_kernel_str(digits, sizeof(digits), text);
#pragma clang loop unroll(disable)
	for (i = 0; i < 7; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return digits[i] ? 0 : number;
		number = number * 10 + digits[i] - '0';
	}
	return number;
}

/*
 * The policy of a knob that is opened for writing and decides about the daemon: its cgroup's files, those of its process in
 * /proc, and the switch of ftrace, by which programs are called.
 */
static __always_inline __u32 knob_policy(struct question *q, struct file *file)
{
	unsigned long magic = file->f_inode->i_sb->s_magic;
	struct dentry *dentry = file->f_path.dentry;
	struct generation *generation;
	struct monitor *monitor;
	struct stamp *stamp;
	void *inode = 0;
	__u64 folder = 0;
	__u32 number;

	if (magic != CGROUP2_MAGIC && magic != PROC_MAGIC)
		return 0;
	generation = generations.lookup(&q->slot);
	monitor = the_monitor();
	if (!generation || !generation->guard_policy || !monitor)
		return 0;
	if (magic == CGROUP2_MAGIC) {
		READ(inode, dentry->d_parent, dentry, d_inode);
		READ(folder, inode, inode, i_ino);
		if (!is_cgroup_knob(monitor, dentry, folder))
			return 0;
	} else if (name_begin(dentry) != FTRACE) {
		if (dentry->d_sb->s_dev != monitor->proc_dev || !monitor->stamp)
			return 0;
		number = proc_number(dentry);
		stamp = number ? stamps.lookup(&number) : 0;
		if (!stamp || !has_bit(stamp, monitor->stamp - 1))
			return 0;
	}
	if (is_init())
		return 0;
	q->channel = CHANNEL_KNOB;
	q->kind = KIND_MONITOR;
	q->wanted = ACCESS_WRITE;
	return generation->guard_policy;
}

#endif
