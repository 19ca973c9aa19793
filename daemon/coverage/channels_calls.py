"""H2, H3 and H7: other ways to submit the same calls end in the same hooks; and code that runs without exec."""

from __future__ import annotations

from .channel import CONNECT, FILES, NET, OPEN, PATHS, PROGRAMS, READ, SEND, STAMPS, TREE, Channel

CHANGES = ("inode_unlink", "inode_rename", "inode_link", "inode_mkdir", "inode_symlink", "inode_setattr",
           "inode_setxattr")
URING = "kernel.io_uring_disabled"

CALLS: tuple[Channel, ...] = (
    Channel("exec", "H2", "executing it", PROGRAMS, OPEN, STAMPS[:1], access=READ, in_socket="observed",
            is_front_door=True,
            why="the kernel opens a program like any file before it runs it, and says so in a flag; tier socket sees "
                "it when it is in place, and kills before its first instruction"),
    Channel("tree-exec", "H2", "executing a program in the tree", TREE, OPEN, access=READ,
            reason="tier socket knows a program by its own inode, and nothing of what it lies below",
            is_front_door=True, why="the program's dentry is walked up to the tree as for any open"),
    Channel("interpreted", "H2", "running it as a script, or by an interpreter or ld.so", PROGRAMS, OPEN, access=READ,
            reason="tier socket sees the program that runs: the interpreter, or ld.so",
            why="the interpreter, or ld.so, must open it to read it; a copy made before the rules is another file"),
    Channel("io-uring-file", "H2", "io_uring and aio: open, read, splice", FILES, OPEN, since=URING,
            why="the ring opens by do_filp_open() with the task's own identity, in a worker thread too; a file that is "
                "in the ring's table already is not asked for again"),
    Channel("io-uring-change", "H2", "io_uring: unlink, rename, link, mkdir, symlink, attributes", PATHS, CHANGES,
            since=URING,
            why="the ring calls the same functions of the file system as the system calls do, and these ask"),
    Channel("io-uring-socket", "H2", "io_uring: connect, send", NET, CONNECT + SEND, CONNECT + SEND, since=URING,
            why="the address has been copied into the kernel when the protocol's own function asks, whoever called it"),
    Channel("abi-file", "H3", "int 0x80 and x32 system calls on files", FILES, OPEN,
            why="the hook is asked below the system call table, in do_dentry_open()"),
    Channel("abi-change", "H3", "int 0x80 and x32 system calls that change names and attributes", PATHS, CHANGES,
            why="the hooks are asked below the system call table, in vfs_*() and notify_change()"),
    Channel("abi-socket", "H3", "int 0x80 and x32 system calls on sockets", NET, CONNECT + SEND, CONNECT + SEND,
            why="the hooks are asked below the system call table, by the protocol's own functions"),
    Channel("exec-mapping", "H7", "mapping it as code by mmap, or making an older mapping executable", PATHS,
            ("mmap_file", "file_mprotect"), access=READ,
            why="every mapping of a file asks, with what it may be used for, and so does every change of that"),
)
