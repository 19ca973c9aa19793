"""The hashes of names, compared with the very text that the kernel's programs are compiled from."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbspd.programs import names
from nbspd.rules.pseudo import MAGIC, Place

BPF = Path(__file__).parents[3] / "bpf"
HEAD = """
#include <string.h>
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define __always_inline inline __attribute__((always_inline))
#define bpf_probe_read_kernel(target, size, source) memcpy(target, source, size)
"""
TAIL = """
__u64 hash_slot(const void *name, long length) { return name_hash(name, length, SLOT_NAME_WORDS); }
__u64 hash_sun(const void *name, long length) { return name_hash(name, length, SUN_NAME_WORDS); }
__u64 hint(const void *name, long length) { return name_hint(name, length); }
__u32 object(__u64 ino, __u32 dev) { return object_hash(ino, dev); }
__u32 bit(__u32 hash, __u32 length) { return slot_bit(hash, length); }
__u64 name_in_path(const void *name, long length) { return name_hash(name, length, PSEUDO_NAME_WORDS); }
__u64 kind_root(__u64 magic) { return pseudo_root(magic); }
__u64 kind_bit(__u64 root) { return pseudo_bit(root); }
__u64 wherever(__u64 root, __u64 name) { return pseudo_wherever(root, name); }
__u32 top(__u64 root, const void *name, long length) { return pseudo_top(root, name, length); }
"""
AROUND = 128        # bytes of something else before and behind a name, as in the kernel's memory

NAMES = st.binary(max_size=255) | st.integers(0, 255).flatmap(lambda size: st.just(b"n" * size))
GARBAGE = st.sampled_from([b"\0", b"\xff", b"n", b"\xa5"])


def function(text: str, name: str) -> str:
    """Return the C function of that name."""
    at = text.index(f" {name}(")
    begin = text.rindex("static __always_inline", 0, at)
    return text[begin:text.index("\n}\n", at) + 3]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions of bpf/hashes.h and bpf/pseudo.h as a library."""
    hashes, pseudo, unix = ((BPF / name).read_text() for name in ("hashes.h", "pseudo.h", "unix.c"))
    parts = [HEAD, function(hashes, "object_hash"), function(hashes, "slot_bit"),
             "#define HASH_MULTIPLIER" + hashes.split("#define HASH_MULTIPLIER", 1)[1],
             *(line + "\n" for line in (unix + pseudo).splitlines()
               if line.startswith(("#define SUN_NAME_WORDS", "#define PSEUDO_NAME_WORDS"))),
             *(function(pseudo, name) for name in ("pseudo_root", "pseudo_bit", "pseudo_top", "pseudo_wherever")), TAIL]
    folder = tmp_path_factory.mktemp("names")
    (folder / "names.c").write_text("".join(parts))
    compiler = shutil.which("clang") or shutil.which("gcc")
    assert compiler, "a C compiler is needed: tests/install-deps"
    subprocess.run([compiler, "-O1", "-w", "-shared", "-fPIC", "-o", folder / "names.so", folder / "names.c"],
                   check=True)
    library = ctypes.CDLL(str(folder / "names.so"))
    library.kind_root.argtypes, library.kind_root.restype = (ctypes.c_uint64,), ctypes.c_uint64
    library.kind_bit.argtypes, library.kind_bit.restype = (ctypes.c_uint64,), ctypes.c_uint64
    library.wherever.argtypes, library.wherever.restype = (ctypes.c_uint64, ctypes.c_uint64), ctypes.c_uint64
    library.top.argtypes, library.top.restype = (ctypes.c_uint64, ctypes.c_void_p, ctypes.c_long), ctypes.c_uint32
    for each in (library.hash_slot, library.hash_sun, library.hint, library.name_in_path):
        each.argtypes, each.restype = (ctypes.c_void_p, ctypes.c_long), ctypes.c_uint64
    library.object.argtypes, library.object.restype = (ctypes.c_uint64, ctypes.c_uint32), ctypes.c_uint32
    library.bit.argtypes, library.bit.restype = (ctypes.c_uint32, ctypes.c_uint32), ctypes.c_uint32
    return library


