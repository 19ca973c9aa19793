/*
 * Options of a mount that do what writing to a declared file does.  (tiers lsm and fmod_ret)
 *
 * fs_context_parse_param   every option of mount(2), fsconfig(2) and remounting, before the file system sees it.  There is one
 *                          such option: release_agent of cgroup v1, which is the file of that name in the hierarchy's root.
 */

#ifndef NBSP_TIER_SOCKET

#define ENOPARAM 519
#define CGROUP_MAGIC 0x27E0EBULL
#define RELEASE_AGENT_LENGTH 13

/* What the hook returns to say that it is no option of its own. */
#ifdef NBSP_TIER_LSM
#define NOT_OURS -ENOPARAM
#else
#define NOT_OURS 0
#endif

/* Whether a string in the kernel's memory is this one, of less than 16 bytes. */
static __always_inline int is_text(const void *text, const char (*expected)[16])
{
	char read[16] = {};
	__u64 *one = (void *)read, *other = (void *)expected;

	bpf_probe_read_kernel_str(read, sizeof(read), text);
	return one[0] == other[0] && one[1] == other[1];
}

HOOK(fs_context_parse_param, security_fs_context_parse_param)
{
	struct question q = { .channel = CHANNEL_MOUNT_OPTION, .wanted = ACCESS_WRITE };
	void *type = 0, *key = 0, *name = 0, *inner;
	const char group[16] = "cgroup", agent[16] = "release_agent";
	__u64 root = pseudo_root(CGROUP_MAGIC), path, anywhere;
	struct object *at_top, *wherever;
	struct generation *generation;
	int slot = active_slot();

	RESPECT_EARLIER(fs_context_parse_param);
	if (slot < 0)
		return NOT_OURS;
	q.slot = slot;
	READ(type, ARG(fs_context_parse_param, fc, void *), fs_context, fs_type);
	READ(name, type, file_system_type, name);
	READ(key, ARG(fs_context_parse_param, param, void *), fs_parameter, key);
	if (!is_text(name, &group) || !is_text(key, &agent))
		return NOT_OURS;
	generation = generations.lookup(&q.slot);
	inner = pseudo_paths.lookup(&q.slot);
	if (!generation || !inner)
		return NOT_OURS;
	path = name_hash(key, RELEASE_AGENT_LENGTH, PSEUDO_NAME_WORDS);
	anywhere = pseudo_wherever(root, path);
	path += root * HASH_MULTIPLIER;
	at_top = bpf_map_lookup_elem(inner, &path);
	wherever = bpf_map_lookup_elem(inner, &anywhere);
	if (at_top && at_top->policy)
		q.policy = pseudo_found(&q, at_top->policy, path);
	else if (wherever && wherever->policy)
		q.policy = pseudo_found(&q, wherever->policy, anywhere);
	else	/* the whole hierarchy may be a tree */
		at_top = bpf_map_lookup_elem(inner, &root);
	if (!q.policy && at_top && at_top->tree_policy)
		q.policy = pseudo_found(&q, at_top->tree_policy, root);
	if (!q.policy)
		return NOT_OURS;
	q.stamp = stamp_of((void *)bpf_get_current_task());
	return judge(&q, CAN_SIGNAL) ? -EPERM : NOT_OURS;
}

#endif
