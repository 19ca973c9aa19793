"""H1, H2, H3, H7, H9: files, trees and programs, by other names, other calls, other ABIs, other mounts."""

from __future__ import annotations

from typing import Iterator

from .attempt import Attempt, many, row

PATHS = ("read", "write", "exec", "connect", "tree", "tree-write")      # what takes a path
FILES = ("read", "write", "exec", "tree", "tree-write")                 # what ends in a descriptor
DATA = ("read", "write", "tree")

IN_ROOT, BENEATH, NO_SYMLINKS, NO_MAGIC, NO_XDEV, CACHED = 0x10, 0x08, 0x04, 0x02, 0x01, 0x20

# technique, words, goals, as whom, variant, title
ALIASES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str, str, str], ...] = (
    ("plain", (), (*PATHS, "send"), "both", "", "by its path"),
    ("symlink", (), (*PATHS, "send"), "both", "", "through a symbolic link"),
    ("symlink-chain", (), PATHS, "user", "", "through thirty-one symbolic links"),
    ("hard-link", (), (*PATHS, "send"), "both", "", "through a new hard link"),
    ("hard-link-by-fd", (), PATHS, "user", "", "through a hard link to a descriptor"),
    ("rename", (), (*PATHS, "send"), "both", "", "after renaming it"),
    ("rename-ancestor", (), PATHS, "user", "", "after renaming the directory above"),
    ("exchange", (), (*PATHS, "send"), "user", "", "after exchanging it for a file of ours"),
    ("exchange-ancestor", (), PATHS, "user", "", "after exchanging the directory above"),
    ("proc-self-root", (), PATHS, "user", "", "through /proc/self/root"),
    ("proc-pid-root", (), DATA, "user", "", "through /proc/PID/root of another process"),
    ("proc-cwd", (), PATHS, "user", "", "through /proc/self/cwd"),
    ("thread-self", (), DATA, "user", "", "through /proc/thread-self/root twice"),
    ("o-path", (), (*PATHS, "send"), "both", "", "through an O_PATH descriptor's link in /proc"),
    ("dev-fd", (), DATA, "user", "", "through /dev/fd"),
    ("proc-pid-fd", (), DATA, "user", "", "through the descriptor of another process"),
    ("directory-fd", (), FILES, "user", "", "relative to a descriptor of its directory"),
    ("fchdir", (), PATHS, "user", "", "by its last name, from its directory"),
    ("relative", (), PATHS, "user", "", "by a path of dots and slashes"),
    ("long-path", (), ("read", "exec"), "user", "", "by a path of 4,095 characters"),
    ("openat2", (f"resolve={IN_ROOT}",), FILES, "user", "in-root", "with openat2 RESOLVE_IN_ROOT"),
    ("openat2", (f"resolve={BENEATH}",), DATA, "user", "beneath", "with openat2 RESOLVE_BENEATH"),
    ("openat2", (f"resolve={NO_SYMLINKS | NO_MAGIC}",), ("read",), "user", "no-links", "with openat2, no links"),
    ("handle", (), FILES, "root", "", "with open_by_handle_at"),
    ("handle", ("as=fresh",), ("read", "tree"), "root", "fresh", "with open_by_handle_at, its directory forgotten"),
    ("chroot", (), PATHS[:3], "root", "", "from a changed root"),
    ("chroot", ("via=userns",), PATHS[:3], "user", "userns", "from a changed root in a user namespace"),
)

# technique, words, goals, title; each as root, and as anybody in a user namespace where `userns` is set
MOUNTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], bool, str, str], ...] = (
    ("mount-namespace", (), ("read", "exec"), True, "", "in other mounts"),
    ("bind-mount", (), PATHS, True, "", "through a bind mount of its directory"),
    ("bind-file", (), PATHS[:4], True, "", "through a bind mount of itself"),
    ("rbind-root", (), DATA, True, "", "through a second copy of all mounts"),
    ("move-mount", (), DATA, True, "", "through a mount that was moved"),
    ("open-tree", (), FILES, True, "", "in a detached copy of the mount"),
    ("open-tree", ("attach=1",), DATA, True, "attached", "in a copy of the mount, attached elsewhere"),
    ("remount", ("device={device}", "mounted={mounted}"), FILES, False, "", "in its file system, mounted once more"),
    ("fsmount", ("device={device}", "mounted={mounted}"), FILES, False, "", "in its file system, by fsmount"),
    ("second-loop", ("image={image}", "mounted={mounted}"), ("read", "tree"), False, "",
     "on another loop device over the same bytes"),
    ("overlay", (), ("read", "exec", "tree"), True, "", "through an overlay above its directory"),
    ("overlay-upper", (), ("read", "write"), False, "", "as the upper layer of an overlay"),
    ("overlay-over", (), ("read", "exec", "tree"), True, "", "through an overlay mounted over its directory"),
    ("pivot-root", (), DATA, True, "", "after pivot_root"),
    ("idmapped", (), ("read", "tree"), False, "", "through an id-mapped mount"),
    ("enter-namespace", (), ("read", "tree"), False, "", "after setns into other mounts"),
    ("foreign-root", (), ("read", "tree"), True, "", "through /proc/PID/root of a process with other mounts"),
)

