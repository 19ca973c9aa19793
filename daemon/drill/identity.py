"""H5, H6, H8: handles, borrowed identity, lineage. What is tried on a checkpoint is tried on one of the drill's own."""

from __future__ import annotations

from typing import Iterator

from .attempt import Attempt, row
from .files import FILE_CHANGES
from .network import LO4, LO6, MPTCP, TCP, UDP

CHECKPOINT, PROGRAM, LIBRARY = "checkpoint={checkpoint}", "program={attempt}", "library={library}"
USERNS = "user namespaces for everybody"
# of FILE_CHANGES, what would replace or rewrite the checkpoint's program
REWRITES = frozenset({"truncate", "open-truncate", "chmod", "chown", "setxattr", "unlink", "rename-over", "rename-away",
                      "swap", "symlink-over", "fallocate", "copy-file-range", "sendfile-into", "splice-into",
                      "mmap-write", "attribute-flags", "utimes"})


def handles() -> Iterator[Attempt]:
    """Yield H5: what the checkpoint opened, or what is older than the rules."""
    held = (("file", "read", (), "{file}"), ("tcp", "connect", (LO4, TCP), ""), ("udp", "send", (LO4, UDP), ""),
            ("unix", "connect", (), "{stream}"))
    for what, goal, words, target in held:
        is_net = what in ("tcp", "udp")
        yield row("H5", "passed", "passed", goal, f"the checkpoint's {what}, by SCM_RIGHTS", CHECKPOINT, f"what={what}",
                  *words, variant=what, target=target, is_silent=is_net)
        yield row("H5", "passed", "taken", goal, f"the checkpoint's {what}, by pidfd_getfd", CHECKPOINT, f"what={what}",
                  *words, variant=what, target=target, is_silent=is_net, who="both" if what == "file" else "user")
        yield row("H5", "passed", "inherited", goal, f"the checkpoint's {what}, over an exec", CHECKPOINT, PROGRAM,
                  f"what={what}", *words, variant=what, target=target, is_silent=is_net)
        yield row("H5", "older", "older", goal, f"a {what} opened before the rules", f"what={what}", *words,
                  variant=what,
                  target=target, starts="before", is_silent=is_net)
    for variant, what, goal, words, target, needs in (
            ("tcp6", "tcp", "connect", (LO6, TCP), "", ""),
            ("tcp-mapped", "tcp", "connect", ("address=::ffff:127.0.0.1", TCP), "", ""),
            ("mptcp", "tcp", "connect", (LO4, TCP, f"protocol={MPTCP}"), "", "MPTCP"),
            ("udp6", "udp", "send", (LO6, UDP), "", ""), ("abstract", "unix", "connect", (), "{abstract}", ""),
            ("seqpacket", "unix", "connect", ("type=5",), "{seqpacket}", ""),
            ("dgram", "dgram", "send", ("type=2",), "{dgram}", "")):
        yield row("H5", "passed", "passed", goal, f"the checkpoint's {variant}, by SCM_RIGHTS", CHECKPOINT,
                  f"what={what}", *words, variant=variant, target=target, is_silent=True, needs=needs)
    yield row("H5", "passed", "dnat-passed", "send", "a socket from which the checkpoint sent, to where NAT leads",
              CHECKPOINT, "what=udp-sent", LO4, UDP, "from=198.18.78.9", who="root", target="", is_silent=True,
              needs="nf_tables with NAT")
    for variant, address in (("tcp", LO4), ("tcp6", LO6)):
        yield row("H5", "older", "older-subscription", "connect", "what a server sends on to an older connection",
                  address, TCP, variant=variant, target="", starts="before", is_silent=True)
    yield row("H5", "older", "older", "write", "a file opened for writing before the rules", "what=file",
              variant="file",
              starts="before")
    yield row("H5", "older", "older", "connect", "an IPv6 connection older than the rules", "what=tcp", "address=::1",
              TCP,
              variant="tcp6", target="", starts="before", is_silent=True)
    yield row("H5", "older", "older", "send", "a datagram socket connected before the rules", "what=dgram",
              variant="dgram", target="{dgram}", starts="before")
    for what in ("directory", "path"):
        for goal in ("read", "write"):
            yield row("H5", "older", "older", goal, f"an O_PATH {what} older than the rules", f"what={what}",
                      variant=what, starts="before")
    yield row("H5", "passed", "passed-path", "read", "an O_PATH descriptor by SCM_RIGHTS", CHECKPOINT)
    yield row("H5", "passed", "opened-again", "read", "/proc/PID/fd of the checkpoint", CHECKPOINT, who="both")
    yield row("H5", "passed", "notified", "read", "the descriptor of a fanotify event", CHECKPOINT, who="root",
              needs="fanotify")
    for name, goal, title, who, needs in (
            ("older-mapping", "read", "a mapping older than the rules", "user", ""),
            ("older-mapping", "write", "a writable mapping older than the rules", "user", ""),
            ("map-files", "read", "/proc/PID/map_files of an older mapping", "root", ""),
            ("older-link", "read", "a hard link older than the rules", "user", ""),
            ("older-link", "write", "a hard link older than the rules", "user", ""),
            ("older-bind", "read", "a bind mount older than the rules", "root", ""),
            ("older-tree", "read", "a detached mount older than the rules", "root", ""),
            ("older-overlay", "read", "an overlay older than the rules", "root", "overlayfs"),
            ("older-connection-passed", "read", "a descriptor that is older, passed later", "user", ""),
            ("older-in-flight", "read", "a descriptor that lay in a socket meanwhile", "user", ""),
            ("older-ring", "read", "a file registered with a ring before the rules", "user", "io_uring"),
            ("ring-message", "read", "a registered file, handed to another ring", "user", "io_uring, 6.0")):
        yield row("H5", "older", name, goal, title, who=who, starts="before", needs=needs)
    yield row("H5", "older", "older-link", "read", "a hard link into a tree, older than the rules", variant="tree",
              target="{in_tree}", starts="before")
    yield row("H5", "older", "older-ring", "read", "the same, installed as a descriptor", "then=install",
              variant="install", starts="before", needs="io_uring, 6.8")
    for name in ("older-bind", "older-tree", "older-overlay"):
        yield row("H5", "older", name, "read", f"{name.replace('-', ' ')}, in a user namespace", "via=userns",
                  variant="userns", starts="before", needs=USERNS)


