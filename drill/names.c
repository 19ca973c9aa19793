/* SPDX-License-Identifier: GPL-2.0-only */
/* H1, name aliasing: other names for the target, without mounting anything. Each makes one and goes for the goal. */
#include "attempt.h"

#include <linux/openat2.h>
#include <sys/sysmacros.h>

TECHNIQUE("plain")	/* the front door: what every other technique is compared with */
{
	reach(given("target"));
}

TECHNIQUE("symlink")
{
	ok(symlink(given("target"), scratch("alias")), "symlink");
	reach(scratch("alias"));
}

TECHNIQUE("symlink-chain")	/* through a directory link and thirty others */
{
	const char *before = text("%s/%s", scratch("d"), name_of(given("target")));

	ok(symlink(folder_of(given("target")), scratch("d")), "symlink");
	for (int i = 0; i < 30; i++) {
		const char *next = scratch(text("l%d", i));

		ok(symlink(before, next), "symlink");
		before = next;
	}
	reach(before);
}

TECHNIQUE("hard-link")
{
	ok(link(given("target"), scratch("alias")), "link");
	reach(scratch("alias"));
}

TECHNIQUE("hard-link-by-fd")	/* linkat(2) of a descriptor that opened nothing */
{
	int fd = ok(open(given("target"), O_PATH), "open O_PATH");

	ok(linkat(AT_FDCWD, text("/proc/self/fd/%d", fd), AT_FDCWD, scratch("alias"), AT_SYMLINK_FOLLOW), "linkat");
	reach(scratch("alias"));
}

TECHNIQUE("rename")
{
	ok(rename(given("target"), scratch("alias")), "rename");
	reach(scratch("alias"));
}

TECHNIQUE("rename-ancestor")	/* the directory above goes elsewhere, the target with it */
{
	ok(rename(folder_of(given("target")), scratch("moved")), "rename");
	reach(text("%s/%s", scratch("moved"), name_of(given("target"))));
}

TECHNIQUE("exchange")
{
	fill(scratch("mine"), "mine\n");
	ok(renameat2(AT_FDCWD, scratch("mine"), AT_FDCWD, given("target"), RENAME_EXCHANGE), "renameat2");
	reach(scratch("mine"));
}

TECHNIQUE("exchange-ancestor")
{
	ok(mkdir(scratch("mine"), 0755), "mkdir");
	ok(renameat2(AT_FDCWD, scratch("mine"), AT_FDCWD, folder_of(given("target")), RENAME_EXCHANGE), "renameat2");
	reach(text("%s/%s", scratch("mine"), name_of(given("target"))));
}

TECHNIQUE("proc-self-root")
{
	reach(text("/proc/self/root%s", given("target")));
}

TECHNIQUE("proc-pid-root")	/* another process's */
{
	pid_t child = ok(fork(), "fork");

	if (!child) {
		die_with_parent();
		pause();
	}
	reach(text("/proc/%d/root%s", child, given("target")));
}

TECHNIQUE("proc-cwd")
{
	ok(chdir(folder_of(given("target"))), "chdir");
	reach(text("/proc/self/cwd/%s", name_of(given("target"))));
}

TECHNIQUE("thread-self")
{
	reach(text("/proc/thread-self/root/proc/thread-self/root%s", given("target")));
}

TECHNIQUE("o-path")	/* a descriptor that opened nothing, opened again by its link in /proc */
{
	reach(text("/proc/self/fd/%d", (int)ok(open(given("target"), O_PATH), "open O_PATH")));
}

TECHNIQUE("dev-fd")
{
	reach(text("/dev/fd/%d", (int)ok(open(given("target"), O_PATH), "open O_PATH")));
}

TECHNIQUE("proc-pid-fd")	/* the O_PATH descriptor of another process */
{
	int ready[2];
	char byte;
	pid_t child;

	ok(pipe(ready), "pipe");
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		dup2(open(given("target"), O_PATH), 100);
		if (write(ready[1], "!", 1) == 1)
			pause();
		_exit(1);
	}
	ok(read(ready[0], &byte, 1), "read");
	reach(text("/proc/%d/fd/100", child));
}

TECHNIQUE("directory-fd")	/* relative to the descriptor of its directory */
{
	reach_at(ok(open(folder_of(given("target")), O_PATH | O_DIRECTORY), "open the directory"), name_of(given("target")));
}

TECHNIQUE("fchdir")
{
	ok(fchdir(ok(open(folder_of(given("target")), O_RDONLY | O_DIRECTORY), "open the directory")), "fchdir");
	reach(name_of(given("target")));
}

TECHNIQUE("relative")	/* ./a/../a/../../x for a path */
{
	const char *target = given("target"), *folder = name_of(folder_of(target));

	ok(chdir(folder_of(target)), "chdir");
	reach(text(".././%s//../%s/./././/%s", folder, folder, name_of(target)));
}

TECHNIQUE("long-path")	/* just below PATH_MAX, of slashes and dots */
{
	char path[4096];
	size_t size = strlen(given("target")), at;

	for (at = 0; at + size + 3 < sizeof(path); at += 2)
		memcpy(path + at, "/.", 2);
	strcpy(path + at, given("target"));
	reach(path);
}