# technique, who, words, title: each changes {file}
FILE_CHANGES: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("truncate", "both", (), "truncate"), ("open-truncate", "user", (), "open with O_TRUNC"),
    ("ftruncate", "user", (), "ftruncate"), ("chmod", "both", (), "chmod"), ("fchmod", "user", (), "fchmod"),
    ("fchmodat2", "user", (), "fchmodat2 of an O_PATH descriptor"),
    ("chmod-o-path", "user", (), "chmod of an O_PATH descriptor's link"),
    ("chown", "both", ("uid={uid}", "gid={gid}"), "chown"), ("lchown", "user", ("uid={uid}", "gid={gid}"), "lchown"),
    ("fchownat", "user", ("uid={uid}", "gid={gid}"), "fchownat of an O_PATH descriptor"),
    ("utimes", "both", (), "utimensat"), ("futimens", "user", (), "futimens of a descriptor that reads"),
    ("setxattr", "both", (), "setxattr"), ("lsetxattr", "user", (), "lsetxattr"),
    ("fsetxattr", "user", (), "fsetxattr of a descriptor that reads"), ("xattr-at", "user", (), "setxattrat"),
    ("removexattr", "user", (), "removexattr"), ("trusted-xattr", "root", (), "setxattr of trusted.*"),
    ("access-list", "user", (), "an access control list"), ("unlink", "both", (), "unlink"),
    ("unlinkat", "user", (), "unlinkat"), ("rename-over", "both", (), "rename over it"),
    ("rename-away", "both", (), "rename it away"), ("swap", "user", (), "exchange it"),
    ("whiteout", "root", (), "rename with a whiteout"), ("symlink-over", "user", (), "a symbolic link renamed over it"),
    ("tmpfile-linked", "user", ("over=1",), "a nameless file linked in its place"),
    ("fallocate", "user", (), "punch a hole"), ("copy-file-range", "user", (), "copy_file_range into it"),
    ("sendfile-into", "user", (), "sendfile into it"), ("reflink", "user", (), "share another file's blocks"),
    ("reflink-range", "user", (), "share a range of blocks"),
    ("splice-into", "user", (), "splice into it"), ("vmsplice-into", "user", (), "vmsplice, tee and splice into it"),
    ("mmap-write", "both", (), "a shared writable mapping"),
    ("attribute-flags", "user", (), "chattr through a descriptor that reads"),
    ("attribute-flags", "user", ("how=xattr",), "FS_IOC_FSSETXATTR through a descriptor that reads"),
    ("accounting", "root", (), "process accounting writes to it"),
)

# each changes {tree}
TREE_CHANGES: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("create-in-tree", "both", (), "create a file"), ("mkdir-in-tree", "both", (), "make a directory"),
    ("fifo-in-tree", "user", (), "make a FIFO"), ("device-in-tree", "root", (), "make a device node"),
    ("socket-in-tree", "user", (), "bind a socket"), ("symlink-in-tree", "user", (), "make a symbolic link"),
    ("link-into-tree", "both", (), "link a file of ours into it"),
    ("move-into-tree", "both", (), "rename a file of ours into it"),
    ("rmdir-in-tree", "both", (), "remove a directory"),
    ("tmpfile-linked", "user", (), "link a nameless file of ours into it"),
    ("tmpfile-linked", "user", ("inside=1",), "link a nameless file made there into it"),
    ("chmod", "user", (), "chmod of the tree itself"), ("setxattr", "user", (), "setxattr of the tree itself"),
    ("rename-away", "user", (), "rename the tree itself"),
)

