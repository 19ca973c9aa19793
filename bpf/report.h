/*
 * What the daemon is told of a violation.  Runs only on a violation, so it may cost; it reads through READ() and works in
 * every program type.  Nothing here decides.
 */

/* One question to the judge: which object, by which way, for what. */
struct question {
	__u32 slot;		/* generation slot */
	__u32 policy;
	__u8 wanted;
	__u8 channel;
	__u8 kind;
	__u8 proto;
	__u16 port;		/* host order */
	__u16 pad;
	__u32 ifindex;
	struct object_key object;
	void *dentry;		/* to name the object, may be 0 */
	__u8 *addr;		/* 16 bytes, may be 0 */
	void *sun;		/* sun_path in the kernel's memory, may be 0 */
	__u32 sun_len;
	__u32 pad2;
	struct stamp *stamp;	/* of the asking process, 0: none */
	struct socket_stamp *socket;	/* judge by these instead: a packet has no process */
};

static __always_inline void report_names(struct violation *v, void *dentry)
{
	void *parent = 0, *name = 0;
	unsigned long i;

#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_PATH_NAMES; i++) {
		READ(parent, dentry, dentry, d_parent);
		if (!dentry || parent == dentry)
			return;
		READ(name, dentry, dentry, d_name.name);
		bpf_probe_read_kernel_str(v->path[i], NBSP_PATH_NAME, name);
		v->names = i + 1;
		dentry = parent;
	}
}

static __always_inline void report_ancestors(struct violation *v, void *task)
{
	void *parent = 0, *cred = 0;
	__u32 tgid = 0;
	unsigned long i;

#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_ANCESTORS; i++) {
		READ(parent, task, task_struct, real_parent);
		READ(parent, parent, task_struct, group_leader);
		READ(tgid, parent, task_struct, tgid);
		if (!parent || !tgid)
			return;
		v->ancestors[i].tgid = tgid;
		v->ancestors[i].start_ticks = start_ticks(parent);
		READ(cred, parent, task_struct, cred);
		READ(v->ancestors[i].uid, cred, cred, uid);
		READ(v->ancestors[i].comm, parent, task_struct, comm);
		task = parent;
	}
}

static __always_inline void report_subject(struct violation *v, void *task)
{
	struct object_key exe = {};
	void *cred = 0, *mm = 0, *file = 0, *dentry = 0, *name = 0, *css = 0, *cgroup = 0, *node = 0;
	unsigned long start = 0, end = 0, size;

	READ(v->tgid, task, task_struct, tgid);
	READ(v->tid, task, task_struct, pid);
	READ(v->comm, task, task_struct, comm);
	v->start_ticks = start_ticks(task);
	READ(cred, task, task_struct, cred);
	READ(v->uid, cred, cred, uid);
	READ(v->euid, cred, cred, euid);
	READ(v->gid, cred, cred, gid);
	v->loginuid = v->sessionid = 0xffffffff;
#ifdef HAS_task_struct_loginuid
	READ(v->loginuid, task, task_struct, loginuid);
	READ(v->sessionid, task, task_struct, sessionid);
#endif
	READ(css, task, task_struct, cgroups);
	READ(cgroup, css, css_set, dfl_cgrp);
	READ(node, cgroup, cgroup, kn);
	READ(v->cgroup, node, kernfs_node, id);
	exe_key(task, &exe);
	v->exe_ino = exe.ino;
	v->exe_dev = exe.dev;
	READ(mm, task, task_struct, mm);
	READ(file, mm, mm_struct, exe_file);
	READ(dentry, file, file, f_path.dentry);
	READ(name, dentry, dentry, d_name.name);
	bpf_probe_read_kernel_str(v->exe_name, NBSP_PATH_NAME, name);
	READ(start, mm, mm_struct, arg_start);
	READ(end, mm, mm_struct, arg_end);
	size = end - start;	/* behind it stands the environment, with its secrets */
	if (size > NBSP_ARGV - 1)
		size = NBSP_ARGV - 1;
	HIDE(size);
	size &= NBSP_ARGV - 1;
	bpf_probe_read_user(v->argv, size, (void *)start);	/* its own claim: shown, never judged by */
	report_ancestors(v, task);
}

/* A denial without a record, under rule number 0. */
static __always_inline void count_unreported(void)
{
	__u32 zero = 0;
	struct counter *counter = counters.lookup(&zero);

	if (!counter)
		return;
	__sync_fetch_and_add(&counter->hits, 1);
	__sync_fetch_and_add(&counter->lost, 1);
}

static __always_inline void report(struct question *q, __u32 rule, __u8 verdict)
{
	struct counter *counter = counters.lookup(&rule);
	struct generation *generation = generations.lookup(&q->slot);
	void *task = (void *)bpf_get_current_task();
	struct violation *v;

	if (counter)
		__sync_fetch_and_add(&counter->hits, 1);
	v = violations.ringbuf_reserve(sizeof(struct violation));
	if (!v) {
		if (counter)
			__sync_fetch_and_add(&counter->lost, 1);
		return;
	}
	__builtin_memset(v, 0, sizeof(*v));
	v->time_ns = bpf_ktime_get_boot_ns();
	v->generation = generation ? generation->number : 0;
	v->rule = rule;
	v->channel = q->channel;
	v->verdict = verdict;
	v->access = q->wanted;
	v->kind = q->kind;
	v->object = q->object;
	v->port = q->port;
	v->proto = q->proto;
	v->ifindex = q->ifindex;
	if (q->addr)
		__builtin_memcpy(v->addr, q->addr, 16);
	if (q->sun && q->sun_len <= NBSP_SUN_NAME)
		bpf_probe_read_kernel(v->abstract, q->sun_len, q->sun);
	report_subject(v, task);
	if (q->socket)
		__builtin_memcpy(v->stamps, q->socket->bits, sizeof(v->stamps));
	else if (q->stamp)
		__builtin_memcpy(v->stamps, q->stamp->bits, sizeof(v->stamps));
	report_names(v, q->dentry);
	violations.ringbuf_submit(v, 0);
}
