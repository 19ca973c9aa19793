"""Maps, pins, and what the kernel says about its objects, by bpf(2): without libbpf and without LLVM.

Keys and values are bytes.  Their sizes are checked against the map before every call, so a wrong struct is a
ValueError and never a read or write past a buffer.  Everything the kernel refuses is an OSError with its errno.
Programs are loaded and attached in bpf_load.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Callable, Iterable, Iterator

from .bpf_call import (ATTR_SIZE, BTF_LOAD, ENOTSUPP, LINK_GET_FD_BY_ID, LINK_GET_NEXT_ID, MAP_CREATE, MAP_DELETE_ELEM,
                       MAP_FREEZE, MAP_GET_FD_BY_ID, MAP_GET_NEXT_ID, MAP_GET_NEXT_KEY, MAP_LOOKUP_BATCH,
                       MAP_LOOKUP_ELEM, MAP_UPDATE_BATCH, MAP_UPDATE_ELEM, NAME_SIZE, OBJ_GET, OBJ_GET_INFO_BY_FD,
                       OBJ_PIN, PROG_GET_FD_BY_ID, PROG_GET_NEXT_ID, attempt, call, descriptor, object_name)

BPF_MAP_TYPE_HASH = 1
BPF_MAP_TYPE_ARRAY = 2
BPF_MAP_TYPE_PERCPU_HASH = 5
BPF_MAP_TYPE_PERCPU_ARRAY = 6
BPF_MAP_TYPE_LRU_HASH = 9
BPF_MAP_TYPE_LRU_PERCPU_HASH = 10
BPF_MAP_TYPE_LPM_TRIE = 11
BPF_MAP_TYPE_ARRAY_OF_MAPS = 12
BPF_MAP_TYPE_HASH_OF_MAPS = 13
BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE = 21
BPF_MAP_TYPE_SK_STORAGE = 24
BPF_MAP_TYPE_RINGBUF = 27
BPF_MAP_TYPE_TASK_STORAGE = 29
PER_CPU = frozenset({BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_LRU_PERCPU_HASH,
                     BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE})

BPF_LINK_TYPE_CGROUP = 3

BPF_ANY = 0
BPF_NOEXIST = 1
BPF_EXIST = 2

BPF_F_NO_PREALLOC = 1
BPF_F_RDONLY = 8
BPF_F_WRONLY = 16
BPF_F_RDONLY_PROG = 128
BPF_F_INNER_MAP = 4096

BATCH = 4096                # elements read per call


@dataclass(frozen=True)
class MapInfo:
    """What the kernel says of a map; sizes in bytes."""

    id: int
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str

    @property
    def buffer_size(self) -> int:
        """Return the size of a value as user space sees it: one per possible CPU in per-CPU maps."""
        return (self.value_size + 7) // 8 * 8 * possible_cpus() if self.type in PER_CPU else self.value_size


@dataclass(frozen=True)
class ProgInfo:
    """What the kernel says of a program."""

    id: int
    type: int
    tag: str
    name: str


@dataclass(frozen=True)
class LinkInfo:
    """What the kernel says of a link; `cgroup_id` is the inode number of a cgroup's folder, 0 for other links."""

    id: int
    type: int
    prog_id: int
    cgroup_id: int = 0
    attach_type: int = 0


@cache
def possible_cpus() -> int:
    """Return how many CPUs this machine may ever have."""
    last = Path("/sys/devices/system/cpu/possible").read_text().strip().replace(",", "-").split("-")[-1]
    return int(last) + 1


def _sized(data: bytes, size: int, what: str) -> ctypes.Array[ctypes.c_char]:
    if len(data) != size:
        raise ValueError(f"a {what} of this map has {size} bytes, not {len(data)}")
    return ctypes.create_string_buffer(data, size)


# maps

def map_create(map_type: int, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = "",
               inner_fd: int = 0) -> int:
    """Create a map and return its descriptor; `inner_fd` is the template of a map of maps."""
    return descriptor(MAP_CREATE, struct.pack("=7I16s", map_type, key_size, value_size, max_entries, flags, inner_fd,
                                              0, object_name(name)))


def btf_load(data: bytes) -> int:
    """Give the kernel a BTF blob and return its descriptor."""
    buffer = ctypes.create_string_buffer(data, len(data))
    return descriptor(BTF_LOAD, struct.pack("=QQIIIIII", ctypes.addressof(buffer), 0, len(data), 0, 0, 0, 0, 0))