READS = ("mmap", "preadv2", "sendfile", "splice", "copy_file_range", "dup", "reflink")
INT80_FILES = (("open", "read"), ("open", "write"), ("openat", "read"), ("openat", "write"), ("openat2", "read"),
               ("openat2", "write"), ("creat", "write"), ("link", "write"), ("unlink", "write"), ("rename", "write"),
               ("chmod", "write"), ("truncate", "write"), ("execve", "exec"), ("execveat", "exec"))


def names() -> Iterator[Attempt]:
    """Yield H1: the target under other names, and every way of changing it."""
    for technique, words, goals, who, variant, title in ALIASES:
        yield from many("H1", "names", technique, goals, title, *words, who=who, variant=variant)
    for technique, who, title in (("plain", "both", "by its path"), ("symlink", "user", "through a symbolic link"),
                                  ("exec-descriptor", "user", "by execveat of a descriptor")):
        yield row("H1", "names", technique, "exec", f"execute a program in a tree {title}", who=who, variant="tree",
                  target="{tool_in_tree}")
    for technique, words, goals, has_userns, variant, title in MOUNTS:
        yield from many("H1", "mounts", technique, goals, title, *words, who="root", variant=variant,
                        needs="a loop device" if any("{device}" in word for word in words) else "")
        if has_userns:
            yield from many("H1", "mounts", technique, goals, f"{title}, in a user namespace", *words, "via=userns",
                            variant=f"{variant}-userns".strip("-"), needs="user namespaces for everybody")
    for technique, who, words, title in FILE_CHANGES:
        yield row("H1", "changes", technique, "write", f"change a file: {title}", *words, who=who,
                  variant="-".join(word.replace("=", "-") for word in words if "{" not in word))
    for technique, who, words, title in TREE_CHANGES:
        yield row("H1", "changes", technique, "write", f"change a tree: {title}", *words, who=who, target="{tree}",
                  variant="-".join(["tree", *(word.replace("=", "-") for word in words)]))
    for how in READS:
        yield row("H1", "reads", "read-by", "read", f"read a file: open, then {how}", f"how={how}", variant=how)
    yield row("H1", "reads", "open-for-io", "read", "read a file: O_DIRECT and O_NOATIME")
    yield from devices()


def devices() -> Iterator[Attempt]:
    """Yield the ways below the file system."""
    device, mark = "device={device}", "mark={mark}"
    for title, *words in (("by its own name", "by=name"), ("without the page cache", "by=name", "how=direct"),
                          ("by a node of ours", "by=mknod")):
        yield row("H1", "devices", "block-device", "read", f"read a file on the block device {title}", device, mark,
                  *words, who="root", variant="-".join(words).replace("=", "-"), needs="a loop device")
    yield row("H1", "devices", "dev-block", "read", "read a file on the block device, by its number", mark, who="root",
              needs="a loop device, udev")
    yield row("H1", "devices", "backing-file", "read", "read a file in the image below the loop device", mark,
              "image={image}", who="root", needs="a loop device")
    yield row("H1", "devices", "block-write", "act", "change a file on the block device", device, mark, who="root",
              target="{file}", needs="a loop device")


def submissions() -> Iterator[Attempt]:
    """Yield H2: io_uring and aio."""
    needs = "io_uring"
    for mode in ("plain", "async", "poll"):
        for call in ("openat", "openat2"):
            yield from many("H2", "io_uring", "uring-open", ("read", "write", "tree"), f"with io_uring {call}, {mode}",
                            f"call={call}", f"mode={mode}", variant=f"{call}-{mode}", needs=needs)
        for how in ("plain", "fixed", "vector"):
            yield from many("H2", "io_uring", "uring-only", ("read", "write"),
                            f"without a descriptor, io_uring, {mode}, {how}", f"mode={mode}", f"how={how}",
                            variant=f"{how}-{mode}", needs=needs)
        yield row("H2", "io_uring", "uring-splice", "read", f"read a file: io_uring open and splice, {mode}",
                  f"mode={mode}", variant=mode, needs=needs)
    for how in ("unlink", "rename", "rename-over", "link", "xattr", "fallocate", "truncate"):
        yield row("H2", "io_uring", "uring-change", "write", f"change a file: io_uring {how}", f"how={how}",
                  variant=how, needs=needs)
    for how in ("symlink", "mkdir"):
        yield row("H2", "io_uring", "uring-change", "write", f"change a tree: io_uring {how}", f"how={how}",
                  variant=how, target="{tree}", needs=needs)
    for how in ("rename", "link"):
        yield row("H2", "io_uring", "uring-change", "read", f"read a file after io_uring {how}", f"how={how}",
                  variant=how, needs=needs)
    yield from many("H2", "aio", "aio", ("read", "write", "tree"), "with io_submit", needs="aio")


