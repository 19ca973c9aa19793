"""H6 and H8: to be taken for a checkpoint, to act from within one, or to descend from one."""

from __future__ import annotations

from .channel import ALL, STAMPS, Channel

NOT_SEALED = "stamped processes are not sealed in this version"

IDENTITY: tuple[Channel, ...] = (
    Channel("fake-name", "H6", "a program with the checkpoint's name, or bound over its path", ALL, STAMPS, STAMPS,
            has_stamps=True,
            why="a stamp is given by the inode that the kernel is about to run, and no name, argv, path or later "
                "prctl is looked at; who may write that inode is not judged here"),
    Channel("loader", "H6", "the checkpoint started through ld.so, or copied into a memfd", ALL, STAMPS, STAMPS,
            has_stamps=True, why="what the kernel runs is then ld.so, or another inode, and neither earns the stamp"),
    Channel("older-process", "H6", "a process older than a checkpoint's declaration that calls itself its program",
            ALL, reason="who runs already when a checkpoint is declared is stamped by what /proc says of it",
            has_stamps=True),
    Channel("preload", "H6", "LD_PRELOAD and LD_AUDIT into a checkpoint", ALL, reason=NOT_SEALED, has_stamps=True),
    Channel("ptrace", "H6", "ptrace, process_vm_writev, /proc/PID/mem on a checkpoint", ALL, reason=NOT_SEALED,
            has_stamps=True),
    Channel("code", "H6", "foreign code mapped by a checkpoint", ALL, reason=NOT_SEALED, has_stamps=True),
    Channel("replaced-program", "H6", "the checkpoint's program or libraries rewritten", ALL, reason=NOT_SEALED,
            has_stamps=True),
    Channel("re-parent", "H8", "daemonising, re-parenting, namespaces: the stamp follows the process only", ALL, STAMPS,
            STAMPS, has_stamps=True,
            why="a stamp is kept by process id and start time: fork copies it, exec of another program takes it unless "
                "the checkpoint says children, and no parent is ever asked"),
    Channel("broker", "H8", "a checkpoint's child that has systemd, D-Bus, at or cron start something", ALL, STAMPS,
            STAMPS, has_stamps=True,
            why="what a broker starts is forked by the broker, and a stamp goes from parent to child only; a broker "
                "that is a checkpoint itself is another matter"),
    Channel("kernel-helper", "H8", "programs that the kernel starts: core_pattern, modprobe, uevent_helper", ALL,
            STAMPS, STAMPS, has_stamps=True,
            why="they are forked by a kernel thread, which has no stamp; that they run as root is not judged"),
    Channel("errand", "H8", "asking a checkpoint, systemd, cron or a container engine to do it", ALL,
            reason="what a checkpoint does for others is the checkpoint's own decision", has_stamps=True,
            no_attempt="a checkpoint that does what it is asked is what the rule wants; a drill cannot tell it apart"),
)