def storage_create(map_type: int, value_size: int, name: str = "") -> int:
    """Create a map of local storage (of sockets, tasks ...), which the kernel makes only with BTF for its types.

    Key `int`, value an array of 32-bit words; `value_size` in bytes. Format: Documentation/bpf/btf.rst.
    """
    integer, array = 1 << 24, 3 << 24
    types = struct.pack("=IIII", 1, integer, 4, 1 << 24 | 32)
    types += struct.pack("=IIIIII", 0, array, 0, 1, 1, value_size // 4)
    strings = b"\0int\0"
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    btf = btf_load(header + types + strings)
    try:
        return descriptor(MAP_CREATE, struct.pack("=7I16sIIIII", map_type, 4, value_size, 0, BPF_F_NO_PREALLOC, 0, 0,
                                                  object_name(name), 0, btf, 1, 2, 0))
    finally:
        os.close(btf)


def map_update(fd: int, key: bytes, value: bytes, flags: int = BPF_ANY) -> None:
    """Write one element; the value of a map of maps is the inner descriptor as u32."""
    info = map_info(fd)
    _update(fd, info, key, value, flags)


def map_lookup(fd: int, key: bytes) -> bytes | None:
    """Return one value, None when there is no such key; of a map of maps the inner map's id as u32."""
    return _lookup(fd, map_info(fd), key)


def map_delete(fd: int, key: bytes) -> bool:
    """Remove one element; False when there was none."""
    buffer = _sized(key, map_info(fd).key_size, "key")
    try:
        call(MAP_DELETE_ELEM, struct.pack("=I4xQQQ", fd, ctypes.addressof(buffer), 0, 0))
    except FileNotFoundError:
        return False
    return True


def map_next_key(fd: int, key: bytes | None = None) -> bytes | None:
    """Return the key after `key` (None: the first), None after the last."""
    return _next_key(fd, map_info(fd), key)


def map_keys(fd: int) -> Iterator[bytes]:
    """Go through all keys; do not delete while this runs, a deleted key starts it anew."""
    info = map_info(fd)
    key = _next_key(fd, info, None)
    while key is not None:
        yield key
        key = _next_key(fd, info, key)


def map_clear(fd: int) -> int:
    """Remove every element of a hash or a trie and return how many there were."""
    keys = list(map_keys(fd))
    return sum(map_delete(fd, key) for key in keys)


def map_freeze(fd: int) -> None:
    """Make a map read-only for user space, for ever."""
    call(MAP_FREEZE, struct.pack("=I", fd))


def update_batch(fd: int, items: Iterable[tuple[bytes, bytes]], flags: int = BPF_ANY) -> int:
    """Write many elements and return how many; one call where the map can, else one by one."""
    info, pairs = map_info(fd), list(items)
    if not pairs:
        return 0
    for key, value in pairs:
        if len(key) != info.key_size or len(value) != info.buffer_size:
            raise ValueError(f"an element of this map has {info.key_size} + {info.buffer_size} bytes, "
                             f"not {len(key)} + {len(value)}")
    if flags == BPF_ANY:
        keys = ctypes.create_string_buffer(b"".join(key for key, _ in pairs), info.key_size * len(pairs))
        values = ctypes.create_string_buffer(b"".join(value for _, value in pairs), info.buffer_size * len(pairs))
        try:
            call(MAP_UPDATE_BATCH, struct.pack("=QQQQIIQQ", 0, 0, ctypes.addressof(keys), ctypes.addressof(values),
                                               len(pairs), fd, 0, 0))
            return len(pairs)
        except OSError as error:
            if error.errno not in (errno.EINVAL, ENOTSUPP, errno.EOPNOTSUPP):
                raise
    for key, value in pairs:
        _update(fd, info, key, value, flags)
    return len(pairs)


def lookup_batch(fd: int) -> list[tuple[bytes, bytes]]:
    """Return all elements; no snapshot: what changes meanwhile may be there or not."""
    info = map_info(fd)
    try:
        return _read_batches(fd, info)
    except OSError as error:
        if error.errno not in (errno.EINVAL, ENOTSUPP, errno.EOPNOTSUPP):
            raise
    pairs = ((key, _lookup(fd, info, key)) for key in map_keys(fd))
    return [(key, value) for key, value in pairs if value is not None]


def _update(fd: int, info: MapInfo, key: bytes, value: bytes, flags: int) -> None:
    key_buffer, value_buffer = _sized(key, info.key_size, "key"), _sized(value, info.buffer_size, "value")
    call(MAP_UPDATE_ELEM, struct.pack("=I4xQQQ", fd, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer),
                                      flags))


def _lookup(fd: int, info: MapInfo, key: bytes) -> bytes | None:
    key_buffer, value = _sized(key, info.key_size, "key"), ctypes.create_string_buffer(info.buffer_size)
    try:
        call(MAP_LOOKUP_ELEM, struct.pack("=I4xQQQ", fd, ctypes.addressof(key_buffer), ctypes.addressof(value), 0))
    except FileNotFoundError:
        return None
    return value.raw


def _next_key(fd: int, info: MapInfo, key: bytes | None) -> bytes | None:
    following = ctypes.create_string_buffer(info.key_size)
    at = 0
    if key is not None:
        key_buffer = _sized(key, info.key_size, "key")
        at = ctypes.addressof(key_buffer)
    try:
        call(MAP_GET_NEXT_KEY, struct.pack("=I4xQQQ", fd, at, ctypes.addressof(following), 0))
    except FileNotFoundError:
        return None
    return following.raw


