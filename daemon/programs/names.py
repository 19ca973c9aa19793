"""The hashes by which the kernel's programs know names and inodes; bpf/hashes.h and bpf/pseudo.h compute the same."""

from __future__ import annotations

from ..rules.pseudo import ANYWHERE, MAGIC, Place

MASK = (1 << 64) - 1
MULTIPLIER = 0x9E3779B97F4A7C15
DEVICE_MULTIPLIER = 0xC2B2AE3D27D4EB4F
LENGTH_MULTIPLIER = 0x9E3779B1
SLOT_WORDS = 8
SUN_WORDS = 14
PSEUDO_WORDS = 2


def _word(name: bytes, at: int) -> int:
    return int.from_bytes(name[max(at, 0):max(at + 8, 0)], "little")


def name_hash(name: bytes, words: int) -> int:
    """Return the hash of a name: exact up to words * 8 bytes, of longer names the last eight bytes count too."""
    value = len(name) * MULTIPLIER & MASK
    for index in range(words):
        value = (value ^ _word(name, index * 8)) * MULTIPLIER & MASK
        value ^= value >> 32
    return (value ^ _tail(name)) * MULTIPLIER & MASK


def _tail(name: bytes) -> int:
    """Return the last eight bytes; of a shorter name nothing: what stands before it in memory is not part of it."""
    return _word(name, len(name) - 8) if len(name) >= 8 else 0


def name_hint(name: bytes) -> int:
    """Return the cheap hash of a name: length, first and last eight bytes."""
    value = ((len(name) * MULTIPLIER & MASK) ^ _word(name, 0)) * MULTIPLIER & MASK
    return (value ^ value >> 32 ^ _tail(name)) * MULTIPLIER & MASK


def object_hash(ino: int, dev: int) -> int:
    """Return the 32-bit hash of an inode, for the filters."""
    value = (ino * MULTIPLIER & MASK) ^ (dev * DEVICE_MULTIPLIER & MASK)
    return ((value ^ value >> 32) * MULTIPLIER & MASK) >> 32


def move_bit(directory_hash: int) -> int:
    """Return the bit of a directory that only lies above something declared, in its filter word."""
    return slot_bit(directory_hash, 0)


def slot_bit(directory_hash: int, length: int) -> int:
    """Return a name's bit in the filter word of its directory, by the length of the name."""
    return (directory_hash ^ (length * LENGTH_MULTIPLIER & 0xFFFFFFFF)) >> 26 & 63


def pseudo_root(kind: str) -> int:
    """Return the hash of the root of a pseudo file system."""
    value = MAGIC[kind] * MULTIPLIER & MASK
    return (value ^ value >> 32) * MULTIPLIER & MASK


def pseudo_bit(kind: str) -> int:
    """Return the bit of a pseudo file system in the words of a generation."""
    return 1 << (pseudo_root(kind) >> 52 & 63)


def pseudo_top(place: Place) -> int:
    """Return the filter hash of the first name of a place."""
    name = place.names[0].encode("utf-8", "surrogateescape")
    value = ((pseudo_root(place.kind) ^ _word(name, 0)) * MULTIPLIER + len(name) & MASK) * MULTIPLIER & MASK
    return value >> 32


def pseudo_hash(place: Place) -> int:
    """Return the hash of a path on a pseudo file system: the directory's times a number, plus the name's."""
    hashes = [name_hash(name.encode("utf-8", "surrogateescape"), PSEUDO_WORDS) for name in place.names]
    value = pseudo_root(place.kind)
    if place.names[:1] == (ANYWHERE,):
        return (hashes[1] ^ value) * MULTIPLIER & MASK
    for each in hashes:
        value = value * MULTIPLIER + each & MASK
    return value
