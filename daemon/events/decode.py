"""The kernel's violation records as plain values."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NamedTuple

from .. import abi
from ..errors import HostError

SIZE = ctypes.sizeof(abi.Violation)
_NAME_BYTES = abi.Violation.abstract.size
_ARGV_AT = abi.Violation.argv.offset
_ABSTRACT_AT = abi.Violation.abstract.offset
_ADDRESS_AT = abi.Violation.addr.offset


class HitAncestor(NamedTuple):
    """One step of the ancestry, as the kernel saw it."""

    tgid: int
    start_ticks: int
    uid: int
    comm: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One violation. Bytes that are not UTF-8 appear as \\xNN. Enum values this version does not know stay numbers."""

    time_ns: int                    # boot clock
    generation: int
    rule: int                       # rule number; 0: the judge could not read the policy and denied
    verdict: int
    channel: int
    access: int
    kind: int
    object: tuple[int, int, int]    # dev, inode, inode generation: the protected inode, or the parent of a slot
    address: str                    # "127.0.0.1", "::1"; "" for other kinds than endpoints
    port: int
    proto: int
    ifindex: int
    names: tuple[str, ...]          # of the object's path, deepest first, at most abi.PATH_NAMES
    sun_name: str                   # of a unix socket: "@name" or the path that was asked for; "" for others
    tgid: int
    tid: int
    start_ticks: int
    uid: int
    euid: int
    gid: int
    login_uid: int                  # -1: not set
    session: int                    # -1: not set
    cgroup: int
    exe: tuple[int, int]            # dev, inode
    exe_name: str
    comm: str
    argv: tuple[str, ...]           # as much as fits, and what the process claims
    stamps: tuple[int, ...]         # bit numbers
    ancestors: tuple[HitAncestor, ...]      # the parent first


def decode(record: bytes) -> Hit:
    """Return what a ring buffer record says. Raises HostError when it has the wrong size."""
    if len(record) != SIZE:
        raise HostError(f"a violation record has {len(record)} bytes instead of {SIZE}",
                        "the pinned programs are another version's: restart nbspd")
    raw = abi.Violation.from_buffer_copy(record)
    return Hit(
        time_ns=raw.time_ns, generation=raw.generation, rule=raw.rule, verdict=raw.verdict, channel=raw.channel,
        access=raw.access, kind=raw.kind, object=(raw.object.dev, raw.object.ino, raw.object.gen),
        address=_address(record[_ADDRESS_AT:_ADDRESS_AT + 16]) if raw.kind == abi.Kind.ENDPOINT else "",
        port=raw.port, proto=raw.proto, ifindex=raw.ifindex,
        names=tuple(_text(name.value) for name in raw.path[:min(raw.names, abi.PATH_NAMES)]),
        sun_name=_sun_name(record[_ABSTRACT_AT:_ABSTRACT_AT + _NAME_BYTES]),
        tgid=raw.tgid, tid=raw.tid, start_ticks=raw.start_ticks, uid=raw.uid, euid=raw.euid, gid=raw.gid,
        login_uid=_id(raw.loginuid), session=_id(raw.sessionid), cgroup=raw.cgroup, exe=(raw.exe_dev, raw.exe_ino),
        exe_name=_text(raw.exe_name), comm=_text(raw.comm),
        argv=_argv(record[_ARGV_AT:_ARGV_AT + abi.ARGV]), stamps=_bits(raw.stamps),
        ancestors=tuple(HitAncestor(step.tgid, step.start_ticks, step.uid, _text(step.comm))
                        for step in raw.ancestors if step.tgid))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _id(number: int) -> int:
    return -1 if number == abi.UNSET_ID else number


def _address(raw: bytes) -> str:
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _sun_name(raw: bytes) -> str:
    name = raw.rstrip(b"\0")
    return "@" + _text(name[1:]) if name[:1] == b"\0" else _text(name.split(b"\0", 1)[0])


def _argv(raw: bytes) -> tuple[str, ...]:
    """Split at the NULs; the last word is cut off where the room ended."""
    words = raw.rstrip(b"\0").split(b"\0")
    return tuple(map(_text, words)) if words != [b""] else ()


def _bits(words: ctypes.Array[ctypes.c_uint64]) -> tuple[int, ...]:
    bits = []
    for index, word in enumerate(words):
        left = int(word)
        while left:
            bits.append(index * 64 + (left & -left).bit_length() - 1)
            left &= left - 1
    return tuple(bits)
