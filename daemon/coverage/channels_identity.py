"""H6 and H8: to be taken for a checkpoint, to act from within one, or to descend from one."""

from __future__ import annotations

from .channel import ALL, OPEN, PSEUDO, STAMPS, WRITE, Channel

NOT_SEALED = "tier socket has no hook by which a stamped process could be sealed"
CODE = ("mmap_file", "file_mprotect")

IDENTITY: tuple[Channel, ...] = (
    Channel("fake-name", "H6", "a program with the checkpoint's name, or bound over its path", ALL, STAMPS, STAMPS,
            has_stamps=True,
            why="a stamp is given by the inode that the kernel is about to run, and no name, argv, path or later "
                "prctl is looked at; who may write that inode is not judged here"),
    Channel("loader", "H6", "the checkpoint started through ld.so, or copied into a memfd", ALL, STAMPS, STAMPS,
            has_stamps=True, why="what the kernel runs is then ld.so, or another inode, and neither earns the stamp"),
    Channel("older-process", "H6", "a process older than a checkpoint's declaration that calls itself its program",
            ALL, (*STAMPS, *CODE), has_stamps=True,
            reason="who runs already when a checkpoint is declared is stamped by what /proc says",
            why="who runs already when a checkpoint is declared gets its stamp only if all that it may execute is the "
                "program's own code and nobody debugs it; a process that only pretends has its real code somewhere"),
    Channel("preload", "H6", "LD_PRELOAD, LD_AUDIT and LD_LIBRARY_PATH into a checkpoint", ALL, CODE, reason=NOT_SEALED,
            has_stamps=True,
            why="ld.so maps the library as code, and that must be the checkpoint's: `code:`, by default what only root "
                "can have written in the system's library directories, so one of those can still be preloaded"),
    Channel("ptrace", "H6", "ptrace, process_vm_*, pidfd_getfd and /proc/PID/mem on a checkpoint", ALL,
            ("ptrace_access_check", "ptrace_traceme", "sched_process_exec"), reason=NOT_SEALED, has_stamps=True,
            why="all of them ask ptrace_access_check; who is traced when it executes the program earns nothing. What "
                "/proc shows to read (maps, environ) stays readable"),
    Channel("dump", "H6", "a core dump of a checkpoint", ALL, ("signal_deliver",), reason=NOT_SEALED, has_stamps=True,
            why="a stamped process that is about to dump is killed before the dump is begun, wherever it would go"),
    Channel("code", "H6", "foreign code mapped by a checkpoint", ALL, CODE, reason=NOT_SEALED, has_stamps=True,
            why="pages become executable by mmap and mprotect only; memory, files that are not its code, and pages of "
                "its code that were written to are refused. What an interpreter reads is data to the kernel"),
    Channel("replaced-program", "H6", "the checkpoint's program or its listed code rewritten or replaced", ALL,
            ("file_open", "inode_rename", "inode_unlink", "inode_link", "inode_setattr", "inode_setxattr",
             "file_ioctl"), reason=NOT_SEALED, has_stamps=True,
            why="inode and name are protected against writing by everybody but package managers (updaters:); the "
                "system's libraries are root's, and not guarded against root"),
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
    Channel("pseudo-mount", "H8", "a knob of the kernel, on another mount of its file system or from other namespaces",
            PSEUDO, OPEN,
            why="such a file is known by its path from the file system's own root down, which is the same in every "
                "mount and name space; a descriptor that is open already is not asked again"),
    Channel("mount-option", "H8", "release_agent of cgroup v1, given as an option of a mount", PSEUDO,
            ("fs_context_parse_param",), access=WRITE,
            why="every option of every mount is asked for by its name before it is set"),
    Channel("knob-request", "H8", "asking a checkpoint of a knob, such as by a file in sysctl.d, to write it", PSEUDO,
            reason="what a checkpoint is told in its configuration is not judged; protect that too", access=WRITE,
            has_stamps=True,
            no_attempt="it would change the host's own configuration, and the checkpoint would do what it is for"),
    Channel("behind-knob", "H8", "changing the program that a knob names, or what that program reads", PSEUDO,
            reason="only the knob is known; declare /usr/bin/kmod, /etc/modprobe.d and their like as well",
            access=WRITE, no_attempt="it would change the host's own programs"),
    Channel("errand", "H8", "asking a checkpoint, systemd, cron or a container engine to do it", ALL,
            reason="what a checkpoint does for others is the checkpoint's own decision", has_stamps=True,
            no_attempt="a checkpoint that does what it is asked is what the rule wants; a drill cannot tell it apart"),
)