TECHNIQUE("openat2")	/* resolve=: the flags of openat2(2) */
{
	struct open_how how = {.flags = open_flags(), .resolve = number("resolve", 0)};
	const char *target = given("target");
	bool is_below = how.resolve & (RESOLVE_IN_ROOT | RESOLVE_BENEATH);
	int dir = AT_FDCWD;

	if (is_below) {
		dir = ok(open(folder_of(target), O_PATH | O_DIRECTORY), "open the directory");
		target = how.resolve & RESOLVE_IN_ROOT ? text("/../../%s", name_of(target)) : name_of(target);
	}
	reach_fd(ok(syscall(SYS_openat2, dir, target, &how, sizeof(how)), "openat2"));
}

TECHNIQUE("handle")	/* open_by_handle_at: no path at all. as=fresh: after its directory was forgotten */
{
	struct {
		struct file_handle head;
		unsigned char bytes[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	int mount_id, mount = ok(open(folder_of(given("target")), O_RDONLY | O_DIRECTORY), "open the directory");

	ok(name_to_handle_at(AT_FDCWD, given("target"), &handle.head, &mount_id, 0), "name_to_handle_at");
	if (is("as", "fresh") && !set_text("/proc/sys/vm/drop_caches", "2"))
		absent("drop_caches cannot be written here");
	reach_fd(ok(open_by_handle_at(mount, &handle.head, open_flags()), "open_by_handle_at"));
}

TECHNIQUE("chroot")	/* as root, or in a user namespace */
{
	if (in_userns())
		own_mounts();
	if (is("goal", "exec"))		/* its loader and libraries have to be seen: stay at the root by another road */
		ok(chroot("/proc/self/root"), "chroot");
	else
		ok(chroot(folder_of(given("target"))), "chroot");
	ok(chdir("/"), "chdir");
	reach(is("goal", "exec") ? given("target") : text("/%s", name_of(given("target"))));
}

static void find(int fd)	/* prints the block of the device that begins with the mark */
{
	const char *mark = given("mark");
	size_t size = 1 << 20;
	char *bytes = aligned_alloc(4096, size);
	ssize_t got;

	for (off_t at = 0; (got = pread(fd, bytes, size, at)) > 0; at += got)
		for (ssize_t block = 0; block < got; block += 1024)
			if (!memcmp(bytes + block, mark, strlen(mark))) {
				show_bytes(bytes + block, 256);
				return;
			}
	if (got < 0)
		failed("reading the device");
	broken("the mark is nowhere on the device");
}

static const char *own_node(void)	/* another node for the target's block device */
{
	const char *path = scratch("node");
	struct stat status;

	ok(stat(given("target"), &status), "stat");
	ok(mknod(path, S_IFBLK | 0600, status.st_dev), "mknod");
	return path;
}

TECHNIQUE("missing-folder")	/* the folder of a declared path appears after the rules, with the file */
{
	ok(mkdir(folder_of(given("target")), 0777), "mkdir");
	fill(given("target"), given("secret"));
	reach(given("target"));
}

TECHNIQUE("unix-replaced")	/* a socket of ours in the place of the protected one: who connects to it gets us */
{
	struct address address = unix_address(given("target"));
	int fd = ok(socket(AF_UNIX, SOCK_STREAM, 0), "socket");

	ok(unlink(given("target")), "unlink");
	ok(bind(fd, (void *)&address.storage, address.size), "bind");
	done();
}

TECHNIQUE("block-device")	/* by=node | mknod; how=read | direct */
{
	const char *path = is("by", "mknod") ? own_node() : given("device");

	find(ok(open(path, O_RDONLY | (is("how", "direct") ? O_DIRECT : 0)), "open the block device"));
	done();
}

TECHNIQUE("backing-file")	/* of the loop device below the file system */
{
	find(ok(open(given("image"), O_RDONLY), "open the image"));
	done();
}

TECHNIQUE("block-write")	/* changes the target's data below its file system */
{
	const char *mark = given("mark"), *token = given("token");
	int fd = ok(open(given("device"), O_RDWR), "open the block device"), found;
	char bytes[1024];

	for (off_t at = 0; pread(fd, bytes, sizeof(bytes), at) == sizeof(bytes); at += sizeof(bytes)) {
		if (memcmp(bytes, mark, strlen(mark)))
			continue;
		memcpy(bytes, token, strlen(token));
		ok(pwrite(fd, bytes, sizeof(bytes), at), "write to the device");
		ok(fsync(fd), "fsync");
		found = ok(pread(fd, bytes, sizeof(bytes), at), "read it back");
		if (found == sizeof(bytes) && !memcmp(bytes, token, strlen(token))) {
			show_bytes(bytes, strlen(token));
			done();
		}
	}
	broken("the mark is nowhere on the device");
}

TECHNIQUE("dev-block")	/* the link that udev keeps by the device's number */
{
	struct stat status;
	int fd;

	ok(stat(given("target"), &status), "stat");
	fd = open(text("/dev/block/%u:%u", major(status.st_dev), minor(status.st_dev)), O_RDONLY);
	if (fd < 0 && errno == ENOENT)
		absent("there is no /dev/block/%u:%u", major(status.st_dev), minor(status.st_dev));
	find(ok(fd, "open the block device"));
	done();
}
