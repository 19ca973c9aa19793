"""The catalogue of channels, as data: which hooks close a channel for which kind of target, or why it is open.

`hooks` name the programs that must all be attached; "a|b" means a, or b on kernels that have no a. Tier `socket` has
its own column, because it has other hooks; where that is None the channel is open there. A channel without hooks is
open everywhere. The reason in a row is that of its being open. Nothing may be claimed here that no hook does: a new row
starts as open.
"""

from __future__ import annotations

from dataclasses import dataclass

FILES = frozenset({"file", "tree", "exec", "device"})
PATHS = frozenset({"file", "tree", "exec"})
PROGRAMS = frozenset({"file", "exec"})
NET = frozenset({"tcp", "udp"})
UNIX = frozenset({"unix", "abstract"})
ALL = FILES | NET | UNIX
READ, WRITE = frozenset({"read"}), frozenset({"write"})
EITHER = READ | WRITE

STAMPS = ("sched_process_exec", "sched_process_fork", "sched_process_exit")
CONNECT = ("cgroup_connect4", "cgroup_connect6")
SEND = ("cgroup_sendmsg4", "cgroup_sendmsg6")
PACKET = ("cgroup_egress",)
DEVICE = ("interface_egress",)
OPEN = ("file_open",)

NO_FILE_HOOKS = "tier socket has no hook that could refuse it"
NOT_SEALED = "stamped processes are not sealed in this version"
NO_GUARD_HOOKS = "tier socket has no hooks for it"
LOOPBACK_ONLY = "interfaces of other network namespaces carry no program"


@dataclass(frozen=True)
class Channel:
    """One technical way of reaching a target."""

    id: str
    family: str
    words: str
    kinds: frozenset[str]
    hooks: tuple[str, ...] = ()
    socket: tuple[str, ...] | None = None       # the hooks of tier socket; None: open there
    reason: str = ""                            # why it is open where no hook closes it
    access: frozenset[str] = EITHER             # matters for resources with one of these
    unless: frozenset[str] = frozenset()        # does not matter for resources with one of these
    has_stamps: bool = False                    # matters only where some checkpoint may pass
    in_socket: str = ""                         # tier socket: the state to show instead of enforced
    is_front_door: bool = False                 # the plain way; open, the rule is not enforced at all


