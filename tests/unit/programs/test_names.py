"""The hashes of names, compared with the very text that the kernel's programs are compiled from."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbspd.programs import names

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
"""
AROUND = 128        # bytes of something else before and behind a name, as in the kernel's memory

NAMES = st.binary(max_size=255) | st.integers(0, 255).flatmap(lambda size: st.just(b"n" * size))
GARBAGE = st.sampled_from([b"\0", b"\xff", b"n", b"\xa5"])


def cut(text: str, begin: str, end: str) -> str:
    """Return the text from one marker up to another; both must be there."""
    return begin + text.split(begin, 1)[1].split(end, 1)[0]


def function(text: str, name: str) -> str:
    """Return the C function of that name."""
    at = text.index(f" {name}(")
    begin = text.rindex("static __always_inline", 0, at)
    return text[begin:text.index("\n}\n", at) + 3]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions of bpf/objects.h as a library."""
    objects, unix = (BPF / "objects.h").read_text(), (BPF / "unix.c").read_text()
    parts = [HEAD, function(objects, "object_hash"), function(objects, "slot_bit"),
             cut(objects, "#define HASH_MULTIPLIER", "static __always_inline struct slot *hinted_slot"),
             *(line + "\n" for line in unix.splitlines() if line.startswith("#define SUN_NAME_WORDS")), TAIL]
    folder = tmp_path_factory.mktemp("names")
    (folder / "names.c").write_text("".join(parts))
    compiler = shutil.which("clang") or shutil.which("gcc")
    assert compiler, "a C compiler is needed: tests/install-deps"
    subprocess.run([compiler, "-O1", "-w", "-shared", "-fPIC", "-o", folder / "names.so", folder / "names.c"],
                   check=True)
    library = ctypes.CDLL(str(folder / "names.so"))
    for each in (library.hash_slot, library.hash_sun, library.hint):
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
