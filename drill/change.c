/* SPDX-License-Identifier: GPL-2.0-only */
/* H1: every way of changing a file or a tree. Whoever started it compares the target before and after. */
#include "attempt.h"

#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#endif

#define CHANGE(name, call) TECHNIQUE(name) { ok(call, name); done(); }

static const char *fresh(const char *name)	/* a name in the tree */
{
	return text("%s/%s", given("target"), name);
}

static const char *mine(void)			/* a file of ours on the same file system */
{
	fill(scratch("mine"), given("token"));
	return scratch("mine");
}

static int source(void)
{
	return ok(open(mine(), O_RDONLY), "open a file of our own");
}

static int held(int flags)
{
	return ok(open(given("target"), flags), "open");
}

CHANGE("truncate", truncate(given("target"), 1))
CHANGE("open-truncate", open(given("target"), O_RDONLY | O_TRUNC))
CHANGE("ftruncate", ftruncate(held(O_WRONLY), 1))
CHANGE("chmod", chmod(given("target"), 0700))
CHANGE("fchmod", fchmod(held(O_RDONLY), 0700))
CHANGE("fchmodat2", syscall(SYS_fchmodat2, held(O_PATH), "", 0700, AT_EMPTY_PATH))
CHANGE("chmod-o-path", chmod(text("/proc/self/fd/%d", held(O_PATH)), 0700))
CHANGE("chown", chown(given("target"), number("uid", 0), number("gid", 0)))
CHANGE("lchown", lchown(given("target"), number("uid", 0), number("gid", 0)))
CHANGE("fchownat", fchownat(held(O_PATH), "", number("uid", 0), number("gid", 0), AT_EMPTY_PATH))
CHANGE("utimes", utimensat(AT_FDCWD, given("target"), (struct timespec[]){{1, 0}, {1, 0}}, 0))
CHANGE("futimens", futimens(held(O_RDONLY), (struct timespec[]){{1, 0}, {1, 0}}))
CHANGE("setxattr", setxattr(given("target"), "user.drill", given("token"), 4, 0))
CHANGE("lsetxattr", lsetxattr(given("target"), "user.drill", given("token"), 4, 0))
CHANGE("fsetxattr", fsetxattr(held(O_RDONLY), "user.drill", given("token"), 4, 0))
CHANGE("removexattr", removexattr(given("target"), "user.kept"))
CHANGE("trusted-xattr", setxattr(given("target"), "trusted.drill", given("token"), 4, 0))
CHANGE("unlink", unlink(given("target")))
CHANGE("unlinkat", unlinkat(open(folder_of(given("target")), O_PATH), name_of(given("target")), 0))
CHANGE("rename-over", rename(mine(), given("target")))
CHANGE("rename-away", rename(given("target"), scratch("away")))
CHANGE("swap", renameat2(AT_FDCWD, mine(), AT_FDCWD, given("target"), RENAME_EXCHANGE))
CHANGE("whiteout", renameat2(AT_FDCWD, given("target"), AT_FDCWD, scratch("away"), RENAME_WHITEOUT))
CHANGE("create-in-tree", open(fresh("new"), O_WRONLY | O_CREAT | O_EXCL, 0600))
CHANGE("mkdir-in-tree", mkdir(fresh("new"), 0700))
CHANGE("fifo-in-tree", mknod(fresh("new"), S_IFIFO | 0600, 0))
CHANGE("device-in-tree", mknod(fresh("new"), S_IFCHR | 0600, 0x103))
CHANGE("symlink-in-tree", symlink("/etc/hostname", fresh("new")))
CHANGE("link-into-tree", link(mine(), fresh("new")))
CHANGE("move-into-tree", rename(mine(), fresh("new")))
CHANGE("rmdir-in-tree", rmdir(fresh("empty")))
CHANGE("fallocate", fallocate(held(O_WRONLY), FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096))
CHANGE("copy-file-range", copy_file_range(source(), NULL, held(O_WRONLY), NULL, 8, 0))
CHANGE("sendfile-into", sendfile(held(O_WRONLY), source(), NULL, 8))
CHANGE("reflink", ioctl(held(O_WRONLY), FICLONE, source()))
CHANGE("reflink-range", ioctl(held(O_WRONLY), FICLONERANGE, &((struct file_clone_range){.src_fd = source()})))

TECHNIQUE("symlink-over")
{
	ok(symlink("/etc/hostname", scratch("link")), "symlink");
	ok(rename(scratch("link"), given("target")), "rename");
	done();
}

TECHNIQUE("socket-in-tree")
{
	struct address address = unix_address(fresh("new"));

	ok(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address.storage, address.size), "bind");
	done();
}

TECHNIQUE("tmpfile-linked")	/* a file without a name gets one in the tree; over=1: as the target */
{
	const char *target = given("target"), *folder = number("over", 0) ? folder_of(target) : target;
	int fd = ok(open(number("inside", 0) ? folder : given("scratch"), O_TMPFILE | O_WRONLY, 0600), "open O_TMPFILE");

	put_token(fd);
	if (number("over", 0))
		ok(unlink(target), "unlink");
	ok(linkat(AT_FDCWD, text("/proc/self/fd/%d", fd), AT_FDCWD, number("over", 0) ? target : fresh("new"), AT_SYMLINK_FOLLOW),
	   "linkat");
	done();
}

TECHNIQUE("access-list")	/* an ACL that lets everybody in */
{
	static const unsigned char everybody[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 7, 0, 255, 255, 255, 255,
						  32, 0, 0, 0, 255, 255, 255, 255};

	ok(setxattr(given("target"), "system.posix_acl_access", everybody, sizeof(everybody), 0), "setxattr");
	done();
}

