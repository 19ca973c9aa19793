/*
 * The daemon guards itself, with the rule `self` (rules/00-self.yaml).  (tiers lsm and fmod_ret)
 *
 * Who may do these things is what that rule says: only the daemon's own checkpoint.  PID 1 and the kernel may always, so that
 * systemctl, the watchdog and a shutdown work.  In maintenance (nbsp maintain) the rule denies nothing and reports all.
 * Nothing here is about others: their processes, programs, tables, mounts and cgroups are not asked about.
 *
 * task_kill            signals of kill, tgkill, pidfd_send_signal, sigqueue; not signal 0, nor what the kernel sends by itself
 * file_send_sigiotask  signals that the kernel sends because somebody set the daemon as a file's owner (F_SETOWN)
 * ptrace_access_check  attaching: ptrace, process_vm_*, /proc/PID/mem, pidfd_getfd.  Mere looking (ps, systemctl status) is
 *                      let be: what it shows of descriptors leads to files, which are judged when they are opened.  PID 1 is
 *                      guarded so, too: who acts in its name may do everything here
 * task_set…            niceness, scheduler and affinity, I/O priority, limits, moving of memory
 * bpf_map, bpf_prog    every way to a descriptor of one of our tables or programs: by number, by pin.  They are known by their
 *                      names, which the kernel keeps; who names his own so locks himself out of them
 * bpf                  our links, which have no hook of their own: by number, and detaching or updating one.  A link can still
 *                      be opened by its pin; all it is good for then is this, and the descriptor is looked at here
 * sb_umount, sb_mount, move_mount    the mount that the pins are on, and those it is mounted on
 * kernel_read_file, kernel_load_data    modules and kexec images, from a file or from memory.  The rule `kernel`, which is off as
 *                      long as nobody declares it
 * locked_down          /dev/mem, kexec, PCI configuration, I/O ports, machine-specific registers: the same rule
 * bpf                  BPF_PROG_LOAD of anything but socket filters: the same rule
 * file_open            (file.c, knob_policy) the daemon's files in /proc and of its cgroup, for writing
 * inode_…              (file.c, pin_policy) the pins
 */

#ifndef NBSP_TIER_SOCKET

#define PTRACE_ATTACH 2
#define PTRACE_REALCREDS 0x10	/* system calls, as opposed to /proc */
#define BPF_CMD_PROG_LOAD 5
#define BPF_SOCKET_FILTER 1	/* looks at the packets of its own socket */
#define BPF_CMD_LINK_UPDATE 29
#define BPF_CMD_LINK_GET_FD_BY_ID 30
#define BPF_CMD_LINK_DETACH 34
#define OUR_NAMES 0x5f7073626eULL	/* "nbsp_", as the machine reads it */
#define OUR_NAMES_MASK 0xffffffffffULL

/* Judges something done to the daemon or, `seals`, to the kernel; `number` is of the signal, command, ... */
static __always_inline int judge_act(__u8 channel, __u16 number, const int seals)
{
	struct question q = { .channel = channel, .wanted = ACCESS_WRITE, .kind = KIND_MONITOR, .port = number };
	struct generation *generation;
	int slot = active_slot();

	if (slot < 0)
		return 0;
	q.slot = slot;
	generation = generations.lookup(&q.slot);
	if (!generation)
		return 0;
	q.policy = seals ? generation->kernel_policy : generation->guard_policy;
	if (!q.policy || is_init())
		return 0;
	q.stamp = stamp_of((void *)bpf_get_current_task());
	return judge(&q, CAN_SIGNAL);
}

static __always_inline int guard(__u8 channel, __u16 number)
{
	return judge_act(channel, number, 0);
}

static __always_inline int guard_task(void *task, __u8 channel, __u16 number)
{
	struct monitor *monitor = the_monitor();

	if (!monitor || !is_monitor(monitor, task))
		return 0;
	return guard(channel, number);
}

HOOK(task_kill, security_task_kill)
{
	int number = ctx[ARG_task_kill_sig];

	RESPECT_EARLIER(task_kill);
	return number ? guard_task(ARG(task_kill, p, void *), CHANNEL_SIGNAL, number) : 0;
}

HOOK(file_send_sigiotask, security_file_send_sigiotask)
{
	RESPECT_EARLIER(file_send_sigiotask);
	return guard_task(ARG(file_send_sigiotask, tsk, void *), CHANNEL_SIGNAL, ctx[ARG_file_send_sigiotask_sig]);
}

