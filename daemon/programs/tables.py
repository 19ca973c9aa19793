"""The kernel's tables: their shapes, and making, opening and pinning them.

bpf/maps.h declares the same tables for the compiler; they are made here, since sizes, flags and inner maps are ours.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from .. import abi
from ..errors import HostError, LoadError
from ..kernel import bpf

MMAPABLE = 1024         # BPF_F_MMAPABLE
RING_BYTES = 1 << 22     # about 4,300 violations; the daemon maps it twice, all of it resident
NOTICE_BYTES = 1 << 16
LPM_PREFIX_BITS = 160


@dataclass(frozen=True)
class Table:
    """The shape of a map; sizes in bytes. Generation tables are outer maps of two inner ones."""

    type: int
    key_size: int
    value_size: int
    entries: int
    flags: int = 0
    is_per_generation: bool = False


def _array(value: int, entries: int, flags: int = 0) -> Table:
    return Table(bpf.BPF_MAP_TYPE_ARRAY, 4, value, entries, flags)


def _hash(key: int, value: int, entries: int) -> Table:
    return Table(bpf.BPF_MAP_TYPE_HASH, key, value, entries)


def _inner(map_type: int, key: int, value: int, flags: int = 0) -> Table:
    return Table(map_type, key, value, 1, flags, True)


def _size(struct: type[ctypes.Structure]) -> int:
    return ctypes.sizeof(struct)


TABLES: dict[str, Table] = {
    "actives": _array(4, 1),
    "generations": _array(_size(abi.Generation), 2),
    "filters": _array(8, 2 * abi.FILTER_WORDS, MMAPABLE),
    "superblocks": _array(8, 2 * abi.SB_WORDS),
    "ports": _array(8, 4 * abi.PORT_WORDS),
    "objects": _inner(bpf.BPF_MAP_TYPE_HASH, _size(abi.ObjectKey), _size(abi.Object)),
    "slots": _inner(bpf.BPF_MAP_TYPE_HASH, _size(abi.SlotKey), _size(abi.Slot)),
    "pseudo_paths": _inner(bpf.BPF_MAP_TYPE_HASH, 8, _size(abi.Object)),
    "endpoints": _inner(bpf.BPF_MAP_TYPE_LPM_TRIE, _size(abi.EndpointKey), 4, bpf.BPF_F_NO_PREALLOC),
    "sun_names": _inner(bpf.BPF_MAP_TYPE_HASH, 8, 4),
    "policies": _inner(bpf.BPF_MAP_TYPE_ARRAY, 4, _size(abi.Policy), bpf.BPF_F_INNER_MAP),
    "exes": _inner(bpf.BPF_MAP_TYPE_HASH, _size(abi.ObjectKey), _size(abi.Exe)),
    "codes": _inner(bpf.BPF_MAP_TYPE_HASH, _size(abi.ObjectKey), _size(abi.Code)),
    "checkpoints": _array(_size(abi.Checkpoint), abi.STAMP_BITS),
    "stamps": _hash(4, _size(abi.Stamp), abi.STAMPS),
    "units": _hash(_size(abi.UnitPath), 4, abi.UNITS),
    "unit_cgroups": _hash(8, 4, abi.UNIT_CGROUPS),
    "newborns": _hash(_size(abi.ObjectKey), _size(abi.Newborn), abi.NEWBORNS),
    "newborn_filters": _array(_size(abi.NewbornFilter), 1),
    "monitors": _array(_size(abi.Monitor), 1),
    "counters": _array(_size(abi.Counter), abi.RULES, MMAPABLE),
    "resolvers": _array(4, 1),
    "resolutions": _array(_size(abi.Resolved), 1, MMAPABLE),
    "sockets": Table(bpf.BPF_MAP_TYPE_SK_STORAGE, 4, _size(abi.SocketStamp), 0),
    "scratches": Table(bpf.BPF_MAP_TYPE_PERCPU_ARRAY, 4, _size(abi.Scratch), 1),
    "violations": Table(bpf.BPF_MAP_TYPE_RINGBUF, 0, 0, RING_BYTES),
    "notices": Table(bpf.BPF_MAP_TYPE_RINGBUF, 0, 0, NOTICE_BYTES),
}


def create_inner(name: str, entries: int) -> int:
    """Make an inner map of a generation table for `entries` elements; return its descriptor."""
    table = TABLES[name]
    return bpf.map_create(table.type, table.key_size, table.value_size, max(1, entries), table.flags,
                          f"nbsp_{name}"[:15])


def create(folder: Path) -> None:
    """Make and pin every table that is not pinned yet. Raises LoadError for a foreign pin, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in TABLES.items():
        pin = folder / name
        if pin.exists():
            _check(pin, table)
            continue
        if table.is_per_generation:
            inner = create_inner(name, 1)
            fd = bpf.map_create(bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0, f"nbsp_{name}"[:15], inner)
            os.close(inner)
        elif table.type == bpf.BPF_MAP_TYPE_SK_STORAGE:
            fd = bpf.storage_create(table.type, table.value_size, f"nbsp_{name}"[:15])
        else:
            fd = bpf.map_create(table.type, table.key_size, table.value_size, table.entries, table.flags,
                                f"nbsp_{name}"[:15])
        bpf.obj_pin(fd, pin)
        os.close(fd)


