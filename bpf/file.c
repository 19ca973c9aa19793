/*
 * Files and trees.  Thin hooks: each names the object and what is wanted, check_dentry() decides.
 *
 * file_open            sees every open, also by io_uring, open_by_handle_at and exec; not O_PATH, which opens nothing
 * mmap_file            executable mappings through an fd that is older than the rules; reading it was judged at open
 * file_receive         an fd that arrives by SCM_RIGHTS or pidfd_getfd is judged as if the receiver opened it
 * inode_create …       names below a tree or in a slot; hooks come before the effect and under the parent's lock
 * inode_rename         called twice with roles swapped for RENAME_EXCHANGE
 * inode_link           wants read and write of the old name: the new name would lead around a tree
 * inode_setattr        chmod, chown, truncate, utimes: all of them end in notify_change()
 * inode_getattr        not a judge: tells the daemon how the kernel calls an inode; attached only while it asks
 */

#ifndef NBSP_TIER_SOCKET

#define FMODE_READ 1
#define FMODE_WRITE 2
#define FMODE_EXEC_FLAG 0x20	/* __FMODE_EXEC in f_flags: the kernel opens it to run it */
#define PROT_EXEC 4
#define S_IFMT 0170000
#define BPF_FS_MAGIC 0xcafe4a11
#define S_IFBLK 0060000
#define S_IFCHR 0020000

/* A device node: what counts is the number, whoever made whichever node for it. */
static __always_inline __u32 device_policy(struct question *q, __u32 rdev)
{
	struct object_key key = { .ino = rdev, .dev = NBSP_RDEV_DEV };
	struct generation *generation = generations.lookup(&q->slot);
	void *inner = objects.lookup(&q->slot);
	struct object *object;

	if (!generation || !inner ||
	    !filter_has(q->slot, generation->filter_mask, object_hash(key.ino, key.dev)))
		return 0;
	object = bpf_map_lookup_elem(inner, &key);
	if (!object)
		return 0;
	q->object = key;
	q->kind = KIND_RDEV;
	q->channel = CHANNEL_DEVICE_OPEN;
	return object->policy;
}

HOOK(file_open, security_file_open)
{
	struct file *file = ARG(file_open, file, struct file *);
	struct question q = { .channel = CHANNEL_FILE_OPEN };
	struct inode *inode = file->f_inode;
	__u32 type = inode->i_mode & S_IFMT;
	int slot = active_slot();

	RESPECT_EARLIER(file_open);
	if (slot < 0)
		return 0;
	q.slot = slot;
	q.dentry = file->f_path.dentry;
	if (file->f_flags & FMODE_EXEC_FLAG) {
		q.wanted = ACCESS_EXEC;
		q.channel = CHANNEL_EXEC;
	} else {
		q.wanted = ((file->f_mode & FMODE_READ) ? ACCESS_READ : 0) |
			   ((file->f_mode & FMODE_WRITE) ? ACCESS_WRITE : 0);
		if (!q.wanted)
			q.wanted = ACCESS_READ;	/* open(2) with access mode 3: ioctl only */
	}
	q.policy = find_policy(&q, file->f_path.dentry, 0);
	if (!q.policy && (type == S_IFBLK || type == S_IFCHR))
		q.policy = device_policy(&q, inode->i_rdev);
	if (!q.policy && (q.wanted & ACCESS_WRITE))
		q.policy = knob_policy(&q, file);
	if (!q.policy)
		return 0;
	q.stamp = stamp_of((void *)bpf_get_current_task());
	return judge(&q, CAN_SIGNAL);
}

HOOK(mmap_file, security_mmap_file)
{
	unsigned long raw = 0;
	struct file *file = ARG(mmap_file, file, struct file *);
	unsigned long prot = ctx[ARG_mmap_file_prot];

	RESPECT_EARLIER(mmap_file);
	/*
	 * The file may be NULL, which verifiers up to 6.12 don't know and later ones want checked: compare the pointer, and
	 * a copy that none can reason about.
	 */
	bpf_probe_read_kernel(&raw, sizeof(raw), &ctx[ARG_mmap_file_file]);
	if (!raw || !(prot & PROT_EXEC) || !file)
		return 0;
	return check_dentry(file->f_path.dentry, CHANNEL_MMAP, ACCESS_EXEC, 0);
}

HOOK(file_receive, security_file_receive)
{
	struct file *file = ARG(file_receive, file, struct file *);
	__u8 wanted = 0;

	RESPECT_EARLIER(file_receive);
	if (file->f_mode & FMODE_READ)
		wanted |= ACCESS_READ;
	if (file->f_mode & FMODE_WRITE)
		wanted |= ACCESS_WRITE;
	return wanted ? check_dentry(file->f_path.dentry, CHANNEL_RECEIVE, wanted, 0) : 0;
}