def identity() -> Iterator[Attempt]:
    """Yield H6: to be taken for the checkpoint, or to act from within."""
    for goal in ("read", "write"):
        yield row("H6", "names", "spoofed-name", goal, f"{goal} a file under the checkpoint's name and argv",
                  CHECKPOINT)
        yield row("H6", "copies", "copied", goal, f"{goal} a file with a copy of the checkpoint", CHECKPOINT)
        yield row("H6", "copies", "copied", goal, f"{goal} a file with a copy of it in memory", CHECKPOINT, "in=memfd",
                  variant="memfd")
        yield row("H6", "loader", "loader", goal, f"{goal} a file with the checkpoint run by ld.so", CHECKPOINT)
    for name, title in (("preload", "LD_PRELOAD"), ("audit-library", "LD_AUDIT"), ("library-path", "LD_LIBRARY_PATH"),
                        ("plugin", "a library that it is told to load")):
        yield row("H6", "libraries", name, "read", f"read a file from within the checkpoint: {title}", CHECKPOINT,
                  LIBRARY, who="both")
    yield row("H6", "libraries", "bound-library", "read", "a library bound over the system's", CHECKPOINT, LIBRARY,
              who="root")
    yield row("H6", "libraries", "bound-library", "read", "a library bound over the system's, userns", CHECKPOINT,
              LIBRARY, "via=userns", variant="userns", needs=USERNS)
    for source in ("anonymous", "file", "memfd"):
        for way in ("mmap", "mprotect"):
            yield row("H6", "foreign code", "alien-code", "read", f"the checkpoint runs code from {source}, by {way}",
                      CHECKPOINT, f"from={source}", f"by={way}", variant=f"{source}-{way}")
    for way in ("process_vm", "proc", "ptrace"):
        yield row("H6", "memory", "memory-read", "read", f"what the checkpoint has read, by {way}", CHECKPOINT,
                  f"by={way}", variant=way, who="both")
    for way in ("process_vm", "proc"):
        yield row("H6", "memory", "memory-write", "act", f"change the checkpoint's memory, by {way}", CHECKPOINT,
                  f"by={way}", variant=way, who="both", target="{file}")
    for way in ("attach", "seize", "traceme"):
        yield row("H6", "debugger", "debugger", "read", f"the checkpoint reads at a debugger's command: {way}",
                  CHECKPOINT, f"by={way}", variant=way, who="both")
    yield row("H6", "memory", "code-write", "read", "code written through /proc/PID/mem", CHECKPOINT, who="both")
    yield row("H6", "memory", "core-dump", "read", "a core dump of the checkpoint", CHECKPOINT, needs="dumps in files")
    yield row("H6", "names", "spoofed-exe", "read", "PR_SET_MM_EXE_FILE", CHECKPOINT, "when=now", who="root")
    yield row("H6", "names", "spoofed-exe", "read", "PR_SET_MM_EXE_FILE before the rules", CHECKPOINT, "when=before",
              who="root", variant="older", starts="before")
    for when, starts in (("now", "now"), ("before", "before")):
        yield row("H6", "names", "spoofed-exe", "read", f"PR_SET_MM_MAP in a user namespace, {when} the rules",
                  CHECKPOINT, "via=userns", f"when={when}", variant=f"userns-{when}", starts=starts, needs=USERNS)
    for technique, who, words, title in FILE_CHANGES:
        if technique in REWRITES and not any("how=" in word for word in words):
            yield row("H6", "replaced", technique, "write", f"change the checkpoint's program: {title}", *words,
                      who=who,
                      variant="checkpoint", target="{own}")
    yield row("H6", "replaced", "plain", "write", "change the checkpoint's program: append", who="both",
              variant="checkpoint", target="{own}")
    yield row("H6", "replaced", "rename-ancestor", "write", "move the checkpoint's directory away", target="{own}",
              variant="checkpoint")


