"""Mounts: where the cgroup-v2 tree and bpffs are, and which superblock a path lies on."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import HostError

BPFFS = Path("/sys/fs/bpf")
MINOR_BITS = 20


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo; `dev` is the superblock's s_dev in the kernel's encoding."""

    id: int
    parent: int
    dev: int
    root: str       # which directory of the file system is seen
    point: str      # where
    fstype: str
    source: str


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Return the mounts of a mountinfo file, in its order (later ones lie over earlier ones)."""
    return tuple(_parse_line(line) for line in text.splitlines() if line)


def mounts(pid: int | str = "self") -> tuple[Mount, ...]:
    """Return the mounts that a process sees.  Raises OSError."""
    return parse_mountinfo(os.fsdecode(Path(f"/proc/{pid}/mountinfo").read_bytes()))


def mount_of(path: Path, table: tuple[Mount, ...] | None = None) -> Mount:
    """Return the mount that an absolute path without symbolic links lies on."""
    best: Mount | None = None
    for mount in mounts() if table is None else table:
        if path.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    if best is None:
        raise HostError(f"no mount holds {path}", "give an absolute path")
    return best


def cgroup2_root() -> Path:
    """Return where the cgroup-v2 tree is mounted.  Raises HostError."""
    found = [mount for mount in mounts() if mount.fstype == "cgroup2"]
    whole = [mount for mount in found if mount.root == "/"]
    for mount in whole or found:
        return Path(mount.point)
    raise HostError("no cgroup-v2 tree is mounted", "mount -t cgroup2 none /sys/fs/cgroup")


def is_on_bpffs(path: Path) -> bool:
    """Tell whether a path (that need not exist yet) would lie on bpffs."""
    return mount_of(Path(os.path.realpath(path))).fstype == "bpf"


def bpffs_ready(path: Path, mount: bool = True) -> bool:
    """Tell whether `path` lies on bpffs; with `mount`, mount it first where it is missing.

    Below /sys/fs/bpf it is mounted there, elsewhere on the folder that holds `path`.  Raises HostError.
    """
    if is_on_bpffs(path):
        return True
    if not mount:
        return False
    point = BPFFS if path.is_relative_to(BPFFS) else path.parent
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(point), b"bpf", 0, b"mode=0700"):
        raise HostError(f"cannot mount bpffs on {point}: {os.strerror(ctypes.get_errno())}",
                        f"as root: mkdir -p {point} && mount -t bpf bpf {point}")
    return is_on_bpffs(path)


def kernel_dev(st_dev: int) -> int:
    """Return a stat device number in the kernel's own encoding, that of s_dev and i_rdev."""
    return os.major(st_dev) << MINOR_BITS | os.minor(st_dev)


def _parse_line(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    number, parent, device, root, point = before.split(" ")[:5]
    fstype, source = after.split(" ")[:2]
    major, minor = device.split(":")
    return Mount(int(number), int(parent), int(major) << MINOR_BITS | int(minor), _unescape(root), _unescape(point),
                 fstype, _unescape(source))


def _unescape(text: str) -> str:
    """Undo the octal escapes of blanks, tabs, newlines and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