CHANNELS: tuple[Channel, ...] = (
    # H1: name aliasing. The judge looks at the inode and its dentry's parents, whatever name led there.
    Channel("open", "H1", "opening it by its path", FILES, OPEN, is_front_door=True),
    Channel("symlink", "H1", "through a symbolic link", FILES, OPEN),
    Channel("bind-mount", "H1", "through a bind mount, chroot or another mount namespace", FILES, OPEN),
    Channel("proc-root", "H1", "through /proc/PID/root, cwd or fd", FILES, OPEN),
    Channel("handle", "H1", "open_by_handle_at", frozenset({"file", "exec", "device"}), OPEN),
    Channel("tree-handle", "H1", "open_by_handle_at of a file in the tree", frozenset({"tree"}), OPEN),
    Channel("device-node", "H1", "another node for the same device", frozenset({"device"}), OPEN),
    Channel("hard-link", "H1", "a new hard link to it", PATHS, ("inode_link",)),
    Channel("older-hard-link", "H1", "a hard link outside the tree, made before the rules", frozenset({"tree"}),
            reason="only the name that was opened is walked up to the tree"),
    Channel("rename", "H1", "rename and exchange", PATHS, ("inode_rename",)),
    Channel("create", "H1", "creating a file, directory, node or symbolic link in its place", PATHS,
            ("inode_create", "inode_mkdir", "inode_mknod", "inode_symlink"), access=WRITE),
    Channel("remove", "H1", "unlink and rmdir", PATHS, ("inode_unlink", "inode_rmdir"), access=WRITE),
    Channel("attributes", "H1", "chmod, chown, truncate, utimes", PATHS, ("inode_setattr",), access=WRITE),
    Channel("ioctl", "H1", "flags set by ioctl on a file opened for reading", PATHS,
            reason="ioctl is not judged, and opening for reading is not what the rule forbids", access=WRITE,
            unless=READ),
    Channel("xattr", "H1", "extended attributes", PATHS, ("inode_setxattr", "inode_removexattr"), access=WRITE),
    Channel("acl", "H1", "access control lists", PATHS,
            ("inode_set_acl|inode_setxattr", "inode_remove_acl|inode_removexattr"), access=WRITE),
    Channel("metadata", "H1", "stat, and listing the names in a directory that is not itself protected", PATHS,
            reason="nobody is kept from seeing that it is there; reading what is in it is refused", access=READ),
    Channel("overlay", "H1", "through a new overlay mount above it", FILES,
            reason="the overlay's own names and inodes are not known as the protected ones"),
    Channel("raw-device", "H1", "reading the block device below the file system", PATHS,
            reason="the block device is not protected by itself in this version; declare it under devices"),
    # H2, H3: other ways to submit the same calls end in the same hooks.
    Channel("exec", "H2", "executing it", PROGRAMS, OPEN, STAMPS[:1], access=READ, in_socket="observed",
            is_front_door=True),
    Channel("tree-exec", "H2", "executing a program in the tree", frozenset({"tree"}), OPEN, access=READ,
            reason="tier socket knows a program by its own inode, and nothing of what it lies below",
            is_front_door=True),
    Channel("interpreted", "H2", "running it as a script, or by an interpreter or ld.so", PROGRAMS, OPEN, access=READ,
            reason="tier socket sees the program that runs: the interpreter, or ld.so"),
    Channel("exec-replaced", "H1", "executing another program that took its place", PROGRAMS, OPEN, access=READ,
            reason="tier socket knows the inode that was there at the last nbsp reload"),
    Channel("io-uring-file", "H2", "io_uring and aio: open, read, splice", FILES, OPEN),
    Channel("io-uring-socket", "H2", "io_uring: connect, send", NET, CONNECT + SEND, CONNECT + SEND),
    Channel("abi-file", "H3", "int 0x80 and x32 system calls on files", FILES, OPEN),
    Channel("abi-socket", "H3", "int 0x80 and x32 system calls on sockets", NET, CONNECT + SEND, CONNECT + SEND),
    # H4: network paths.
    Channel("connect", "H4", "connect, also v4-mapped and unspecified addresses", NET, CONNECT, CONNECT,
            is_front_door=True),
    Channel("send", "H4", "datagrams without connect: sendto, sendmsg, sendmmsg", frozenset({"udp"}), SEND, SEND,
            is_front_door=True),
    Channel("fast-open", "H4", "TCP Fast Open", frozenset({"tcp"}), CONNECT + PACKET, CONNECT + PACKET),
    Channel("mptcp", "H4", "MPTCP and its subflows", frozenset({"tcp"}), CONNECT + PACKET, CONNECT + PACKET),
    Channel("nat", "H4", "an address that NAT turns into the endpoint", NET, PACKET, PACKET),
    Channel("raw-socket", "H4", "packets made by hand on a raw socket, with data or to open a connection", NET, PACKET,
            PACKET),
    Channel("packet-socket", "H4", "the same by AF_PACKET or tunnels through a device's queue", NET, DEVICE, DEVICE),
    Channel("bare-packet", "H4", "TCP packets without data made by hand, such as a reset", frozenset({"tcp"}),
            reason="they look like the kernel's own"),
    Channel("new-interface", "H10", "frames sent by an interface just after it appears, or while no daemon runs",
            NET, reason="the daemon attaches the program of an interface"),
    Channel("packet-bypass", "H4", "AF_PACKET with PACKET_QDISC_BYPASS, and frames written to a TUN device", NET,
            reason="they do not pass the egress queue of an interface"),
    Channel("encapsulated", "H4",
            "packets made by hand in tunnel or IPsec headers", NET, reason="only the outer addresses are looked at"),
    Channel("xdp", "H4", "frames sent by AF_XDP or redirected by an XDP program", NET,
            reason="they leave below the egress program of the interface"),
    Channel("other-netns", "H4", "frames made in another network namespace that leave by an interface of its own", NET,
            reason=LOOPBACK_ONLY),
    Channel("older-connection", "H5", "connections older than the rules", NET, PACKET, PACKET),
    Channel("passed-socket", "H5", "a connected socket handed over by SCM_RIGHTS, pidfd_getfd or inheritance", NET,
            reason="a socket keeps the stamp of the process that connected it", has_stamps=True),
    Channel("unix-connect", "H4", "connecting a stream or seqpacket socket", UNIX, ("unix_stream_connect",),
            ("cgroup_connect_unix",), is_front_door=True),
    Channel("unix-send", "H4", "sending to a datagram socket", UNIX, ("unix_may_send",), ("cgroup_sendmsg_unix",),
            is_front_door=True),
    Channel("unix-connected-datagram", "H4", "a datagram socket connected before the rules", UNIX, ("unix_may_send",)),
    Channel("older-unix", "H5", "unix connections older than the rules", UNIX,
            reason="connections of unix sockets that exist are not cut in this version"),
    Channel("passed-unix", "H5", "a connected unix socket handed over by SCM_RIGHTS, pidfd_getfd or inheritance", UNIX,
            reason="a connected unix socket is not looked at again", has_stamps=True),
    Channel("unix-alias", "H1", "another name of the socket: link, mount, /proc/PID/root, relative path, rename",
            frozenset({"unix"}), ("unix_stream_connect", "unix_may_send"),
            reason="tier socket knows only the name that was asked for"),
    Channel("unix-replaced", "H1", "another socket put in the place of the protected one", frozenset({"unix"}),
            reason="that reaches nothing, and who connects to the name is still judged, but another answers"),
    # H5: handles.
    Channel("received-fd", "H5", "an fd received by SCM_RIGHTS or pidfd_getfd", FILES, ("file_receive",)),
    Channel("uring-file", "H5", "a file handed over inside io_uring: message ring, fixed files of a shared ring",
            FILES, reason="the kernel does not ask when a file comes into a ring's table that way"),
    Channel("inherited-fd", "H5", "an fd inherited across an exec that drops the stamp", FILES,
            reason="open fds are not closed or judged again at exec in this version", has_stamps=True),
    Channel("older-fd", "H5", "fds and mappings older than the rules, also made executable by mprotect", FILES,
            reason="what was open before the rules is not revoked in this version"),
    Channel("exec-mapping", "H7", "mapping it as code by mmap", PATHS, ("mmap_file",), access=READ),
    # H6, H7: borrowed identity.
    Channel("fake-name", "H6", "a program with the checkpoint's name, or bound over its path", ALL, STAMPS, STAMPS,
            has_stamps=True),
    Channel("loader", "H6", "the checkpoint started through ld.so, or copied into a memfd", ALL, STAMPS, STAMPS,
            has_stamps=True),
    Channel("preload", "H6", "LD_PRELOAD and LD_AUDIT into a checkpoint", ALL, reason=NOT_SEALED, has_stamps=True),
    Channel("ptrace", "H6", "ptrace, process_vm_writev, /proc/PID/mem on a checkpoint", ALL, reason=NOT_SEALED,
            has_stamps=True),
    Channel("code", "H6", "foreign code mapped by a checkpoint", ALL, reason=NOT_SEALED, has_stamps=True),
    Channel("replaced-program", "H6", "the checkpoint's program or libraries rewritten", ALL, reason=NOT_SEALED,
            has_stamps=True),
    # H8: lineage.
    Channel("re-parent", "H8", "daemonising, re-parenting, namespaces: the stamp follows the process only", ALL, STAMPS,
            STAMPS, has_stamps=True),
    Channel("errand", "H8", "asking a checkpoint, systemd, cron or a container engine to do it", ALL,
            reason="what a checkpoint does for others is the checkpoint's own decision", has_stamps=True),
    Channel("mount-below", "H9", "a file system mounted below the tree later", frozenset({"tree"}),
            reason="what is on it is protected from the next reload on"),
    Channel("mount-over", "H9", "mounting something over it", FILES,
            reason="that hides it and reaches nothing, but who reads the path gets something else"),
)