HOOK(ptrace_access_check, security_ptrace_access_check)
{
	void *child = ARG(ptrace_access_check, child, void *);
	__u32 mode = (__u32)ctx[ARG_ptrace_access_check_mode];
	struct stamp *other;
	int refused = 0;

	RESPECT_EARLIER(ptrace_access_check);
	if (!(mode & (PTRACE_ATTACH | PTRACE_REALCREDS)))
		return 0;
	if (mode & PTRACE_ATTACH)
		refused = is_init_task(child) ? guard(CHANNEL_DEBUG, 0) : guard_task(child, CHANNEL_DEBUG, 0);
	if (refused)
		return refused;
	other = stamp_of(child);	/* the same for every sealed checkpoint: task.c */
	return other ? check_sealed(other, (void *)bpf_get_current_task(), child, CHANNEL_PTRACE) : 0;
}

HOOK(task_setnice, security_task_setnice)
{
	RESPECT_EARLIER(task_setnice);
	return guard_task(ARG(task_setnice, p, void *), CHANNEL_PRIORITY, 0);
}

HOOK(task_setioprio, security_task_setioprio)
{
	RESPECT_EARLIER(task_setioprio);
	return guard_task(ARG(task_setioprio, p, void *), CHANNEL_PRIORITY, 0);
}

HOOK(task_setscheduler, security_task_setscheduler)
{
	RESPECT_EARLIER(task_setscheduler);
	return guard_task(ARG(task_setscheduler, p, void *), CHANNEL_PRIORITY, 0);
}

HOOK(task_setrlimit, security_task_setrlimit)
{
	RESPECT_EARLIER(task_setrlimit);
	return guard_task(ARG(task_setrlimit, p, void *), CHANNEL_PRIORITY, 0);
}

HOOK(task_movememory, security_task_movememory)
{
	RESPECT_EARLIER(task_movememory);
	return guard_task(ARG(task_movememory, p, void *), CHANNEL_PRIORITY, 0);
}

static __always_inline int is_our_name(__u64 name)
{
	return (name & OUR_NAMES_MASK) == OUR_NAMES;
}

HOOK(bpf_map, security_bpf_map)
{
	__u64 name = 0;

	RESPECT_EARLIER(bpf_map);
	READ(name, ARG(bpf_map, map, void *), bpf_map, name);
	return is_our_name(name) ? guard(CHANNEL_BPF, 0) : 0;
}

HOOK(bpf_prog, security_bpf_prog)
{
	void *aux = 0;
	__u64 name = 0;

	RESPECT_EARLIER(bpf_prog);
	READ(aux, ARG(bpf_prog, prog, void *), bpf_prog, aux);
	READ(name, aux, bpf_prog_aux, name);
	return is_our_name(name) ? guard(CHANNEL_BPF, 0) : 0;
}

/* The id of the link that a descriptor of this process stands for; of anything else a number that means nothing. */
static __always_inline __u32 link_of(__u32 fd)
{
	void *task = (void *)bpf_get_current_task(), *files = 0, *table = 0, *fds = 0, *file = 0, *link = 0;
	__u32 most = 0, id = 0;

	READ(files, task, task_struct, files);
	READ(table, files, files_struct, fdt);
	READ(most, table, fdtable, max_fds);
	READ(fds, table, fdtable, fd);
	if (fd >= most)
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), fds + (__u64)fd * sizeof(void *));
	READ(link, file, file, private_data);
	READ(id, link, bpf_link, id);
	return id;
}

/* The kernel is sealed against everybody but those whom the rule accepts, and the daemon, which loads programs itself. */
static __always_inline int seal(__u8 channel, __u16 number)
{
	struct monitor *monitor = the_monitor();

	if (!monitor || is_monitor(monitor, (void *)bpf_get_current_task()))
		return 0;
	return judge_act(channel, number, 1);
}

HOOK(bpf, security_bpf)
{
	int command = ctx[ARG_bpf_cmd];
	struct monitor *monitor;
	__u32 first = 0, id;
	unsigned long i;

	RESPECT_EARLIER(bpf);
	if (command == BPF_CMD_PROG_LOAD) {
		bpf_probe_read_kernel(&first, sizeof(first), ARG(bpf, attr, void *));
		return first == BPF_SOCKET_FILTER ? 0 : seal(CHANNEL_PROGRAM, first);
	}
	if (command != BPF_CMD_LINK_UPDATE && command != BPF_CMD_LINK_GET_FD_BY_ID && command != BPF_CMD_LINK_DETACH)
		return 0;
	monitor = the_monitor();
	if (!monitor || !monitor->stamp)
		return 0;
	/* union bpf_attr, the kernel's copy: each of the three begins with the link's number or descriptor */
	bpf_probe_read_kernel(&first, sizeof(first), ARG(bpf, attr, void *));
	id = command == BPF_CMD_LINK_GET_FD_BY_ID ? first : link_of(first);
	if (!id)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_LINKS; i++)
		if (monitor->links[i] == id)
			return guard(CHANNEL_BPF, command);
	return 0;
}

