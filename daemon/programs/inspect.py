"""How the kernel calls an inode: superblock device, number, generation.

In the tiers with trampolines the kernel says it itself: a program on inode_getattr, attached only while we ask, writes
down what our own stat(2) looked at. That is right on every file system; st_dev lies on btrfs and overlayfs, and no
system call tells the generation of an inode on tmpfs. In tier socket nothing of files is enforced, and stat will do.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .. import abi
from ..errors import LoadError
from ..kernel import bpf, bpf_load, mounts
from ..rules.pseudo import MAGIC
from .tables import Tables

Key = tuple[int, int, int]      # device, inode number, generation

# include/uapi/linux/magic.h: file systems whose inodes are not kept by this kernel, or are no files
UNSUPPORTED = {0x6969: "nfs", 0x65735546: "fuse", 0xFF534D42: "cifs", 0xFE534D42: "smb2", 0x01021997: "9p",
               0x4D44: "vfat", 0x2011BAB0: "exfat",     # these number an inode anew when it is read again
               **{number: name for name, number in MAGIC.items()}}      # files and trees there are bound by their path
BTRFS = 0x9123683E


@dataclass(frozen=True)
class Inode:
    """An inode as the kernel's programs see it; `magic` 0 means that nobody asked."""

    key: Key
    mode: int
    rdev: int
    magic: int

    @property
    def unsupported(self) -> str:
        """Return the name of a file system whose inodes say nothing, or ""."""
        return UNSUPPORTED.get(self.magic, "")


class Inspector:
    """Looks at paths by stat alone."""

    judges_files = False        # whether the programs of this tier can refuse anything about files

    def __enter__(self) -> "Inspector":
        self._mounts = {mount.dev: mount for mount in mounts.mounts()}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        return

    def look(self, path: str, is_followed: bool = True) -> Inode | None:
        """Return the inode that a path leads to, None when there is none. Raises OSError for anything else.

        `is_followed`: a symbolic link at its end leads on.
        """
        try:
            facts = os.stat(path, follow_symlinks=is_followed)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._inode(facts)

    def _inode(self, facts: os.stat_result) -> Inode:
        dev = mounts.kernel_dev(facts.st_dev)
        mount = self._mounts.get(dev)
        magic = 0
        if mount is not None:
            magic = next((number for number, name in UNSUPPORTED.items() if name == mount.fstype.split(".")[0]), 0)
        return Inode((dev, facts.st_ino, 0), facts.st_mode, mounts.kernel_dev(facts.st_rdev), magic)


class KernelInspector(Inspector):
    """Lets the kernel say what a stat of ours looked at."""

    judges_files = True

    def __init__(self, tables: Tables, program: Path) -> None:
        self._tables = tables
        self._program = program

    def __enter__(self) -> "KernelInspector":
        super().__enter__()
        fd = bpf.obj_get(self._program)
        try:
            self._link = bpf_load.raw_tracepoint_open(fd)
        finally:
            os.close(fd)
        self._tables.put("resolvers", 0, threading.get_native_id().to_bytes(4, "little"))
        self._answer = self._tables.mapped("resolutions")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._tables.put("resolvers", 0, bytes(4))
        os.close(self._link)

    def _inode(self, facts: os.stat_result) -> Inode:
        answer = abi.Resolved.from_buffer_copy(self._answer)
        if answer.key.ino != facts.st_ino or answer.mode != facts.st_mode:
            raise LoadError("the kernel did not say which inode a path leads to",
                            "restart nbspd, and report this kernel")
        return Inode((answer.key.dev, answer.key.ino, answer.key.gen), answer.mode, answer.rdev, answer.magic)
