"""bpf(2) against the real kernel: maps of every type we use, pins, and errors with their errno."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Iterator

import pytest
from nbspd.kernel import bpf, bpf_load, mounts

RETURN_1 = bytes.fromhex("b700000001000000" "9500000000000000")
MISSING = struct.pack("=Q", 404)


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


def u64(number: int) -> bytes:
    return struct.pack("=Q", number)


@pytest.fixture
def opened() -> Iterator[list[int]]:
    descriptors: list[int] = []
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture
def pins() -> Iterator[Path]:
    folder = mounts.BPFFS / f"nbsp_test_{os.getpid()}"
    assert mounts.bpffs_ready(folder)
    folder.mkdir()
    yield folder
    for pin in folder.iterdir():
        pin.unlink()
    folder.rmdir()


def hash_map(opened: list[int], entries: int = 100, flags: int = 0) -> int:
    opened.append(bpf.map_create(bpf.BPF_MAP_TYPE_HASH, 8, 4, entries, flags, "test"))
    return opened[-1]


def test_hash_roundtrip(opened: list[int]) -> None:
    fd = hash_map(opened)
    bpf.map_update(fd, u64(1), u32(10))
    bpf.map_update(fd, u64(1), u32(11), bpf.BPF_EXIST)
    assert bpf.map_lookup(fd, u64(1)) == u32(11)
    assert bpf.map_lookup(fd, MISSING) is None
    assert list(bpf.map_keys(fd)) == [u64(1)]
    assert bpf.map_delete(fd, u64(1)) and not bpf.map_delete(fd, u64(1))
    assert bpf.map_next_key(fd) is None


def test_info(opened: list[int]) -> None:
    info = bpf.obj_info(hash_map(opened, flags=bpf.BPF_F_NO_PREALLOC))
    assert isinstance(info, bpf.MapInfo)
    assert (info.type, info.key_size, info.value_size, info.max_entries) == (bpf.BPF_MAP_TYPE_HASH, 8, 4, 100)
    assert (info.flags, info.name) == (bpf.BPF_F_NO_PREALLOC, "test") and info.id in set(bpf.map_ids())


def test_info_of_something_else(opened: list[int]) -> None:
    opened.append(os.open("/dev/null", os.O_RDONLY))
    with pytest.raises(OSError, match="no bpf object"):
        bpf.obj_info(opened[-1])


def test_errors_have_their_errno(opened: list[int]) -> None:
    fd = hash_map(opened, 1)
    bpf.map_update(fd, u64(1), u32(1))
    for call, code in ((lambda: bpf.map_update(fd, u64(1), u32(1), bpf.BPF_NOEXIST), errno.EEXIST),
                       (lambda: bpf.map_update(fd, u64(2), u32(1), bpf.BPF_EXIST), errno.ENOENT),
                       (lambda: bpf.map_update(fd, u64(2), u32(1)), errno.E2BIG),
                       (lambda: bpf.obj_get(mounts.BPFFS / "no_such_pin"), errno.ENOENT),
                       (lambda: bpf.map_create(9999, 4, 4, 1), errno.EINVAL),
                       (lambda: bpf.map_info(999999), errno.EBADFD)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == code


def test_wrong_sizes_never_reach_the_kernel(opened: list[int]) -> None:
    fd = hash_map(opened)
    for call in (lambda: bpf.map_update(fd, b"short", u32(1)), lambda: bpf.map_update(fd, u64(1), b""),
                 lambda: bpf.map_lookup(fd, b""), lambda: bpf.map_delete(fd, u32(1)),
                 lambda: bpf.map_next_key(fd, b"1"), lambda: bpf.update_batch(fd, [(u64(1), b"123")])):
        with pytest.raises(ValueError, match="of this map has"):
            call()


@pytest.mark.parametrize("flags", [0, bpf.BPF_F_NO_PREALLOC])
def test_batches(opened: list[int], flags: int) -> None:
    fd = hash_map(opened, 20000, flags)
    items = {u64(number): u32(number) for number in range(10000)}
    assert bpf.update_batch(fd, items.items()) == 10000
    assert dict(bpf.lookup_batch(fd)) == items
    assert bpf.update_batch(fd, list(items.items())[:10], bpf.BPF_EXIST) == 10
    assert bpf.map_clear(fd) == 10000 and bpf.lookup_batch(fd) == []
    assert bpf.update_batch(fd, []) == 0


def test_array_and_freeze(opened: list[int]) -> None:
    opened.append(bpf.map_create(bpf.BPF_MAP_TYPE_ARRAY, 4, 8, 3))
    fd = opened[-1]
    bpf.map_update(fd, u32(2), u64(7))
    assert bpf.lookup_batch(fd) == [(u32(0), u64(0)), (u32(1), u64(0)), (u32(2), u64(7))]
    bpf.map_freeze(fd)
    with pytest.raises(PermissionError):
        bpf.map_update(fd, u32(2), u64(8))


def test_per_cpu_values_hold_every_cpu(opened: list[int]) -> None:
    opened.append(bpf.map_create(bpf.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 12, 2))
    fd, size = opened[-1], 16 * bpf.possible_cpus()
    assert bpf.map_info(fd).buffer_size == size
    bpf.map_update(fd, u32(1), bytes(range(12)) + bytes(size - 12))
    value = bpf.map_lookup(fd, u32(1))
    assert value is not None and len(value) == size and value[:12] == bytes(range(12))
    assert bpf.lookup_batch(fd) == [(u32(0), bytes(size)), (u32(1), value)]


def test_longest_prefix(opened: list[int]) -> None:
    opened.append(bpf.map_create(bpf.BPF_MAP_TYPE_LPM_TRIE, 8, 4, 10, bpf.BPF_F_NO_PREALLOC))
    fd = opened[-1]
    items = {u32(8) + bytes([10, 0, 0, 0]): u32(1), u32(24) + bytes([10, 1, 2, 0]): u32(2)}
    assert bpf.update_batch(fd, items.items()) == 2
    assert bpf.map_lookup(fd, u32(32) + bytes([10, 1, 2, 3])) == u32(2)
    assert bpf.map_lookup(fd, u32(32) + bytes([10, 9, 2, 3])) == u32(1)
    assert bpf.map_lookup(fd, u32(32) + bytes([11, 1, 2, 3])) is None
    assert dict(bpf.lookup_batch(fd)) == items
    assert bpf.map_clear(fd) == 2


def test_array_of_maps_takes_inner_arrays_of_other_sizes(opened: list[int]) -> None:
    inner = [bpf.map_create(bpf.BPF_MAP_TYPE_ARRAY, 4, 8, entries, bpf.BPF_F_INNER_MAP) for entries in (1, 64)]
    opened += inner
    opened.append(bpf.map_create(bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, name="outer", inner_fd=inner[0]))
    outer = opened[-1]
    bpf.map_update(outer, u32(0), u32(inner[1]))
    assert bpf.map_lookup(outer, u32(0)) == u32(bpf.map_info(inner[1]).id)
    assert bpf.map_lookup(outer, u32(1)) is None
    opened.append(bpf.map_fd_by_id(bpf.map_info(inner[1]).id))
    assert bpf.map_info(opened[-1]).max_entries == 64


def test_hash_of_maps(opened: list[int]) -> None:
    opened.append(bpf.map_create(bpf.BPF_MAP_TYPE_ARRAY, 4, 8, 4))
    inner = opened[-1]
    opened.append(bpf.map_create(bpf.BPF_MAP_TYPE_HASH_OF_MAPS, 8, 4, 2, inner_fd=inner))
    bpf.map_update(opened[-1], u64(5), u32(inner))
    assert bpf.map_lookup(opened[-1], u64(5)) == u32(bpf.map_info(inner).id)
    assert list(bpf.map_keys(opened[-1])) == [u64(5)]


def test_pin_outlives_the_descriptor(opened: list[int], pins: Path) -> None:
    fd = bpf.map_create(bpf.BPF_MAP_TYPE_HASH, 8, 4, 100, name="pinned")
    bpf.map_update(fd, u64(3), u32(33))
    bpf.obj_pin(fd, pins / "pinned")
    os.close(fd)
    opened.append(bpf.obj_get(pins / "pinned"))
    assert bpf.map_lookup(opened[-1], u64(3)) == u32(33)
    with pytest.raises(FileExistsError):
        bpf.obj_pin(opened[-1], pins / "pinned")
    opened.append(bpf.obj_get(pins / "pinned", bpf.BPF_F_RDONLY))
    with pytest.raises(PermissionError):
        bpf.map_update(opened[-1], u64(3), u32(1))


def test_a_foreign_file_is_no_pin(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a pin")
    with pytest.raises(OSError) as caught:
        bpf.obj_get(tmp_path / "file")
    assert caught.value.errno in (errno.EACCES, errno.EPERM, errno.EINVAL)
    assert caught.value.filename == str(tmp_path / "file")


def test_descriptors_are_not_inherited(opened: list[int]) -> None:
    assert not os.get_inheritable(hash_map(opened))


def test_program_link_and_cgroup(opened: list[int]) -> None:
    """A program that lets everything through, on a cgroup made for this test and holding nobody."""
    cgroup = mounts.cgroup2_root() / f"nbsp_test_{os.getpid()}"
    cgroup.mkdir()
    try:
        folder = os.open(cgroup, os.O_RDONLY)
        opened.append(folder)
        opened.append(bpf_load.prog_load(8, RETURN_1, "allow", 1))      # CGROUP_SKB, egress
        program = bpf.obj_info(opened[-1])
        assert isinstance(program, bpf.ProgInfo) and program.name == "allow" and program.id in set(bpf.prog_ids())
        link = bpf_load.link_create(opened[-1], folder, 1)
        opened.append(link)
        info = bpf.obj_info(link)
        assert isinstance(info, bpf.LinkInfo) and info.prog_id == program.id and info.id in set(bpf.link_ids())
        assert bpf_load.prog_query(folder, 1) == (program.id,)
        bpf_load.link_update(link, opened[1])
        bpf_load.link_detach(link)
        assert bpf_load.prog_query(folder, 1) == ()
        bpf_load.prog_attach(opened[1], folder, 1)
        assert bpf_load.prog_query(folder, 1) == (program.id,)
        bpf_load.prog_detach(opened[1], folder, 1)
        assert bpf_load.prog_query(folder, 1) == ()
    finally:
        cgroup.rmdir()


def test_a_raw_tracepoint_keeps_its_program(opened: list[int]) -> None:
    """What programs/attach.py says of links that cannot be updated."""
    opened += [bpf_load.prog_load(17, RETURN_1, "tracing") for _ in range(2)]
    opened.append(bpf_load.raw_tracepoint_open(opened[0], "sched_process_exit"))
    with pytest.raises(OSError) as caught:
        bpf_load.link_update(opened[2], opened[1])
    assert caught.value.errno == errno.EINVAL


def test_a_refusal_brings_the_verifiers_log() -> None:
    with pytest.raises(bpf_load.Refused, match="Permission denied") as caught:
        bpf_load.prog_load(8, bytes.fromhex("9500000000000000"), "no_value", 1)
    assert "R0 !read_ok" in caught.value.log
    with pytest.raises(bpf_load.Refused) as caught:
        bpf_load.prog_load(9999, RETURN_1)
    assert caught.value.errno == errno.EINVAL and caught.value.log == ""