# Has a row for each declared path on the way to which a directory is missing. The hooks below do not close it: they
# tell the daemon when the directory appears, which then looks again.
PENDING = Channel("missing-folder", "H10", "a path whose folder appears later, until the daemon has looked again",
                  FILES | {"unix"}, reason="a slot needs the directory; the moment after it appears is not covered")
TELLING = ("inode_mkdir", "inode_symlink", "inode_rename")

# What is the same for every rule on the host; H10 to H14.
HOST_CHANNELS: tuple[Channel, ...] = (
    Channel("without-daemon", "H10", "reload, restart, upgrade and death of the daemon", ALL, STAMPS, STAMPS),
    Channel("before-start", "H10", "between boot and the start of nbspd", ALL,
            reason="nothing is enforced before the programs are attached"),
    Channel("capacity", "H11", "floods, full maps, deep trees: denied and counted", ALL, STAMPS, STAMPS),
    # H12, H13: closed only while the rules `self` and `kernel` are active, see programs.catalogue.UNGUARDED.
    Channel("monitor-process", "H12", "signals to nbspd, debugging it, its memory, descriptors, priority, limits", ALL,
            ("task_kill", "file_send_sigiotask", "ptrace_access_check", "task_setnice", "task_setioprio",
             "task_setscheduler", "task_setrlimit", "task_movememory"), reason=NO_GUARD_HOOKS),
    Channel("monitor-tables", "H12", "getting hold of our kernel programs, tables and links, and detaching them", ALL,
            ("bpf_map", "bpf_prog", "bpf"), reason=NO_GUARD_HOOKS),
    Channel("monitor-pins", "H12", "unpinning, and unmounting or covering the bpffs with the pins", ALL,
            ("inode_unlink", "inode_rmdir", "inode_rename", "sb_umount", "sb_mount", "move_mount"),
            reason=NO_GUARD_HOOKS),
    Channel("monitor-cgroup", "H12", "freezing, killing or limiting nbspd by its cgroup, its OOM score, and "
            "kernel.ftrace_enabled", ALL,
            ("file_open", "task_kill"), reason=NO_GUARD_HOOKS),
    Channel("monitor-files", "H12", "changing the programs, the state, the journal or the unit of nbspd", ALL,
            ("file_open", "inode_create", "inode_rename", "inode_unlink", "inode_setattr", "task_kill"),
            reason=NO_GUARD_HOOKS),
    Channel("monitor-links", "H12", "swapping descriptors in one thread while another updates or detaches a link", ALL,
            reason="a link can be opened by its pin, no hook sees that; the packet filters of the devices go on"),
    Channel("monitor-moved", "H12", "moving nbspd into another cgroup, and freezing that", ALL,
            reason="no hook sees who is moved; enforcement goes on, and systemd replaces a daemon that hangs"),
    Channel("monitor-filters", "H12", "removing the packet filter of an interface", ALL,
            reason="nbspd puts it back a moment later and journals it; network managers must be able to change qdiscs"),
    Channel("monitor-rules", "H12", "changing the rule files", ALL,
            reason="root's editor may; it has no effect before nbsp reload, which is journaled with who asked"),
    Channel("monitor-systemd", "H12", "having systemd (PID 1) run nbspd in another way: drop-ins of all services, "
            "generators; or not at all at the next boot", ALL,
            reason="what systemd starts as nbspd.service is nbspd, and systemd does what root configures"),
    Channel("monitor-libraries", "H12", "changing the Python, libraries and systemd that nbspd shares with the system",
            ALL, reason="they are not nbspd's own; protect them by rules with the package manager as checkpoint"),
    Channel("monitor-look", "H12", "looking at nbspd by /proc: its maps, where its descriptors lead", ALL,
            reason="ps and systemctl status need it; a file found so is judged when it is opened"),
    Channel("kernel-code", "H13", "root loading a module, or another kernel by kexec", ALL,
            ("kernel_read_file", "kernel_load_data"), reason=NO_GUARD_HOOKS),
    Channel("kernel-memory", "H13", "root reaching /dev/mem, I/O ports, PCI configuration, machine-specific registers",
            ALL, ("locked_down", "kernel_load_data"), reason=NO_GUARD_HOOKS),
    Channel("foreign-programs", "H13", "bpf programs of others, but for socket filters", ALL,
            ("bpf", "kernel_load_data"), reason=NO_GUARD_HOOKS),
    Channel("kernel-eyes", "H13", "kprobes by perf or tracefs, /proc/kcore, socket filters", ALL,
            reason="they look and do not change; lockdown=confidentiality is against it, and keeps nbspd out, too"),
    Channel("races", "H14", "arguments changed after the check, threads, pid reuse", ALL, STAMPS, STAMPS),
)