@given(NAMES, GARBAGE)
def test_names_hash_as_in_the_kernel(kernel: ctypes.CDLL, name: bytes, garbage: bytes) -> None:
    memory = ctypes.create_string_buffer(garbage * AROUND + name + garbage * AROUND)
    at = ctypes.addressof(memory) + AROUND
    assert kernel.hash_slot(at, len(name)) == names.name_hash(name, names.SLOT_WORDS)
    assert kernel.hash_sun(at, len(name)) == names.name_hash(name, names.SUN_WORDS)
    assert kernel.hint(at, len(name)) == names.name_hint(name)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_inodes_hash_as_in_the_kernel(kernel: ctypes.CDLL, ino: int, dev: int, length: int) -> None:
    value = names.object_hash(ino, dev)
    assert kernel.object(ino, dev) == value
    assert kernel.bit(value, length) == names.slot_bit(value, length) < 64


PATH_NAMES = st.lists(st.text(st.characters(blacklist_characters="/\0*", blacklist_categories=["Cs"]), min_size=1,
                              max_size=40), min_size=1, max_size=16)


@given(st.sampled_from(sorted(MAGIC)), PATH_NAMES)
def test_paths_hash_as_in_the_kernel(kernel: ctypes.CDLL, kind: str, path: list[str]) -> None:
    """As pseudo_policy() does it: summed up from the file to the root, taken apart again on the way through trees."""
    root = kernel.kind_root(MAGIC[kind])
    raw = [os.fsencode(name) for name in path]
    hashes = [kernel.name_in_path(ctypes.create_string_buffer(name), len(name)) for name in raw]
    value, power = 0, 1
    for each in reversed(hashes):
        value, power = (value + each * power) & names.MASK, power * names.MULTIPLIER & names.MASK
    value = (value + root * power) & names.MASK
    inverse = re.search(r"HASH_INVERSE 0x([0-9A-F]+)ULL", (BPF / "pseudo.h").read_text())
    assert inverse and int(inverse[1], 16) * names.MULTIPLIER & names.MASK == 1
    for depth in range(len(path), 0, -1):
        assert value == names.pseudo_hash(Place(kind, tuple(path[:depth])))
        value = (value - hashes[depth - 1]) * int(inverse[1], 16) & names.MASK
    assert value == root == names.pseudo_hash(Place(kind)) == names.pseudo_root(kind)
    first = ctypes.create_string_buffer(raw[0])
    assert kernel.top(root, first, len(raw[0])) == names.pseudo_top(Place(kind, (path[0],)))
    assert kernel.wherever(root, hashes[-1]) == names.pseudo_hash(Place(kind, ("**", path[-1])))


def test_the_bits_of_kinds_leave_ordinary_file_systems_alone(kernel: ctypes.CDLL) -> None:
    """Magic numbers of tmpfs, overlayfs, btrfs, ramfs and fuse, all of them without a device."""
    bits = {names.pseudo_bit(kind) for kind in MAGIC}
    for magic in (0x01021994, 0x794C7630, 0x9123683E, 0x858458F6, 0x65735546):
        assert kernel.kind_bit(kernel.kind_root(magic)) not in bits
    assert bits == {kernel.kind_bit(kernel.kind_root(magic)) for magic in MAGIC.values()}


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_short_names_that_differ_have_different_hashes(one: bytes, other: bytes) -> None:
    same = names.name_hash(one, names.SLOT_WORDS) == names.name_hash(other, names.SLOT_WORDS)
    assert same == (one == other)


def test_what_counts_of_a_name() -> None:
    long = b"a" * 100
    assert names.name_hash(long, 8) != names.name_hash(long[:-1] + b"b", 8) != names.name_hash(b"b" + long[1:], 8)
    assert names.name_hash(long, 8) == names.name_hash(long[:70] + b"b" + long[71:], 8)
    assert names.name_hint(b"abcdefgh-x-ijklmnop") == names.name_hint(b"abcdefgh-y-ijklmnop")
    assert names.name_hint(b"abc") != names.name_hint(b"abc\0")
    assert names.name_hash(b"abc", 8) != names.name_hash(b"abc\0", 8)
