"""What lies below a file system: its block device, and all by which the same bytes can be reached.

A partition's whole disk, the devices that a device mapper target or an array is made of, the file behind a loop device,
and the character devices by which commands are sent to a disk. All of it is read from sysfs.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Iterator

from ..kernel.mounts import MINOR_BITS, Mount, kernel_dev

SYS = Path("/sys")
DELETED = " (deleted)"
# below /sys/block/DISK/device: SCSI generic and block SCSI generic nodes, NVMe controllers and namespaces
COMMAND_NODES = ("scsi_generic/*/dev", "bsg/*/dev", "dev", "ng*/dev", "nvme[0-9]/dev", "nvme[0-9][0-9]/dev")

# Programs that a Debian needs with the disks it stands on, and that show nobody what is on them. Left out on purpose,
# since they read or write for their caller whatever he wants, or make another device of the same bytes: dd, debugfs,
# e2image, xfs_db, btrfs (restore), fsck.f2fs (which is dump.f2fs under another name), hdparm, nvme, sg_dd, losetup,
# dmsetup, kpartx, fdisk and its like.
TOOLS = (
    "/usr/bin/udevadm", "/usr/lib/systemd/systemd-udevd", "/usr/sbin/blkid", "/usr/bin/lsblk", "/usr/sbin/findfs",
    "/usr/bin/mount", "/usr/bin/umount", "/usr/sbin/swapon", "/usr/sbin/fsck", "/usr/lib/systemd/systemd-fsck",
    "/usr/sbin/e2fsck", "/usr/sbin/resize2fs", "/usr/sbin/tune2fs", "/usr/sbin/dumpe2fs", "/usr/sbin/xfs_repair",
    "/usr/sbin/fsck.fat", "/usr/sbin/fstrim", "/usr/sbin/lvm",
    "/usr/sbin/mdadm", "/usr/sbin/cryptsetup", "/usr/lib/systemd/systemd-cryptsetup", "/usr/sbin/multipathd",
    "/usr/sbin/multipath", "/usr/sbin/smartctl", "/usr/sbin/smartd", "/usr/sbin/grub-probe",
    "/usr/sbin/grub-bios-setup", "/usr/sbin/grub-install", "/usr/libexec/udisks2/udisksd",
    "/usr/lib/systemd/system-generators/systemd-gpt-auto-generator")
# PID 1, and what it starts services through since systemd 254
MANAGERS = ("/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-executor")


@dataclass
class Below:
    """Device numbers (block and character) in the kernel's encoding, and files that are disks."""

    block: dict[int, str] = field(default_factory=dict)         # number -> name
    character: dict[int, str] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)
    lost: dict[str, None] = field(default_factory=dict)         # files that have no name any more


def below(dev: int, mounts: Iterable[Mount], sys: Path = SYS) -> Below:
    """Return all that lies below the file system with this device number; nothing for one without a device."""
    found = Below()
    numbers = [dev] if (sys / "dev/block" / _words(dev)).exists() else [
        number for mount in mounts if mount.dev == dev for number in _of_source(mount.source, sys)]
    for number in numbers:
        _collect((sys / "dev/block" / _words(number)).resolve(), found)
    return found


def _words(dev: int) -> str:
    return f"{dev >> MINOR_BITS}:{dev & ((1 << MINOR_BITS) - 1)}"


def _of_source(source: str, sys: Path) -> Iterator[int]:
    """Yield the devices of a file system that has a number of its own, such as btrfs: all of which one is mounted."""
    try:
        facts = os.stat(source) if source.startswith("/") else None
    except OSError:
        return
    if facts is None or not stat.S_ISBLK(facts.st_mode):
        return
    own = kernel_dev(facts.st_rdev)
    yield own
    name = (sys / "dev/block" / _words(own)).resolve().name
    for folder in sys.glob("fs/btrfs/*/devices"):
        members = sorted(folder.iterdir())
        if any(member.name == name for member in members):
            yield from (number for number in (_number(member / "dev") for member in members) if number is not None)


def _collect(folder: Path, found: Below) -> None:
    number = _number(folder / "dev")
    if number is None or number in found.block:
        return
    found.block[number] = f"/dev/{folder.name.replace('!', '/')}"
    if (folder / "partition").exists():
        _collect(folder.parent, found)
    slaves = folder / "slaves"
    for slave in sorted(slaves.iterdir()) if slaves.is_dir() else ():
        _collect(slave.resolve(), found)
    backing = folder / "loop/backing_file"
    if backing.exists():
        file = os.fsdecode(backing.read_bytes()).rstrip("\n")
        (found.lost if file.endswith(DELETED) else found.files)[file.removesuffix(DELETED)] = None
    device = folder / "device"
    for node in sorted(one for pattern in COMMAND_NODES for one in device.glob(pattern)):
        number = _number(node)
        if number is not None:
            found.character[number] = f"/dev/{node.resolve().parent.name}"


def _number(file: Path) -> int | None:
    try:
        major, _, minor = file.read_text().strip().partition(":")
        return int(major) << MINOR_BITS | int(minor)
    except (OSError, ValueError):
        return None