def _read_batches(fd: int, info: MapInfo) -> list[tuple[bytes, bytes]]:
    pairs: list[tuple[bytes, bytes]] = []
    cursor = ctypes.create_string_buffer(max(info.key_size, 4))
    cursor_next = ctypes.create_string_buffer(max(info.key_size, 4))
    is_first, is_last, room = True, False, min(BATCH, info.max_entries)
    while not is_last:
        keys, values = (ctypes.create_string_buffer(size * room) for size in (info.key_size, info.buffer_size))
        attr = ctypes.create_string_buffer(struct.pack(
            "=QQQQIIQQ", 0 if is_first else ctypes.addressof(cursor), ctypes.addressof(cursor_next),
            ctypes.addressof(keys), ctypes.addressof(values), room, fd, 0, 0), ATTR_SIZE)
        code = -attempt(MAP_LOOKUP_BATCH, attr)
        if code == errno.ENOSPC:    # a hash bucket holds more than there is room for
            room *= 2
            continue
        if code > 0 and code != errno.ENOENT:
            raise OSError(code, os.strerror(code))
        is_last = code == errno.ENOENT
        count = struct.unpack_from("=I", attr, 32)[0]
        pairs += zip(_slices(keys.raw, info.key_size, count), _slices(values.raw, info.buffer_size, count))
        cursor, cursor_next, is_first = cursor_next, cursor, False
    return pairs


def _slices(data: bytes, size: int, count: int) -> Iterator[bytes]:
    return (data[at:at + size] for at in range(0, size * count, size))


# pins and objects

def obj_pin(fd: int, path: Path) -> None:
    """Give a map, program or link a name on bpffs, which keeps it alive."""
    text = ctypes.create_string_buffer(os.fsencode(path))
    call(OBJ_PIN, struct.pack("=QII", ctypes.addressof(text), fd, 0), str(path))


def obj_get(path: Path, flags: int = 0) -> int:
    """Open a pin."""
    text = ctypes.create_string_buffer(os.fsencode(path))
    return descriptor(OBJ_GET, struct.pack("=QII", ctypes.addressof(text), 0, flags), str(path))


def obj_info(fd: int) -> MapInfo | ProgInfo | LinkInfo:
    """Return what the kernel says of whatever a descriptor is.  Raises OSError EINVAL when it is no bpf object."""
    target = os.readlink(f"/proc/self/fd/{fd}")
    readers: dict[str, Callable[[int], MapInfo | ProgInfo | LinkInfo]] = {
        "bpf-map": map_info, "bpf-prog": prog_info, "bpf-link": link_info, "bpf_link": link_info}
    for kind, reader in readers.items():
        if kind in target:
            return reader(fd)
    raise OSError(errno.EINVAL, f"{target} is no bpf object")


def map_info(fd: int) -> MapInfo:
    """Return what the kernel says of a map."""
    kind, number, key_size, value_size, entries, flags, name = struct.unpack_from("=6I16s", _info(fd))
    return MapInfo(number, kind, key_size, value_size, entries, flags, _text(name))


def prog_info(fd: int) -> ProgInfo:
    """Return what the kernel says of a program."""
    raw = _info(fd)
    kind, number, tag = struct.unpack_from("=II8s", raw)
    return ProgInfo(number, kind, tag.hex(), _text(raw[64:64 + NAME_SIZE]))


def link_info(fd: int) -> LinkInfo:
    """Return what the kernel says of a link."""
    kind, number, program, cgroup, attach_type = struct.unpack_from("=III4xQI", _info(fd))
    is_cgroup = kind == BPF_LINK_TYPE_CGROUP
    return LinkInfo(number, kind, program, cgroup if is_cgroup else 0, attach_type if is_cgroup else 0)


def map_fd_by_id(number: int) -> int:
    """Open a map by its id."""
    return descriptor(MAP_GET_FD_BY_ID, struct.pack("=I", number))


def prog_fd_by_id(number: int) -> int:
    """Open a program by its id."""
    return descriptor(PROG_GET_FD_BY_ID, struct.pack("=I", number))


def link_fd_by_id(number: int) -> int:
    """Open a link by its id."""
    return descriptor(LINK_GET_FD_BY_ID, struct.pack("=I", number))


def map_ids() -> Iterator[int]:
    """Go through the ids of all maps of the machine."""
    return _ids(MAP_GET_NEXT_ID)


def prog_ids() -> Iterator[int]:
    """Go through the ids of all programs of the machine."""
    return _ids(PROG_GET_NEXT_ID)


def link_ids() -> Iterator[int]:
    """Go through the ids of all links of the machine."""
    return _ids(LINK_GET_NEXT_ID)


def _ids(command: int) -> Iterator[int]:
    number = 0
    while True:
        try:
            number = struct.unpack_from("=I", call(command, struct.pack("=I", number))[1], 4)[0]
        except FileNotFoundError:
            return
        yield number


def _info(fd: int) -> bytes:
    buffer = ctypes.create_string_buffer(256)
    call(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(buffer), ctypes.addressof(buffer)))
    return buffer.raw


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")
