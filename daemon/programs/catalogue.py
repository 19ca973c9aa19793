"""One row a hook: where it attaches, which channels it sees, and in which tiers.

The order is the order of attaching: what keeps the stamps first, what denies last.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..abi import Channel

TRAMPOLINE_TIERS = ("lsm", "fmod_ret")
ALL_TIERS = ("lsm", "fmod_ret", "socket")

# enum bpf_attach_type and enum bpf_prog_type of include/uapi/linux/bpf.h
CGROUP_INET_INGRESS, CGROUP_INET_EGRESS, CGROUP_SETSOCKOPT = 0, 1, 22
CGROUP_INET4_CONNECT, CGROUP_INET6_CONNECT = 10, 11
CGROUP_UDP4_SENDMSG, CGROUP_UDP6_SENDMSG, CGROUP_UNIX_CONNECT, CGROUP_UNIX_SENDMSG = 14, 15, 49, 50
PROG_SCHED_CLS, PROG_CGROUP_SKB, PROG_RAW_TRACEPOINT = 3, 8, 17
PROG_CGROUP_SOCK_ADDR, PROG_CGROUP_SOCKOPT, PROG_TRACING, PROG_LSM = 18, 25, 26, 29


@dataclass(frozen=True)
class Hook:
    """A program of bpf/ and the place it attaches to."""

    name: str                   # the kernel's hook, tracepoint or cgroup hook
    kind: str                   # lsm | function | tracepoint | cgroup | interface | resolver
    file: str
    channels: tuple[Channel, ...]
    tiers: tuple[str, ...] = ALL_TIERS
    security_function: str = ""     # for fmod_ret, and for the order of arguments
    attach_type: int = 0
    is_required: bool = False       # without it nothing is enforced: the load fails
    since: str = ""                 # what the kernel is asked for, where not every supported kernel has the hook

    def program(self, tier: str) -> str:
        """Return the name of the C function in this tier."""
        if self.kind == "function":
            return f"kmod_ret__{self.security_function}"
        if self.kind in ("lsm", "resolver"):
            return f"lsm__{self.name}" if tier == "lsm" else f"kmod_ret__{self.security_function}"
        return f"raw_tracepoint__{self.name}" if self.kind == "tracepoint" else self.name

    def btf_function(self, tier: str) -> str:
        """Return the kernel function whose prototype tells the order of the arguments."""
        name = self.name.removesuffix("_again")
        return f"bpf_lsm_{name}" if tier == "lsm" and self.kind != "function" else self.security_function


def _tracepoint(name: str, is_required: bool = False) -> Hook:
    return Hook(name, "tracepoint", "lineage.c", (), is_required=is_required)


def _lsm(name: str, file: str, *channels: Channel, is_required: bool = False, is_newer: bool = False) -> Hook:
    return Hook(name, "lsm", file, channels, TRAMPOLINE_TIERS, f"security_{name}", is_required=is_required,
                since=f"bpf_lsm_{name}" if is_newer else "")


def _cgroup(name: str, file: str, attach_type: int, channel: Channel, tiers: tuple[str, ...] = ALL_TIERS,
            since: str = "", is_required: bool = True) -> Hook:
    return Hook(name, "cgroup", file, (channel,), tiers, attach_type=attach_type, since=since,
                is_required=is_required and not since)


HOOKS: tuple[Hook, ...] = (
    _tracepoint("sched_process_exit", True),
    _tracepoint("sched_process_fork", True),
    _tracepoint("sched_process_exec", True),
    _tracepoint("cgroup_mkdir"),
    _tracepoint("cgroup_rmdir"),
    Hook("signal_deliver", "tracepoint", "task.c", (Channel.DUMP,)),
    Hook("inode_getattr", "resolver", "file.c", (), TRAMPOLINE_TIERS, "security_inode_getattr", is_required=True),
    _cgroup("cgroup_connect4", "cgroup_sock.c", CGROUP_INET4_CONNECT, Channel.CONNECT),
    _cgroup("cgroup_connect6", "cgroup_sock.c", CGROUP_INET6_CONNECT, Channel.CONNECT),
    _cgroup("cgroup_sendmsg4", "cgroup_sock.c", CGROUP_UDP4_SENDMSG, Channel.SEND),
    _cgroup("cgroup_sendmsg6", "cgroup_sock.c", CGROUP_UDP6_SENDMSG, Channel.SEND),
    _cgroup("cgroup_connect_unix", "unix.c", CGROUP_UNIX_CONNECT, Channel.UNIX_CONNECT, ("socket",),
            "BPF_CGROUP_UNIX_CONNECT"),
    _cgroup("cgroup_sendmsg_unix", "unix.c", CGROUP_UNIX_SENDMSG, Channel.UNIX_SEND, ("socket",),
            "BPF_CGROUP_UNIX_SENDMSG"),
    _lsm("unix_stream_connect", "unix.c", Channel.UNIX_CONNECT),
    _lsm("unix_may_send", "unix.c", Channel.UNIX_SEND),
    _lsm("socket_setsockopt", "frames.c", Channel.RAW_FRAMES),
    _cgroup("cgroup_setsockopt", "frames.c", CGROUP_SETSOCKOPT, Channel.RAW_FRAMES, ("socket",),
            is_required=False),
    _lsm("inode_create", "file.c", Channel.CREATE),
    _lsm("inode_mknod", "file.c", Channel.MKNOD),
    _lsm("inode_mkdir", "file.c", Channel.MKDIR),
    _lsm("inode_symlink", "file.c", Channel.SYMLINK),
    _lsm("inode_link", "file.c", Channel.LINK),
    _lsm("inode_unlink", "file.c", Channel.UNLINK, Channel.PIN),
    _lsm("inode_rmdir", "file.c", Channel.RMDIR),
    # tracing programs can be skipped (kernel/preemption.py): in tier lsm an LSM program asks once more
    Hook("inode_rename_again", "lsm", "file.c", (), ("lsm",), "security_inode_rename"),
    # fmod_ret in tier lsm too: only the function is told that two names are exchanged
    Hook("inode_rename", "function", "file.c", (Channel.RENAME,), TRAMPOLINE_TIERS, "security_inode_rename"),
    _lsm("inode_setattr", "file.c", Channel.SETATTR),
    _lsm("inode_setxattr", "file.c", Channel.XATTR),
    _lsm("inode_removexattr", "file.c", Channel.XATTR),
    _lsm("inode_set_acl", "file.c", Channel.ACL, is_newer=True),
    _lsm("inode_remove_acl", "file.c", Channel.ACL, is_newer=True),
    _lsm("file_ioctl", "file.c", Channel.FLAGS),
    _lsm("file_ioctl_compat", "file.c", Channel.FLAGS, is_newer=True),
    _lsm("inode_file_setattr", "file.c", Channel.FLAGS, is_newer=True),
    _lsm("fs_context_parse_param", "pseudo.c", Channel.MOUNT_OPTION),
    _lsm("ptrace_traceme", "task.c", Channel.TRACEME),
    _lsm("file_mprotect", "task.c", Channel.CODE, Channel.MMAP),
    _lsm("mmap_file", "task.c", Channel.CODE, Channel.MMAP),
    _lsm("file_receive", "handle.c", Channel.RECEIVE),
    _lsm("bprm_creds_for_exec", "inherit.c", Channel.INHERIT),
    Hook("bprm_check_security", "lsm", "inherit.c", (Channel.INHERIT,), TRAMPOLINE_TIERS, "security_bprm_check"),
    _lsm("file_open", "file.c", Channel.FILE_OPEN, Channel.EXEC, Channel.DEVICE_OPEN, Channel.KNOB,
         is_required=True),
    _lsm("task_kill", "guard.c", Channel.SIGNAL),
    _lsm("file_send_sigiotask", "guard.c", Channel.SIGNAL),
    _lsm("ptrace_access_check", "guard.c", Channel.DEBUG, Channel.PTRACE),
    _lsm("task_setnice", "guard.c", Channel.PRIORITY),
    _lsm("task_setioprio", "guard.c", Channel.PRIORITY),
    _lsm("task_setscheduler", "guard.c", Channel.PRIORITY),
    _lsm("task_setrlimit", "guard.c", Channel.PRIORITY),
    _lsm("task_movememory", "guard.c", Channel.PRIORITY),
    _lsm("bpf_map", "guard.c", Channel.BPF),
    _lsm("bpf_prog", "guard.c", Channel.BPF),
    _lsm("bpf", "guard.c", Channel.BPF, Channel.PROGRAM),
    _lsm("sb_umount", "guard.c", Channel.MOUNT),
    _lsm("sb_mount", "guard.c", Channel.MOUNT, Channel.COVER),
    _lsm("move_mount", "guard.c", Channel.MOUNT, Channel.COVER),
    _lsm("kernel_read_file", "guard.c", Channel.KERNEL_CODE),
    _lsm("kernel_load_data", "guard.c", Channel.KERNEL_CODE),
    _lsm("locked_down", "guard.c", Channel.KERNEL_MEMORY),
    _cgroup("cgroup_egress", "egress.c", CGROUP_INET_EGRESS, Channel.PACKET),
    _cgroup("cgroup_ingress", "ingress.c", CGROUP_INET_INGRESS, Channel.ARRIVAL, is_required=False),
    Hook("interface_egress", "interface", "egress.c", (Channel.INTERFACE,)),
)

# Hooks that refuse something only while a certain rule is active (rules/itself.py), and what is said without it.
UNGUARDED: dict[str, tuple[tuple[str, ...], str]] = {
    "self": (("task_kill", "file_send_sigiotask", "task_setnice", "task_setioprio", "task_setscheduler",
              "task_setrlimit", "task_movememory", "bpf_map", "bpf_prog", "sb_umount"),
             "nbspd does not guard itself: the rule self is not active"),
    "kernel": (("kernel_read_file", "kernel_load_data", "locked_down"),
               "the kernel is not sealed: no rule kernel is active (it is off unless declared)")}


# Why what is attached by fmod_ret does not decide on a kernel that is preempted, in words for coverage and status.
SKIPPED = ("this kernel is preempted, and skips a program of tier fmod_ret on a processor where another process was "
           "stopped inside it: boot with bpf in lsm=, see: nbsp doctor")
UNTOLD = ("whether this kernel is preempted cannot be found out, and then programs of tier fmod_ret are skipped: boot "
          "with bpf in lsm=, see: nbsp doctor")


def hooks_of(tier: str) -> tuple[Hook, ...]:
    """Return the hooks that belong to a tier, in the order of attaching."""
    return tuple(hook for hook in HOOKS if tier in hook.tiers)
