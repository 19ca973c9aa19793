"""What the kernel programs that guard the daemon must know of it: which process, pins, links and cgroups are ours."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import Sequence

from .. import abi
from ..kernel import bpf, mounts
from ..kernel.process import process_facts
from ..rules.itself import UNIT
from .stamping import read_stamps, stamp_value
from .tables import Tables

PROC = Path("/proc")


@cache
def is_service() -> bool:
    """Return whether this process was started as our unit: systemd's own child, in the unit's cgroup.

    Asked once, at the start: somebody may move us into another cgroup later.
    """
    facts = process_facts(os.getpid())
    return facts is not None and facts.ppid == 1 and facts.cgroup.endswith(f"/{UNIT}")


def is_known(tables: Tables) -> bool:
    """Return whether the kernel knows this process as the daemon, whatever cgroup it is in by now."""
    known = read(tables).stamp
    return known != 0 and known - 1 in read_stamps(tables).get(os.getpid(), (0, frozenset()))[1]


def declare(tables: Tables, pins: Path, links: Path, cgroups: Sequence[str], unit: int, bit: int, rule: int) -> None:
    """Tell the kernel who the daemon is, and take its stamp. Raises OSError.

    `cgroups` are the folders above the unit's, `unit` is its number, `bit` that of its checkpoint. Without a generation
    that says so nothing is guarded yet.
    """
    facts = process_facts(os.getpid())
    assert facts is not None
    known = read(tables)
    folder = os.stat(pins)
    value = abi.Monitor(open_until_ns=known.open_until_ns, mount=known.mount, pins_ino=folder.st_ino,
                        pins_dev=mounts.kernel_dev(folder.st_dev), proc_dev=mounts.kernel_dev(os.stat(PROC).st_dev),
                        unit=unit, stamp=bit + 1, rule=rule)
    for place, path in enumerate(cgroups[:abi.MONITOR_GROUPS]):
        value.groups[place] = os.stat(path).st_ino
    for place, number in enumerate(link_ids(links)[:abi.LINKS]):
        value.links[place] = number
    tables.put("monitors", 0, bytes(value))
    ticks, held = read_stamps(tables).get(os.getpid(), (0, frozenset()))
    if ticks != facts.start_ticks:
        held = frozenset()
    if bit not in held:
        bpf.map_update(tables.fd("stamps"), os.getpid().to_bytes(4, "little"),
                       stamp_value(facts.start_ticks, {*held, bit}))


def forget(tables: Tables) -> None:
    """Have the kernel know of no daemon any more."""
    if read(tables).stamp:
        tables.put("monitors", 0, bytes(abi.Monitor()))


def read(tables: Tables) -> abi.Monitor:
    """Return what the kernel knows."""
    return abi.Monitor.from_buffer_copy(tables.get("monitors", 0))


def open_for(tables: Tables, seconds: float) -> None:
    """Have the rule `self` deny nothing for so long, from now on; 0 ends it."""
    value = read(tables)
    value.open_until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(seconds * 1e9) if seconds else 0
    tables.put("monitors", 0, bytes(value))


def open_s(tables: Tables) -> float:
    """Return how long the rule will still deny nothing."""
    until_ns = int(read(tables).open_until_ns)
    return max(0.0, until_ns / 1e9 - time.clock_gettime(time.CLOCK_BOOTTIME))


def link_ids(links: Path) -> list[int]:
    """Return the numbers of the pinned links; what is pinned as a program has none."""
    found = []
    for pin in sorted(links.iterdir()):
        fd = bpf.obj_get(pin)
        try:
            info = bpf.obj_info(fd)
            if isinstance(info, bpf.LinkInfo):
                found.append(info.id)
        finally:
            os.close(fd)
    return found
