/*
 * Files and trees.  Thin hooks: each names the object and what is wanted, check_dentry() decides.
 *
 * file_open            sees every open, also by io_uring, open_by_handle_at and exec; not O_PATH, which opens nothing
 * inode_create …       names below a tree or in a slot; hooks come before the effect and under the parent's lock
 * inode_rename         on the security_ function, which knows RENAME_EXCHANGE; the LSMs are called twice for it, blindly
 *                      tracing programs can be skipped where the kernel is preempted: inode_rename_again asks once more
 * inode_link           wants read and write of the old name: the new name would lead around a tree
 * inode_unlink, rmdir, rename   also want to move: directories and symbolic links above a declared path stay where they are
 * inode_setattr        chmod, chown, truncate, utimes: all of them end in notify_change()
 * file_ioctl           chattr(1) and what else changes a file that is open for reading; inode_file_setattr: the same by name
 * inode_getattr        not a judge: tells the daemon how the kernel calls an inode; attached only while it asks
 */

#ifndef NBSP_TIER_SOCKET

#define FMODE_READ 1
#define FMODE_WRITE 2
#define FMODE_EXEC_FLAG 0x20	/* __FMODE_EXEC in f_flags: the kernel opens it to run it */
#define S_IFMT 0170000
/* include/uapi/linux/fs.h; 32: as 32-bit programs number them */
#define FS_IOC_SETFLAGS 0x40086602
#define FS_IOC32_SETFLAGS 0x40046602
#define FS_IOC_SETVERSION 0x40087602
#define FS_IOC32_SETVERSION 0x40047602
#define FS_IOC_FSSETXATTR 0x401c5820
#define FS_IOC_ENABLE_VERITY 0x40806685
#define FS_IOC_SET_ENCRYPTION_POLICY 0x800c6613
#define BPF_FS_MAGIC 0xcafe4a11
#define S_IFBLK 0060000
#define S_IFCHR 0020000

/* A device node: what counts is the number, whoever made whichever node for it. */
static __always_inline __u32 device_policy(struct question *q, struct inode *inode)
{
	struct object_key key = { .dev = NBSP_RDEV_DEV };
	struct generation *generation = generations.lookup(&q->slot);
	void *inner = objects.lookup(&q->slot);
	__u32 type = inode->i_mode & S_IFMT;
	struct object *object;

	if (type != S_IFBLK && type != S_IFCHR)
		return 0;
	key.ino = inode->i_rdev;
	key.gen = type == S_IFBLK;
	if (!generation || !inner ||
	    !filter_has(q->slot, generation->filter_mask, object_hash(key.ino, key.dev)))
		return 0;
	object = bpf_map_lookup_elem(inner, &key);
	if (!object)
		return 0;
	q->object = key;
	q->kind = KIND_RDEV;
	return object->policy;
}

HOOK(file_open, security_file_open)
{
	struct file *file = ARG(file_open, file, struct file *);
	struct question q = { .channel = CHANNEL_FILE_OPEN };
	__u32 judged = 0;
	int slot = active_slot();
	unsigned long i;

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
	/* the file, then the device or knob that it stands for: one in a tree must satisfy both; a loop, as in check_names() */
#pragma clang loop unroll(disable)
	for (i = 0; i < 2; i++) {
		if (!i) {
			q.policy = find_policy(&q, file->f_path.dentry, 0);
			if (!q.policy && file->f_path.dentry->d_inode != file->f_inode)
				q.policy = layer_policy(&q, file->f_inode);
		} else {
			q.policy = device_policy(&q, file->f_inode);
			if (q.policy)
				q.channel = CHANNEL_DEVICE_OPEN;
			else if (q.wanted & ACCESS_WRITE)
				q.policy = knob_policy(&q, file);
		}
		if (!q.policy || q.policy == judged)
			continue;
		judged = q.policy;
		q.stamp = stamp_of((void *)bpf_get_current_task());
		if (judge(&q, CAN_SIGNAL))
			return -EPERM;
	}
	return 0;
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
			   CHANNEL_LINK, ACCESS_WRITE, 0);
}