HOOK(inode_create, security_inode_create)
{
	RESPECT_EARLIER(inode_create);
	return check_dentry(ARG(inode_create, dentry, struct dentry *), CHANNEL_CREATE, ACCESS_WRITE, 1);
}

HOOK(inode_mknod, security_inode_mknod)
{
	RESPECT_EARLIER(inode_mknod);
	return check_dentry(ARG(inode_mknod, dentry, struct dentry *), CHANNEL_MKNOD, ACCESS_WRITE, 1);
}

HOOK(inode_mkdir, security_inode_mkdir)
{
	RESPECT_EARLIER(inode_mkdir);
	return check_dentry(ARG(inode_mkdir, dentry, struct dentry *), CHANNEL_MKDIR, ACCESS_WRITE, 1);
}

HOOK(inode_symlink, security_inode_symlink)
{
	RESPECT_EARLIER(inode_symlink);
	return check_dentry(ARG(inode_symlink, dentry, struct dentry *), CHANNEL_SYMLINK, ACCESS_WRITE, 1);
}

HOOK(inode_link, security_inode_link)
{
	RESPECT_EARLIER(inode_link);
	return check_names(ARG(inode_link, old_dentry, struct dentry *), ARG(inode_link, new_dentry, struct dentry *),
			   CHANNEL_LINK, 0);
}

HOOK(inode_unlink, security_inode_unlink)
{
	RESPECT_EARLIER(inode_unlink);
	return check_dentry(ARG(inode_unlink, dentry, struct dentry *), CHANNEL_UNLINK, ACCESS_WRITE, 1);
}

HOOK(inode_rmdir, security_inode_rmdir)
{
	RESPECT_EARLIER(inode_rmdir);
	return check_dentry(ARG(inode_rmdir, dentry, struct dentry *), CHANNEL_RMDIR, ACCESS_WRITE, 1);
}

HOOK(inode_rename, security_inode_rename)
{
	RESPECT_EARLIER(inode_rename);
	return check_names(ARG(inode_rename, old_dentry, struct dentry *), ARG(inode_rename, new_dentry, struct dentry *),
			   CHANNEL_RENAME, 1);
}

HOOK(inode_setattr, security_inode_setattr)
{
	RESPECT_EARLIER(inode_setattr);
	return check_dentry(ARG(inode_setattr, dentry, struct dentry *), CHANNEL_SETATTR, ACCESS_WRITE, 0);
}

HOOK(inode_setxattr, security_inode_setxattr)
{
	RESPECT_EARLIER(inode_setxattr);
	return check_dentry(ARG(inode_setxattr, dentry, struct dentry *), CHANNEL_XATTR, ACCESS_WRITE, 0);
}

HOOK(inode_removexattr, security_inode_removexattr)
{
	RESPECT_EARLIER(inode_removexattr);
	return check_dentry(ARG(inode_removexattr, dentry, struct dentry *), CHANNEL_XATTR, ACCESS_WRITE, 0);
}

#ifdef HAS_HOOK_inode_set_acl
HOOK(inode_set_acl, security_inode_set_acl)
{
	RESPECT_EARLIER(inode_set_acl);
	return check_dentry(ARG(inode_set_acl, dentry, struct dentry *), CHANNEL_ACL, ACCESS_WRITE, 0);
}

HOOK(inode_remove_acl, security_inode_remove_acl)
{
	RESPECT_EARLIER(inode_remove_acl);
	return check_dentry(ARG(inode_remove_acl, dentry, struct dentry *), CHANNEL_ACL, ACCESS_WRITE, 0);
}
#endif

HOOK(inode_getattr, security_inode_getattr)
{
	struct path *path = ARG(inode_getattr, path, struct path *);
	__u32 zero = 0, *resolver = resolvers.lookup(&zero);
	struct resolved *resolved = resolutions.lookup(&zero);
	struct monitor *monitor = the_monitor();
	struct inode *inode;

	RESPECT_EARLIER(inode_getattr);
	if (!resolver || !resolved || *resolver != (__u32)bpf_get_current_pid_tgid())
		return 0;
	inode = path->dentry->d_inode;
	resolved->key.ino = inode->i_ino;
	resolved->key.dev = inode->i_sb->s_dev;
	resolved->key.gen = inode->i_generation;
	resolved->rdev = inode->i_rdev;
	resolved->mode = inode->i_mode;
	resolved->magic = inode->i_sb->s_magic;
	resolved->count++;
	if (resolved->magic == BPF_FS_MAGIC && monitor)
		monitor->mount = (__u64)path->mnt;
	return 0;
}

#endif