def abis() -> Iterator[Attempt]:
    """Yield H3: 32-bit calls and x32 on files."""
    for call, goal in INT80_FILES:
        yield row("H3", "int80", "int80", goal, f"{goal} by int 0x80 {call}", f"call={call}", variant=call,
                  needs="32-bit system calls")
    yield row("H3", "int80", "int80", "write", "make a directory in a tree by int 0x80 mkdir", "call=mkdir",
              variant="mkdir", target="{tree}", needs="32-bit system calls")
    for call, goal in (("open", "read"), ("open", "write"), ("openat", "read"), ("execve", "exec")):
        yield row("H3", "x32", "x32", goal, f"{goal} by x32 {call}", f"call={call}", variant=call, needs="x32")


def code() -> Iterator[Attempt]:
    """Yield H7: a program run without executing its file."""
    for how in ("read", "sendfile", "splice", "mmap"):
        for technique, title in (("memfd-copy", "from a copy in memory"), ("file-copy", "from a copy")):
            yield row("H7", "copies", technique, "exec", f"execute a program {title}, made by {how}", f"how={how}",
                      variant=how)
    for flags in ("path", "read"):
        yield row("H7", "calls", "exec-descriptor", "exec", f"execveat of a descriptor, opened with {flags}",
                  f"flags={flags}", variant=flags)
    for technique, title in (("exec-proc-fd", "through /proc/self/fd"), ("exec-loader", "by ld.so"),
                             ("exec-as-interpreter", "as the interpreter of a script of ours"),
                             ("exec-mapped", "by mapping it executable"), ("uselib", "by uselib")):
        yield row("H7", "calls", technique, "exec", f"execute a program {title}", "mark={mark}")
    for how in ("posix_spawn", "vfork", "clone", "thread"):
        yield row("H7", "calls", "exec-spawn", "exec", f"execute a program by {how}", f"how={how}", variant=how)
    for name in ("sh", "source", "pipe", "python3", "perl"):
        yield row("H7", "interpreters", "exec-interpreter", "exec", f"run a script by its interpreter: {name}",
                  f"with={name}", variant=name, target="{script}")
    for flags in ("", "F"):
        yield row("H7", "interpreters", "exec-binfmt", "exec", "execute a program as the interpreter of a format",
                  "via=userns", f"flags={flags}", variant=flags, needs="binfmt_misc in user namespaces, since 6.7")


def namespaces() -> Iterator[Attempt]:
    """Yield H9: the checkpoint's path leads to a program of ours, or the target's to a file of ours."""
    for name, title in (("fake-checkpoint-bound", "bound over the checkpoint"),
                        ("fake-checkpoint-tmpfs", "in a file system over the checkpoint's directory"),
                        ("fake-checkpoint-overlay", "in an overlay over the checkpoint's directory"),
                        ("fake-checkpoint-chroot", "in another root, under the checkpoint's path")):
        for goal in ("read", "write"):
            yield row("H9", "fake checkpoint", name, goal, f"{goal} a file with a program of ours {title}",
                      "checkpoint={own}", who="root")
            yield row("H9", "fake checkpoint", name, goal, f"{goal} a file with a program of ours {title}, userns",
                      "checkpoint={own}", "via=userns", variant="userns", needs="user namespaces for everybody")
    places: tuple[tuple[str, str, tuple[str, ...]], ...] = (("", "root", ()), ("userns", "user", ("via=userns",)))
    for variant, who, words in places:
        yield row("H9", "mounts", "mount-below", "read", "a file system of ours mounted in a tree", "secret={secret}",
                  *words, who=who, variant=variant, target="{tree}",
                  needs="user namespaces for everybody" if words else "")
        yield row("H9", "fake target", "fake-target", "act", "another file over the target, for the checkpoint to read",
                  "checkpoint={checkpoint}", *words, who=who, variant=variant, target="{file}")


def all_files() -> Iterator[Attempt]:
    """Yield all of this file."""
    for part in (names, submissions, abis, code, namespaces):
        yield from part()
