"""What this host calls the numbers in a record: processes, users, cgroups, mounts."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections import OrderedDict
from pathlib import Path
from typing import Callable, TypeVar

from ..errors import HostError
from ..kernel.mounts import cgroup2_root, mounts
from ..kernel.process import ProcessFacts, process_facts

CACHE_SIZE = 4096
REFRESH_S = 5.0         # how old the list of mounts or a missing name may be
FILEID_KERNFS = 0xFE    # include/linux/exportfs.h: the handle is the 64-bit id itself

T = TypeVar("T")


class _Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint32), ("type", ctypes.c_int32), ("id", ctypes.c_uint64)]


class Host:
    """Look-ups with memory. None of them asks a name service: a denied one could stop the daemon."""

    def __init__(self, passwd: Path = Path("/etc/passwd")) -> None:
        self._passwd = passwd
        self._users: dict[int, str] = {}
        self._users_of: tuple[int, int] = (0, 0)
        self._checked_s = float("-inf")
        self._mounts: dict[int, str] = {}
        self._mounts_s = float("-inf")
        self._cgroups: OrderedDict[int, str] = OrderedDict()
        self._exes: OrderedDict[tuple[int, int, str], str] = OrderedDict()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._cgroup_root: int | None = None

    def process(self, pid: int, start_ticks: int) -> ProcessFacts | None:
        """Return the facts of exactly that process, None when it is gone."""
        try:
            facts = process_facts(pid)
        except (OSError, ValueError):
            return None
        return facts if facts is not None and facts.start_ticks == start_ticks else None

    def exe(self, pid: int, start_ticks: int, comm: str) -> str:
        """Return a process's program, "" when it is gone; remembered as long as the process keeps its name."""
        def look() -> str:
            facts = self.process(pid, start_ticks)
            return facts.exe if facts is not None and facts.comm == comm else ""
        return _remember(self._exes, (pid, start_ticks, comm), look)

    def user(self, uid: int) -> str:
        """Return a user's name from the password file, "" when it has none there."""
        now = time.monotonic()
        if now - self._checked_s > REFRESH_S:
            self._checked_s = now
            self._read_users()
        return self._users.get(uid, "")

    def cgroup(self, number: int) -> str:
        """Return the path of a cgroup in the cgroup-v2 tree, "" when it is gone or we may not look."""
        return _remember(self._cgroups, number, lambda: self._open_cgroup(number))

    def mount(self, dev: int) -> str:
        """Return where a superblock's root is mounted, "" when nowhere that we see."""
        now = time.monotonic()
        if now - self._mounts_s > REFRESH_S:
            self._mounts_s = now
            try:
                self._mounts = {mount.dev: mount.point for mount in reversed(mounts()) if mount.root == "/"}
            except OSError:
                self._mounts = {}
        return self._mounts.get(dev, "")

    def interface(self, index: int) -> str:
        """Return the name of a network interface, or its number in words."""
        try:
            return socket.if_indextoname(index)
        except OSError:
            return f"interface {index}"

    def wall_minus_boot_ns(self) -> int:
        """Return what turns the boot clock into wall clock time."""
        return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def _read_users(self) -> None:
        try:
            found = self._passwd.stat()
            if (found.st_mtime_ns, found.st_ino) == self._users_of:
                return
            fields = [line.split(":") for line in self._passwd.read_text(errors="backslashreplace").splitlines()]
        except OSError:
            return
        self._users_of = (found.st_mtime_ns, found.st_ino)
        self._users = {int(words[2]): words[0] for words in reversed(fields) if len(words) > 2 and words[2].isdigit()}

    def _open_cgroup(self, number: int) -> str:
        """A cgroup's id is its file handle."""
        try:
            if self._cgroup_root is None:
                self._cgroup_root = os.open(cgroup2_root(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            handle = _Handle(8, FILEID_KERNFS, number)
            found = self._libc.open_by_handle_at(self._cgroup_root, ctypes.byref(handle), os.O_PATH | os.O_CLOEXEC)
            if found < 0:
                return ""
            try:
                path = os.readlink(f"/proc/self/fd/{found}")
            finally:
                os.close(found)
            root = os.readlink(f"/proc/self/fd/{self._cgroup_root}")
        except (OSError, HostError):
            return ""
        return "/" + path.removeprefix(root).strip("/")


def _remember(memory: OrderedDict[T, str], key: T, look: Callable[[], str]) -> str:
    """Return what is remembered, else look; only what was found is remembered."""
    known = memory.get(key)
    if known is not None:
        return known
    value = look()
    if value:
        memory[key] = value
        if len(memory) > CACHE_SIZE:
            memory.popitem(last=False)
    return value