def are_whole(folder: Path) -> bool:
    """Return whether every table is pinned already."""
    return all((folder / name).exists() for name in TABLES)


def _check(pin: Path, table: Table) -> None:
    try:
        fd = bpf.obj_get(pin)
    except OSError as error:
        raise LoadError(f"{pin} is not ours: {error.strerror}", f"remove it: rm {pin}") from error
    try:
        info = bpf.obj_info(fd)
    finally:
        os.close(fd)
    expected = bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS if table.is_per_generation else table.type
    if not isinstance(info, bpf.MapInfo) or info.type != expected or (
            not table.is_per_generation and (info.key_size, info.value_size) != (table.key_size, table.value_size)):
        raise LoadError(f"{pin} is a foreign BPF object", f"remove it: rm {pin}")


class Tables:
    """Open descriptors of the pinned tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fds: dict[str, int] = {}
        self._mapped: dict[str, mmap.mmap] = {}

    def fd(self, name: str) -> int:
        """Return the descriptor of a table. Raises HostError when its pin is gone."""
        if name not in self._fds:
            try:
                self._fds[name] = bpf.obj_get(self.folder / name)
            except PermissionError as error:
                raise HostError("the programs in the kernel guard themselves and do not know this process as nbspd",
                                "let systemd start it: systemctl start nbspd") from error
            except OSError as error:
                raise HostError(f"the pin {self.folder / name} is gone: {error.strerror}",
                                "restart nbspd: systemctl restart nbspd") from error
        return self._fds[name]

    def mapped(self, name: str) -> mmap.mmap:
        """Return the memory of an mmapable array."""
        if name not in self._mapped:
            table = TABLES[name]
            size = (table.value_size + 7) // 8 * 8 * table.entries
            length = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
            self._mapped[name] = mmap.mmap(self.fd(name), length)
        return self._mapped[name]

    def unmap(self, name: str) -> None:
        """Give the memory of an array back."""
        mapped = self._mapped.pop(name, None)
        if mapped is not None:
            mapped.close()

    def put(self, name: str, index: int, value: bytes) -> None:
        """Write an element of an array."""
        bpf.map_update(self.fd(name), index.to_bytes(4, "little"), value)

    def get(self, name: str, index: int) -> bytes:
        """Return an element of an array."""
        value = bpf.map_lookup(self.fd(name), index.to_bytes(4, "little"))
        assert value is not None    # an array has every index
        return value

    def close(self) -> None:
        """Close everything; the pins stay."""
        for mapped in self._mapped.values():
            mapped.close()
        for fd in self._fds.values():
            os.close(fd)
        self._mapped.clear()
        self._fds.clear()
