/* SPDX-License-Identifier: GPL-2.0-only */
/* H1 and H9: other names by mounting, as root or (via=userns) as anybody in a user namespace of his own. */
#include "attempt.h"

#include <linux/loop.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

static const char *point(void)
{
	ok(mkdir(scratch("point"), 0755), "mkdir");
	return scratch("point");
}

static const char *below(const char *folder)
{
	return text("%s/%s", folder, name_of(given("target")));
}

static void bind_mount(const char *from, const char *to)
{
	mount_or_fail(from, to, NULL, MS_BIND | (in_userns() ? MS_REC : 0), NULL);	/* locked mounts go together */
}

TECHNIQUE("mount-namespace")	/* nothing but the namespace */
{
	own_mounts();
	reach(given("target"));
}

TECHNIQUE("bind-mount")		/* of the directory */
{
	own_mounts();
	bind_mount(folder_of(given("target")), point());
	reach(below(scratch("point")));
}

TECHNIQUE("bind-file")
{
	own_mounts();
	fill(scratch("point"), "");
	bind_mount(given("target"), scratch("point"));
	reach(scratch("point"));
}

TECHNIQUE("rbind-root")		/* the whole tree of files elsewhere */
{
	own_mounts();
	mount_or_fail("/", point(), NULL, MS_BIND | MS_REC, NULL);
	reach(text("%s%s", scratch("point"), given("target")));
}

TECHNIQUE("move-mount")		/* the file system's own mount, moved */
{
	own_mounts();
	mount_or_fail("tmpfs", point(), "tmpfs", 0, NULL);
	ok(mkdir(scratch("point/a"), 0755), "mkdir");
	ok(mkdir(scratch("point/b"), 0755), "mkdir");
	bind_mount(folder_of(given("target")), scratch("point/a"));
	ok(mount(scratch("point/a"), scratch("point/b"), NULL, MS_MOVE, NULL), "mount MS_MOVE");
	reach(below(scratch("point/b")));
}