TECHNIQUE("attribute-flags")	/* chattr +d through a descriptor that only reads; how=xattr: the newer call */
{
	int fd = held(O_RDONLY), flags;
	struct fsxattr attributes;

	if (is("how", "xattr")) {
		ok(ioctl(fd, FS_IOC_FSGETXATTR, &attributes), "FS_IOC_FSGETXATTR");
		attributes.fsx_xflags |= FS_XFLAG_NODUMP;
		ok(ioctl(fd, FS_IOC_FSSETXATTR, &attributes), "FS_IOC_FSSETXATTR");
	} else {
		ok(ioctl(fd, FS_IOC_GETFLAGS, &flags), "FS_IOC_GETFLAGS");
		flags |= FS_NODUMP_FL;
		ok(ioctl(fd, FS_IOC_SETFLAGS, &flags), "FS_IOC_SETFLAGS");
	}
	done();
}

TECHNIQUE("xattr-at")		/* the call of Linux 6.13 */
{
	struct {
		uint64_t value;
		uint32_t size, flags;
	} arguments = {(uintptr_t)given("token"), 4, 0};

	ok(syscall(SYS_setxattrat, AT_FDCWD, given("target"), 0, "user.drill", &arguments, sizeof(arguments)), "setxattrat");
	done();
}

TECHNIQUE("mmap-write")		/* a shared mapping */
{
	int fd = held(O_RDWR);
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED)
		failed("mmap");
	memcpy(page, given("token"), strlen(given("token")));
	ok(msync(page, 4096, MS_SYNC), "msync");
	done();
}

TECHNIQUE("splice-into")
{
	int fds[2];

	ok(pipe(fds), "pipe");
	ok(write(fds[1], given("token"), strlen(given("token"))), "write to a pipe");
	ok(splice(fds[0], NULL, held(O_WRONLY), NULL, 8, 0), "splice");
	done();
}

TECHNIQUE("vmsplice-into")	/* pages of ours, through a pipe */
{
	struct iovec piece = {(void *)given("token"), strlen(given("token"))};
	int fds[2], second[2];

	ok(pipe(fds), "pipe");
	ok(pipe(second), "pipe");
	ok(vmsplice(fds[1], &piece, 1, 0), "vmsplice");
	ok(tee(fds[0], second[1], piece.iov_len, 0), "tee");
	ok(splice(second[0], NULL, held(O_WRONLY), NULL, piece.iov_len, 0), "splice");
	done();
}

TECHNIQUE("open-for-io")	/* O_RDONLY with a lease and O_DIRECT, then read: other flags, the same hook */
{
	char *page = aligned_alloc(4096, 4096);
	int fd = held(O_RDONLY | O_DIRECT | O_NOATIME);
	ssize_t size = ok(read(fd, page, 4096), "read");

	show_bytes(page, size);
	done();
}

TECHNIQUE("accounting")		/* acct(2): the kernel itself writes to the file, in a pid namespace of our own */
{
	pid_t child;

	ok(unshare(CLONE_NEWPID), "unshare(CLONE_NEWPID)");
	child = ok(fork(), "fork");
	if (!child) {
		int status;

		ok(acct(given("target")), "acct");
		if (!fork())
			_exit(0);
		wait(&status);
		ok(acct(NULL), "acct off");
		done();
	}
	become(child);
}

TECHNIQUE("read-by")		/* how=: mmap, pread, preadv2, sendfile, splice, copy_file_range, tee, io of an opened file */
{
	const char *how = given("how");
	int fd = held(O_RDONLY), fds[2];
	char bytes[4096];
	ssize_t size = 0;

	ok(pipe(fds), "pipe");
	if (!strcmp(how, "mmap")) {
		char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

		if (page == MAP_FAILED)
			failed("mmap");
		show_bytes(page, strnlen(page, 4096));
	} else if (!strcmp(how, "preadv2")) {
		struct iovec piece = {bytes, sizeof(bytes)};

		size = ok(preadv2(fd, &piece, 1, 0, 0), "preadv2");
	} else if (!strcmp(how, "sendfile")) {
		ok(sendfile(fds[1], fd, NULL, 4096), "sendfile");
		size = ok(read(fds[0], bytes, sizeof(bytes)), "read from a pipe");
	} else if (!strcmp(how, "splice")) {
		ok(splice(fd, NULL, fds[1], NULL, 4096, 0), "splice");
		size = ok(read(fds[0], bytes, sizeof(bytes)), "read from a pipe");
	} else if (!strcmp(how, "copy_file_range")) {
		int copy = ok(open(scratch("copy"), O_RDWR | O_CREAT, 0600), "open a copy");

		ok(copy_file_range(fd, NULL, copy, NULL, 4096, 0), "copy_file_range");
		size = ok(pread(copy, bytes, sizeof(bytes), 0), "read the copy");
	} else if (!strcmp(how, "dup")) {
		size = ok(pread(dup(dup(fd)), bytes, sizeof(bytes), 0), "pread");
	} else if (!strcmp(how, "reflink")) {
		int copy = ok(open(scratch("copy"), O_RDWR | O_CREAT, 0600), "open a copy");

		ok(ioctl(copy, FICLONE, fd), "FICLONE");
		size = ok(pread(copy, bytes, sizeof(bytes), 0), "read the copy");
	} else {
		broken("how=%s is not known", how);
	}
	show_bytes(bytes, size);
	done();
}
