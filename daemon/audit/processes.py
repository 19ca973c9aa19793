"""A process seen through its /proc folder, kept open: once it is gone, reading fails, whoever has its number then.

Threads may have descriptors of their own (unshare(CLONE_FILES)), and a leader that has ended has none while its threads
go on; so every table of descriptors is looked at, told apart by kcmp(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from types import TracebackType
from typing import Iterator

from ..kernel.process import ProcessFacts, process_facts

KCMP = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "s390x": 343, "ppc64le": 354}
KCMP_FILES = 2
O_PATH = os.O_PATH
GONE = (FileNotFoundError, ProcessLookupError)

_libc = ctypes.CDLL(None, use_errno=True)


class Vanished(Exception):
    """The process ended while it was looked at."""


@dataclass(frozen=True)
class Descriptor:
    """What /proc says of an open descriptor."""

    fd: int
    link: str               # what it is: a path, "socket:[123]", "anon_inode:[io_uring]" …
    table: str              # the folder of descriptors, from the process's folder


@dataclass(frozen=True)
class DescriptorInfo:
    """What fdinfo says beside it."""

    flags: int
    mount: int              # id of the mount, 0 where it is not told
    inode: int | None       # None before Linux 5.14
    text: str


@dataclass(frozen=True)
class Mapping:
    """A file in memory."""

    span: str               # "7f00…-7f01…"
    rights: str             # rwxs or rwxp, "-" for what is missing
    device: int             # of the superblock, in the kernel's encoding
    inode: int
    path: str


class OpenProcess:
    """A process; use it in a `with` statement. Raises Vanished, PermissionError."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __enter__(self) -> OpenProcess:
        try:
            self.folder = os.open(f"/proc/{self.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except GONE as error:
            raise Vanished from error
        try:
            facts = process_facts(self.pid)
            if facts is None or int(self.read("stat").rpartition(")")[2].split()[19]) != facts.start_ticks:
                raise Vanished
        except BaseException as error:
            os.close(self.folder)
            if isinstance(error, (*GONE, ValueError, KeyError, IndexError)):     # half of it was gone already
                raise Vanished from error
            raise
        self.facts: ProcessFacts = facts
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self.folder)

    def read(self, name: str) -> str:
        """Return the text of a file in its folder. Raises OSError."""
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder)
        with open(descriptor, "rb") as file:
            return os.fsdecode(file.read())

    def link(self, name: str) -> str:
        """Return where a link in its folder leads, "" when nowhere that we may see."""
        try:
            return os.readlink(name, dir_fd=self.folder)
        except (*GONE, PermissionError):
            return ""

    def threads(self) -> list[int]:
        """Return its threads, the leader first. Raises OSError."""
        found = [int(name) for name in self._list("task")]
        return sorted(found, key=lambda tid: (tid != self.pid, tid))

    def tables(self) -> list[str]:
        """Return the folders of all its tables of descriptors, each once. Raises OSError."""
        kept: list[tuple[int, str]] = []
        for tid in self.threads():
            if not any(have_same_files(other, tid) for other, _ in kept):
                kept.append((tid, "fd" if tid == self.pid else f"task/{tid}/fd"))
        return [folder for _, folder in kept]

    def descriptors(self) -> Iterator[Descriptor]:
        """Yield everything that it holds open. Raises OSError."""
        for table in self.tables():
            try:
                names = self._list(table)
            except GONE:
                continue        # of a thread that has ended
            for name in names:
                link = self.link(f"{table}/{name}")
                if link:
                    yield Descriptor(int(name), link, table)

    def info(self, one: Descriptor) -> DescriptorInfo | None:
        """Return what else is known of a descriptor, None when it was closed meanwhile. Raises PermissionError."""
        try:
            text = self.read(f"{one.table}info/{one.fd}")
        except GONE:
            return None
        return parse_fdinfo(text)

    def stat(self, one: Descriptor) -> os.stat_result | None:
        """Return what the descriptor is open on, None when it was closed meanwhile. Raises PermissionError."""
        try:
            return os.stat(f"{one.table}/{one.fd}", dir_fd=self.folder)
        except GONE:
            return None

    def mappings(self) -> Iterator[Mapping]:
        """Yield the files in its memory, which all its threads share. Raises OSError."""
        text = self.read("maps")
        for tid in self.threads() if not text else ():
            text = text or self.read(f"task/{tid}/maps")       # the leader has ended, others go on
        for line in text.splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[4] != "0":
                major, minor = (int(part, 16) for part in fields[3].split(":"))
                yield Mapping(fields[0], fields[1], major << 20 | minor, int(fields[4]), fields[5])

    def _list(self, name: str) -> list[str]:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.folder)
        try:
            return os.listdir(descriptor)
        finally:
            os.close(descriptor)


def parse_fdinfo(text: str) -> DescriptorInfo:
    """Return an fdinfo file's fields that every descriptor has."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    inode = fields.get("ino", "").strip()
    flags, mount = fields.get("flags", "").strip(), fields.get("mnt_id", "").strip()
    return DescriptorInfo(int(flags or "0", 8), int(mount or "0"), int(inode) if inode.isdigit() else None, text)


def have_same_files(one: int, other: int) -> bool:
    """Return whether two threads share their table of descriptors; when nobody can tell, they do not."""
    number = KCMP.get(platform.machine())
    return number is not None and int(_libc.syscall(number, one, other, KCMP_FILES, 0, 0)) == 0