TECHNIQUE("open-tree")		/* a detached copy, never mounted anywhere; attach=1: mounted */
{
	int tree;

	own_mounts();
	tree = ok(open_tree(AT_FDCWD, folder_of(given("target")),
			    OPEN_TREE_CLONE | O_CLOEXEC | (in_userns() ? AT_RECURSIVE : 0)), "open_tree");
	if (!number("attach", 0))
		reach_at(tree, name_of(given("target")));
	ok(move_mount(tree, "", AT_FDCWD, point(), MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
	reach(below(scratch("point")));
}

TECHNIQUE("remount")	/* the same file system once more, as root */
{
	own_mounts();
	mount_or_fail(given("device"), point(), "ext4", 0, NULL);
	reach(text("%s%s", scratch("point"), given("target") + strlen(given("mounted"))));
}

TECHNIQUE("fsmount")	/* the same, by the newer calls, never mounted anywhere */
{
	int context, mounted;

	own_mounts();
	context = ok(fsopen("ext4", FSOPEN_CLOEXEC), "fsopen");
	ok(fsconfig(context, FSCONFIG_SET_STRING, "source", given("device"), 0), "fsconfig");
	ok(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "fsconfig");
	mounted = ok(fsmount(context, FSMOUNT_CLOEXEC, 0), "fsmount");
	reach_at(mounted, given("target") + strlen(given("mounted")) + 1);
}

TECHNIQUE("second-loop")	/* another loop device over the same bytes is another file system to the kernel */
{
	int control = need(open("/dev/loop-control", O_RDWR), "opening /dev/loop-control"), loop, number_;
	struct loop_config config = {.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY};
	const char *path;

	config.fd = ok(open(given("image"), O_RDONLY), "open the image");
	number_ = ok(ioctl(control, LOOP_CTL_GET_FREE), "LOOP_CTL_GET_FREE");
	path = text("/dev/loop%d", number_);
	if (access(path, F_OK) && mknod(path = scratch("loop"), S_IFBLK | 0600, makedev(7, number_)) < 0)
		failed("mknod");
	loop = ok(open(path, O_RDONLY), "open the loop device");
	ok(ioctl(loop, LOOP_CONFIGURE, &config), "LOOP_CONFIGURE");
	own_mounts();
	mount_or_fail(path, point(), "ext4", MS_RDONLY, "noload");
	reach(text("%s%s", scratch("point"), given("target") + strlen(given("mounted"))));
}

static void overlay(const char *lower, const char *to)
{
	mount_or_fail("tmpfs", scratch("layers"), "tmpfs", 0, NULL);
	ok(mkdir(scratch("layers/upper"), 0755), "mkdir");
	ok(mkdir(scratch("layers/work"), 0755), "mkdir");
	mount_or_fail("overlay", to, "overlay", 0, text("lowerdir=%s,upperdir=%s,workdir=%s%s", lower, scratch("layers/upper"),
							scratch("layers/work"), in_userns() ? ",userxattr" : ""));
}

TECHNIQUE("overlay")		/* the target's directory as the lower layer */
{
	own_mounts();
	ok(mkdir(scratch("layers"), 0755), "mkdir");
	overlay(folder_of(given("target")), point());
	reach(below(scratch("point")));
}

TECHNIQUE("overlay-upper")	/* the target's directory as the upper layer: writes go through to it */
{
	const char *folder = folder_of(given("target"));

	own_mounts();
	ok(mkdir(scratch("lower"), 0755), "mkdir");
	ok(mkdir(text("%s-work", folder), 0755), "mkdir");
	mount_or_fail("overlay", point(), "overlay", 0, text("lowerdir=%s,upperdir=%s,workdir=%s-work%s", scratch("lower"), folder,
							     folder, in_userns() ? ",userxattr" : ""));
	reach(below(scratch("point")));
}

TECHNIQUE("overlay-over")	/* mounted over the directory itself: the path stays as it was */
{
	own_mounts();
	ok(mkdir(scratch("layers"), 0755), "mkdir");
	overlay(folder_of(given("target")), folder_of(given("target")));
	reach(given("target"));
}

TECHNIQUE("pivot-root")
{
	own_mounts();
	mount_or_fail("/", point(), NULL, MS_BIND | MS_REC, NULL);
	ok(chdir(scratch("point")), "chdir");
	ok(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	ok(umount2(".", MNT_DETACH), "umount of the old root");
	reach(given("target"));
}

TECHNIQUE("idmapped")	/* the directory with other owners */
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP};
	int ready[2], userns, tree;
	pid_t child;
	char byte;

	ok(pipe(ready), "pipe");
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		if (unshare(CLONE_NEWUSER) == 0 && write(ready[1], "!", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		absent("no user namespaces here");
	write_text(text("/proc/%d/uid_map", child), "0 0 100000");
	write_text(text("/proc/%d/gid_map", child), "0 0 100000");
	userns = ok(open(text("/proc/%d/ns/user", child), O_RDONLY), "open the user namespace");
	attributes.userns_fd = userns;
	tree = ok(open_tree(AT_FDCWD, folder_of(given("target")), OPEN_TREE_CLONE | O_CLOEXEC), "open_tree");
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0) {
		if (errno == EINVAL)
			absent("mount_setattr: this file system cannot be mapped (EINVAL)");
		failed("mount_setattr");
	}
	reach_at(tree, name_of(given("target")));
}

TECHNIQUE("enter-namespace")	/* the mounts of another process: setns(2) */
{
	pid_t child;
	int ready[2], fd;
	char byte;

	ok(pipe(ready), "pipe");
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		own_mounts();
		bind_mount(folder_of(given("target")), point());
		if (write(ready[1], "!", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		become(child);
	fd = ok(open(text("/proc/%d/ns/mnt", child), O_RDONLY), "open the namespace");
	ok(setns(fd, CLONE_NEWNS), "setns");
	reach(below(scratch("point")));
}

TECHNIQUE("foreign-root")	/* /proc/PID/root of a process in other mounts, entered by nobody */
{
	pid_t child;
	int ready[2];
	char byte;

	ok(pipe(ready), "pipe");
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		own_mounts();
		bind_mount(folder_of(given("target")), point());
		if (write(ready[1], "!", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		become(child);
	if (in_userns()) {	/* whoever looks must be in that user namespace */
		int fd = ok(open(text("/proc/%d/ns/user", child), O_RDONLY), "open the user namespace");

		ok(setns(fd, CLONE_NEWUSER), "setns");
	}
	reach(text("/proc/%d/root%s", child, below(scratch("point"))));
}

/* H9: the real path leads to something else, to be taken for the checkpoint */

static const char *ourselves(void)	/* the link in /proc leads into the mounts that were left: not to be bound here */
{
	static char path[4096];

	if (!path[0])
		ok(readlink("/proc/self/exe", path, sizeof(path) - 1), "readlink");
	return path;
}

static _Noreturn void as_checkpoint(void)
{
	run_program((char *[]){(char *)given("checkpoint"), "plain", text("goal=%s", given("goal")), text("target=%s", given("target")),
			       text("token=%s", perhaps("token", "")), NULL});
}

TECHNIQUE("fake-checkpoint-bound")	/* this program bound over the checkpoint's path */
{
	own_mounts();
	bind_mount(ourselves(), given("checkpoint"));
	as_checkpoint();
}

TECHNIQUE("fake-checkpoint-tmpfs")	/* a file system over its directory, with this program under its name */
{
	const char *copy = scratch("copy");

	copy_file("/proc/self/exe", copy, 0755);
	own_mounts();
	bind_mount(given("scratch"), point());
	mount_or_fail("tmpfs", folder_of(given("checkpoint")), "tmpfs", 0, NULL);
	copy_file("/proc/self/exe", given("checkpoint"), 0755);
	as_checkpoint();
}

TECHNIQUE("fake-checkpoint-overlay")
{
	const char *folder = folder_of(given("checkpoint"));

	own_mounts();
	ok(mkdir(scratch("layers"), 0755), "mkdir");
	mount_or_fail("tmpfs", scratch("layers"), "tmpfs", 0, NULL);
	ok(mkdir(scratch("layers/top"), 0755), "mkdir");
	copy_file("/proc/self/exe", text("%s/%s", scratch("layers/top"), name_of(given("checkpoint"))), 0755);
	mount_or_fail("overlay", folder, "overlay", 0, text("lowerdir=%s:%s%s", scratch("layers/top"), folder,
							    in_userns() ? ",userxattr" : ""));
	as_checkpoint();
}

TECHNIQUE("fake-checkpoint-chroot")	/* another root, in which the path is this program */
{
	own_mounts();
	mount_or_fail("/", point(), NULL, MS_BIND | MS_REC, NULL);
	bind_mount(ourselves(), text("%s%s", scratch("point"), given("checkpoint")));
	ok(chroot(scratch("point")), "chroot");
	ok(chdir("/"), "chdir");
	as_checkpoint();
}

TECHNIQUE("mount-below")		/* a file system of ours on a directory in the tree, with a secret on it */
{
	const char *folder = text("%s/empty", given("target"));

	own_mounts();
	mount_or_fail("tmpfs", folder, "tmpfs", 0, NULL);
	fill(text("%s/file", folder), given("secret"));
	reach(text("%s/file", folder));
}

TECHNIQUE("fake-target")	/* another file over the target's path, which the checkpoint then takes for it */
{
	pid_t child;

	own_mounts();
	fill(scratch("fake"), given("token"));
	ok(chmod(scratch("fake"), 0666), "chmod");
	bind_mount(scratch("fake"), given("target"));
	child = start_checkpoint(-1, "plain", "goal=read", text("target=%s", given("target")), NULL);
	become(child);
}
