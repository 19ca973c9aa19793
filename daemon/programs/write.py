"""Write a generation beside the active one, read it back, and flip the one word that makes it count."""

from __future__ import annotations

import os
from typing import Mapping

from .. import abi
from ..errors import LoadError
from ..kernel import bpf
from .bound import Bound
from .image import Image
from .inspect import Key
from .sealing import code_of
from .tables import Tables, create_inner


def active_slot(tables: Tables) -> int | None:
    """Return the generation slot that hooks judge by, None when nothing is enforced."""
    word = int.from_bytes(tables.get("actives", 0), "little")
    return (word - 1) & 1 if word else None


def active_number(tables: Tables) -> int:
    """Return the number of the active generation, 0 for none."""
    slot = active_slot(tables)
    return 0 if slot is None else int(abi.Generation.from_buffer_copy(tables.get("generations", slot)).number)


def stage(tables: Tables, image: Image, number: int) -> int:
    """Write a generation into the slot that is not active and read it back; return the slot.

    Raises LoadError, OSError.
    """
    active = active_slot(tables)
    slot = 0 if active is None else 1 - active
    for name, rows in image.inner.items():
        inner = create_inner(name, len(rows))
        try:
            bpf.update_batch(inner, rows)
            _read_back(name, inner, rows)
            # the kernel waits here for every program that may still use the map that was there (map_in_map.c)
            tables.put(name, slot, inner.to_bytes(4, "little"))
        finally:
            os.close(inner)
    filters = tables.mapped("filters")
    begin = slot * abi.FILTER_WORDS * 8
    filters[begin:begin + len(image.filters)] = image.filters
    if filters[begin:begin + len(image.filters)] != image.filters:
        raise LoadError("the kernel's object filter does not hold what was written",
                        "restart nbspd, and report this kernel")
    tables.unmap("filters")     # 2 MiB, all of it resident
    _put_words(tables, "superblocks", slot * abi.SB_WORDS, image.superblocks)
    _put_words(tables, "ports", slot * 2 * abi.PORT_WORDS, image.ports)
    before = abi.Generation.from_buffer_copy(tables.get("generations", 1 - slot))
    generation = abi.Generation(number=number, filter_mask=image.filter_words - 1,
                                serial=before.serial + 1 & 0xFFFFFFFF, pseudo_kinds=image.pseudo_kinds,
                                pseudo_anywhere=image.pseudo_anywhere, pseudo_trees=image.pseudo_trees,
                                pseudo_whole=image.pseudo_whole, one=1, guard_policy=image.guard_policy,
                                kernel_policy=image.kernel_policy)
    for bit in image.sealed:
        generation.sealed[bit >> 6] |= 1 << (bit & 63)
    tables.put("generations", slot, bytes(generation))
    return slot


def _read_back(name: str, fd: int, rows: list[tuple[bytes, bytes]]) -> None:
    if not rows:
        return
    if dict(bpf.lookup_batch(fd)) != dict(rows):
        raise LoadError(f"the kernel's table {name} does not hold what was written",
                        "restart nbspd, and report this kernel")


def _put_words(tables: Tables, name: str, first: int, content: bytes) -> None:
    bpf.update_batch(tables.fd(name), [((first + index).to_bytes(4, "little"), content[index * 8:index * 8 + 8])
                                       for index in range(len(content) // 8)])


def flip(tables: Tables, slot: int) -> None:
    """Make a staged generation the active one, and wait until no program uses the one before."""
    tables.put("actives", 0, (slot + 1).to_bytes(4, "little"))
    settle(tables, slot)


def settle(tables: Tables, slot: int) -> None:
    """Wait for every running program: writing to an outer map ends with an RCU grace period (map_in_map.c)."""
    current = bpf.map_fd_by_id(int.from_bytes(tables.get("sun_names", slot), "little"))
    try:
        tables.put("sun_names", slot, current.to_bytes(4, "little"))
    finally:
        os.close(current)


def disarm(tables: Tables) -> None:
    """Enforce nothing."""
    tables.put("actives", 0, bytes(4))


def write_checkpoints(tables: Tables, bound: Bound, bits: Mapping[int, int], units: Mapping[str, int]) -> None:
    """Write the conditions of each checkpoint under its bit."""
    index_of = {one.checkpoint.name: index for index, one in enumerate(bound.checkpoints)}
    for index, one in enumerate(bound.checkpoints):
        flags = abi.CheckpointFlag.PRESENT
        value = abi.Checkpoint(exe=object_key(one.exe))
        if one.checkpoint.stamp == "children":
            flags |= abi.CheckpointFlag.CHILDREN
        if one.is_manager:
            flags |= abi.CheckpointFlag.MANAGER
        if one.uid is not None:
            flags |= abi.CheckpointFlag.USER
            value.uid = one.uid
        if one.cgroup is not None:
            flags |= abi.CheckpointFlag.UNIT
            value.unit = units[one.cgroup]
        if code_of(one.checkpoint)[2]:
            flags |= abi.CheckpointFlag.ANY_MEMORY
        for name in one.checkpoint.after:
            bit = bits[index_of[name]]
            value.after[bit >> 6] |= 1 << (bit & 63)
            flags |= abi.CheckpointFlag.AFTER
        value.flags = flags
        tables.put("checkpoints", bits[index], bytes(value))


def object_key(key: Key) -> abi.ObjectKey:
    """Return an inode's key as the kernel keeps it."""
    dev, ino, gen = key
    return abi.ObjectKey(ino=ino, dev=dev, gen=gen)


def wipe_bits(tables: Tables, wiped: frozenset[int]) -> None:
    """Take stamp bits away from every process before they are given a new meaning."""
    from .stamping import read_stamps, stamp_value
    for pid, (ticks, bits) in read_stamps(tables).items():
        if bits & wiped:
            bpf.map_update(tables.fd("stamps"), pid.to_bytes(4, "little"), stamp_value(ticks, bits - wiped))