def lineage() -> Iterator[Attempt]:
    """Yield H8: descent, and those who start things for others."""
    for how in ("exec", "fork", "vfork", "daemon"):
        for goal in ("read", "write"):
            yield row("H8", "descent", "child", goal, f"a child of the checkpoint: {how}", CHECKPOINT, PROGRAM,
                      f"how={how}", variant=how)
    for how, who in (("subreaper", "user"), ("session", "user"), ("pid-namespace", "root")):
        yield row("H8", "descent", "re-parented", "read", f"hung elsewhere: {how}", f"how={how}", variant=how, who=who)
    for how, needs in (("systemd-run", "systemd"), ("dbus", "systemd"), ("at", "at"), ("cron", "cron")):
        yield row("H8", "brokers", "broker", "read", f"the bastion's child asks {how}", "checkpoint={bastion}", PROGRAM,
                  f"how={how}", variant=how, who="root", needs=needs, lab_only=how == "cron",
                  timeout_s=150.0 if how == "cron" else 25.0)
    for knob in ("core_pattern", "modprobe", "uevent_helper"):
        yield row("H8", "kernel helpers", "kernel-helper", "read", f"the kernel starts it: {knob}", PROGRAM,
                  f"knob={knob}", variant=knob, who="root", lab_only=True)
    yield row("H8", "kernel helpers", "release-agent", "read", "the kernel starts it: release_agent", PROGRAM,
              who="root",
              lab_only=True, needs="cgroup v1")
    yield from knobs()


def knobs() -> Iterator[Attempt]:
    """Yield the ways to a knob of the kernel, which is opened for writing and left as it is."""
    def knob(technique: str, title: str, *words: str, target: str = "{knob}", variant: str = "", needs: str = "",
             lab_only: bool = False) -> Attempt:
        return row("H8", "knobs", technique, "act", f"open a knob for writing: {title}", *words, who="root",
                   variant="-".join(part for part in ("knob", variant) if part), target=target, needs=needs,
                   lab_only=lab_only)
    for technique, title in (
            ("plain", "by its path"), ("symlink", "through a symbolic link"), ("proc-self-root", "by /proc/self/root"),
            ("proc-pid-root", "by /proc/PID/root"), ("proc-cwd", "by /proc/self/cwd"), ("relative", "by dots"),
            ("o-path", "by the link of an O_PATH descriptor"), ("directory-fd", "from its directory"),
            ("chroot", "from a changed root"), ("mount-namespace", "in other mounts"),
            ("bind-mount", "through a bind mount of its directory"), ("bind-file", "through a bind mount of itself"),
            ("rbind-root", "through a copy of all mounts"), ("open-tree", "in a detached copy of the mount"),
            ("pivot-root", "after pivot_root"), ("foreign-root", "by the root of a process with other mounts"),
            ("handle", "with open_by_handle_at")):
        yield knob(technique, title)
    for technique, title in (("mount-namespace", "in a user namespace"), ("bind-mount", "bound, in a user namespace")):
        yield knob(technique, title, "via=userns", variant="userns", needs=USERNS)
    for mode in ("plain", "async", "poll"):
        yield knob("uring-open", f"by io_uring, {mode}", "call=openat2", f"mode={mode}", variant=mode, needs="io_uring")
    yield knob("second-mount", "on a procfs of another pid namespace", "type=proc", "at=/proc")
    yield knob("second-mount", "the same in a user namespace", "type=proc", "at=/proc", "via=userns", variant="userns",
               needs=USERNS)
    yield knob("plain", "on sysfs", target="{sysfs_knob}", variant="sysfs")
    yield knob("second-mount", "on another mount of sysfs", "type=sysfs", "at=/sys", target="{sysfs_knob}",
               variant="sysfs")
    for way in ("mount", "fsconfig"):
        yield knob("release-agent-option", f"release_agent as an option of {way}", f"by={way}", "declared={agent}",
                   target="", variant=way, needs="cgroup v1")


def all_identity() -> Iterator[Attempt]:
    """Yield all of this file."""
    for part in (handles, identity, lineage):
        yield from part()