#define MOUNTS_ABOVE 8

/*
 * Is a mount the one with the pins, or one that this is mounted on?  Or of the same peer group as one of these, so that what
 * happens to it happens to them: in another mount name space that still shares.  `only_pins`: those above do not matter.
 */
static __always_inline int holds_pins(void *vfsmount, const int only_pins)
{
	struct monitor *monitor = the_monitor();
	void *mount = 0, *at, *parent = 0;
	int group = 0, wanted = 0;
	unsigned long i;

	if (!monitor || !monitor->stamp || !monitor->mount)
		return 0;
	mount = vfsmount - __builtin_offsetof(struct mount, mnt);
	READ(wanted, mount, mount, mnt_group_id);
	at = (void *)monitor->mount - __builtin_offsetof(struct mount, mnt);
#pragma clang loop unroll(disable)
	for (i = 0; i < (only_pins ? 1 : MOUNTS_ABOVE); i++) {
		if (at == mount)
			return 1;
		READ(group, at, mount, mnt_group_id);
		if (wanted && group == wanted)
			return 1;
		READ(parent, at, mount, mnt_parent);
		if (parent == at)
			return 0;
		at = parent;
	}
	return 0;
}

HOOK(sb_umount, security_sb_umount)
{
	RESPECT_EARLIER(sb_umount);
	return holds_pins(ARG(sb_umount, mnt, void *), 0) ? guard(CHANNEL_MOUNT, 0) : 0;
}

HOOK(sb_mount, security_sb_mount)
{
	struct path *path = ARG(sb_mount, path, struct path *);
	int refused = 0;
	void *mount = 0;

	RESPECT_EARLIER(sb_mount);
	READ(mount, path, path, mnt);
	if (holds_pins(mount, 1))
		refused = guard(CHANNEL_MOUNT, 0);
	if (refused || !is_new_mount(ctx[ARG_sb_mount_flags]))
		return refused;
	return check_cover(path->dentry);	/* mount.c */
}

HOOK(move_mount, security_move_mount)
{
	struct path *path = ARG(move_mount, to_path, struct path *);
	void *from = 0, *to = 0;
	int refused = 0;

	RESPECT_EARLIER(move_mount);
	READ(from, ARG(move_mount, from_path, void *), path, mnt);
	READ(to, path, path, mnt);
	if (holds_pins(from, 0) || holds_pins(to, 1))
		refused = guard(CHANNEL_MOUNT, 0);
	return refused ? refused : check_cover(path->dentry);
}

/* enum kernel_read_file_id, of which kernel_load_data_id is a copy: from modules on to what kexec reads. */
#define READING_MODULE 2
#define READING_KEXEC_LAST 4

HOOK(kernel_read_file, security_kernel_read_file)
{
	unsigned long id = ctx[ARG_kernel_read_file_id];

	RESPECT_EARLIER(kernel_read_file);
	return id < READING_MODULE || id > READING_KEXEC_LAST ? 0 : seal(CHANNEL_KERNEL_CODE, id);
}

HOOK(kernel_load_data, security_kernel_load_data)
{
	unsigned long id = ctx[ARG_kernel_load_data_id];

	RESPECT_EARLIER(kernel_load_data);
	return id < READING_MODULE || id > READING_KEXEC_LAST ? 0 : seal(CHANNEL_KERNEL_CODE, id);
}

/* enum lockdown_reason: these have had their numbers since 5.4; later ones shift between kernels and are let be */
#define LOCKDOWN_REASONS ((1UL << 2) | (1UL << 4) | (1UL << 6) | (1UL << 7) | (1UL << 8))

HOOK(locked_down, security_locked_down)
{
	unsigned long what = ctx[ARG_locked_down_what];

	RESPECT_EARLIER(locked_down);
	return what < 64 && ((LOCKDOWN_REASONS >> what) & 1) ? seal(CHANNEL_KERNEL_MEMORY, what) : 0;
}

#endif
