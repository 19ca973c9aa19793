"""H10 to H14: what is the same for every rule on the host, and the gap in time of a path without a folder."""

from __future__ import annotations

from .channel import ALL, FILES, STAMPS, Channel

NO_GUARD_HOOKS = "tier socket has no hooks for it"

# Has a row for each declared path on the way to which a directory is missing. The hooks below do not close it: they
# tell the daemon when the directory appears, which then looks again.
PENDING = Channel("missing-folder", "H10", "a path whose folder appears later, until the daemon has looked again",
                  FILES | {"unix"}, reason="a slot needs the directory; the moment after it appears is not covered")
TELLING = ("inode_mkdir", "inode_symlink", "inode_rename")

HOST_CHANNELS: tuple[Channel, ...] = (
    Channel("without-daemon", "H10", "reload, restart, upgrade and death of the daemon", ALL, STAMPS, STAMPS,
            why="programs, links and tables are pinned and decide without the daemon, and a reload flips one word; who "
                "removes the pins is for the monitor's row"),
    Channel("before-start", "H10", "between boot and the start of nbspd", ALL,
            reason="nothing is enforced before the programs are attached",
            no_attempt="a drill needs the daemon, so it always comes after that"),
    Channel("capacity", "H11", "floods, full maps, deep trees: denied and counted", ALL, STAMPS, STAMPS,
            why="a table that is full gives no stamp and loses no verdict, and what cannot be decided about something "
                "protected is denied; details of a record may be lost, its count is not"),
    # H12, H13: closed only while the rules `self` and `kernel` are active, see programs.catalogue.UNGUARDED.
    Channel("monitor-process", "H12", "signals to nbspd, debugging it, its memory, descriptors, priority, limits", ALL,
            ("task_kill", "file_send_sigiotask", "ptrace_access_check", "task_setnice", "task_setioprio",
             "task_setscheduler", "task_setrlimit", "task_movememory"), reason=NO_GUARD_HOOKS,
            why="each of these calls asks before it touches another process; systemd (PID 1) and the kernel may"),
    Channel("monitor-tables", "H12", "getting hold of our kernel programs, tables and links, and detaching them", ALL,
            ("bpf_map", "bpf_prog", "bpf"), reason=NO_GUARD_HOOKS,
            why="every way to a descriptor of a table or program asks, and ours are known by their names; links are "
                "asked for where one is updated or detached"),
    Channel("monitor-pins", "H12", "unpinning, and unmounting or covering the bpffs with the pins", ALL,
            ("inode_unlink", "inode_rmdir", "inode_rename", "sb_umount", "sb_mount", "move_mount"),
            reason=NO_GUARD_HOOKS,
            why="names in the folder of the pins are asked for as files are, and the mount they are on before it goes"),
    Channel("monitor-cgroup", "H12", "freezing, killing or limiting nbspd by its cgroup, its OOM score, and "
            "kernel.ftrace_enabled", ALL, ("file_open", "task_kill"), reason=NO_GUARD_HOOKS,
            why="these are files, and opening one for writing asks; who has one open already is not asked again"),
    Channel("monitor-files", "H12", "changing the programs, the state, the journal or the unit of nbspd", ALL,
            ("file_open", "inode_create", "inode_rename", "inode_unlink", "inode_setattr", "task_kill"),
            reason=NO_GUARD_HOOKS, why="they are files of the rule self, and protected as those of any rule"),
    Channel("monitor-links", "H12", "swapping descriptors in one thread while another updates or detaches a link", ALL,
            reason="a link can be opened by its pin, no hook sees that; the packet filters of the devices go on",
            no_attempt="it is a race of two threads that would end enforcement on the host"),
    Channel("monitor-moved", "H12", "moving nbspd into another cgroup, and freezing that", ALL,
            reason="no hook sees who is moved; enforcement goes on, and systemd replaces a daemon that hangs"),
    Channel("monitor-filters", "H12", "removing the packet filter of an interface", ALL,
            reason="nbspd puts it back a moment later and journals it; network managers must be able to change qdiscs",
            no_attempt="it would open the host's own interfaces for a moment"),
    Channel("monitor-rules", "H12", "changing the rule files", ALL,
            reason="root's editor may; it has no effect before nbsp reload, which is journaled with who asked"),
    Channel("monitor-systemd", "H12", "having systemd (PID 1) run nbspd in another way: drop-ins of all services, "
            "generators; or not at all at the next boot", ALL,
            reason="what systemd starts as nbspd.service is nbspd, and systemd does what root configures",
            no_attempt="it would change the host's own configuration"),
    Channel("monitor-libraries", "H12", "changing the Python, libraries and systemd that nbspd shares with the system",
            ALL, reason="they are not nbspd's own; protect them by rules with the package manager as checkpoint",
            no_attempt="it would change the host's own programs"),
    Channel("monitor-look", "H12", "looking at nbspd by /proc: its maps, where its descriptors lead", ALL,
            reason="ps and systemctl status need it; a file found so is judged when it is opened"),
    Channel("kernel-code", "H13", "root loading a module, or another kernel by kexec", ALL,
            ("kernel_read_file", "kernel_load_data"), reason=NO_GUARD_HOOKS,
            why="the kernel asks before it reads such a file or takes such memory"),
    Channel("kernel-memory", "H13", "root reaching /dev/mem, I/O ports, PCI configuration, machine-specific registers",
            ALL, ("locked_down", "kernel_load_data"), reason=NO_GUARD_HOOKS,
            why="the kernel asks wherever lockdown would; reasons whose numbers shift between kernels are let be"),
    Channel("foreign-programs", "H13", "bpf programs of others, but for socket filters", ALL,
            ("bpf", "kernel_load_data"), reason=NO_GUARD_HOOKS,
            why="the kernel asks for each bpf command, and loading is one"),
    Channel("kernel-eyes", "H13", "kprobes by perf or tracefs, /proc/kcore, socket filters", ALL,
            reason="they look and do not change; lockdown=confidentiality is against it, and keeps nbspd out, too"),
    Channel("races", "H14", "arguments changed after the check, threads, pid reuse", ALL, STAMPS, STAMPS,
            why="only the kernel's own copies are looked at: the inode that was found, the address that was copied, "
                "the process id together with its start time"),
)