HOOK(inode_unlink, security_inode_unlink)
{
	RESPECT_EARLIER(inode_unlink);
	return check_dentry(ARG(inode_unlink, dentry, struct dentry *), CHANNEL_UNLINK, ACCESS_WRITE | ACCESS_MOVE, 1);
}

HOOK(inode_rmdir, security_inode_rmdir)
{
	/* PID 1 removes the empty RuntimeDirectory= of a service that ends, and makes it anew when it starts */
	__u8 wanted = (__u32)(bpf_get_current_pid_tgid() >> 32) == 1 ? ACCESS_WRITE : ACCESS_WRITE | ACCESS_MOVE;

	RESPECT_EARLIER(inode_rmdir);
	return check_dentry(ARG(inode_rmdir, dentry, struct dentry *), CHANNEL_RMDIR, wanted, 1);
}

FUNCTION_HOOK(security_inode_rename)
{
	const int exchanges = ARG(inode_rename, flags, __u32) & RENAME_EXCHANGE;

	RESPECT_EARLIER_FUNCTION(inode_rename);
	return check_names(ARG(inode_rename, old_dentry, struct dentry *), ARG(inode_rename, new_dentry, struct dentry *),
			   CHANNEL_RENAME, ACCESS_WRITE | ACCESS_MOVE, exchanges);
}

#ifdef NBSP_TIER_LSM
/*
 * Of an exchange the LSMs are asked twice, with the names turned around, and so both are judged here as well.  The inode that
 * is about to take over the new name has that name's policy by now, and may still be read by who may rename it there.
 */
HOOK(inode_rename_again, security_inode_rename)
{
	struct dentry *from = ARG(inode_rename_again, old_dentry, struct dentry *), *at;
	struct dentry *to = ARG(inode_rename_again, new_dentry, struct dentry *);
	__u32 of_to = 0, read;
	struct question q;
	unsigned long i;

	if (!from || !to)
		return -EPERM;
#pragma clang loop unroll(disable)
	for (i = 0; i < 2; i++) {
		__builtin_memset(&q, 0, sizeof(q));
		q.channel = CHANNEL_RENAME;
		read = i ? ACCESS_READ : 0;
		HIDE(read);
		q.wanted = ACCESS_WRITE | ACCESS_MOVE | read;
		at = i ? from : to;
		if (check_question(&q, at, 1, 0, CANNOT_AUDIT, of_to))
			return -EPERM;
		of_to = declared_policy(&q, at);
	}
	return 0;
}
#endif

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

/* What changes a file's flags without having it open for writing. */
static __always_inline int check_ioctl(struct file *file, __u32 command)
{
	if (command != FS_IOC_SETFLAGS && command != FS_IOC32_SETFLAGS && command != FS_IOC_FSSETXATTR &&
	    command != FS_IOC_SETVERSION && command != FS_IOC32_SETVERSION && command != FS_IOC_ENABLE_VERITY &&
	    command != FS_IOC_SET_ENCRYPTION_POLICY)
		return 0;
	return check_dentry(file->f_path.dentry, CHANNEL_FLAGS, ACCESS_WRITE, 0);
}

HOOK(file_ioctl, security_file_ioctl)
{
	RESPECT_EARLIER(file_ioctl);
	return check_ioctl(ARG(file_ioctl, file, struct file *), (__u32)ctx[ARG_file_ioctl_cmd]);
}

#ifdef HAS_HOOK_file_ioctl_compat
HOOK(file_ioctl_compat, security_file_ioctl_compat)
{
	RESPECT_EARLIER(file_ioctl_compat);
	return check_ioctl(ARG(file_ioctl_compat, file, struct file *), (__u32)ctx[ARG_file_ioctl_compat_cmd]);
}
#endif

#ifdef HAS_HOOK_inode_file_setattr
HOOK(inode_file_setattr, security_inode_file_setattr)
{
	RESPECT_EARLIER(inode_file_setattr);
	return check_dentry(ARG(inode_file_setattr, dentry, struct dentry *), CHANNEL_FLAGS, ACCESS_WRITE, 0);
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
