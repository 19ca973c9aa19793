"""Raw ring buffer records for the tests of the events."""

import ctypes
from typing import Any

from nbspd import abi


def record(**changes: Any) -> bytes:
    """Return a complete record of a denied connect; `changes` set fields of abi.Violation."""
    raw = abi.Violation(
        time_ns=5_000_000_000, generation=4, start_ticks=99, cgroup=77, exe_ino=1234, exe_dev=8 << 20 | 1, rule=3,
        tgid=4000, tid=4001, uid=1000, euid=0, gid=1000, loginuid=1000, sessionid=7, channel=abi.Channel.CONNECT,
        verdict=abi.VerdictCode.DENIED, access=abi.Access.CONNECT, kind=abi.Kind.ENDPOINT, port=5432, proto=6,
        comm=b"psql", exe_name=b"psql")
    raw.addr[:] = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])
    raw.stamps[0] = 1 << 5
    raw.stamps[7] = 1 << 63
    for index, (tgid, comm) in enumerate(((812, b"bash"), (1, b"systemd"))):
        raw.ancestors[index] = abi.Ancestor(start_ticks=index, tgid=tgid, uid=1000, comm=comm)
    place(raw, "argv", b"psql\0-h\0" + b"127.0.0.1\0")
    for name, value in changes.items():
        setattr(raw, name, value)
    return bytes(raw)


def file_record(*names: bytes, **changes: Any) -> bytes:
    """Return a record of a denied open; the names are deepest first."""
    raw = abi.Violation.from_buffer_copy(record(
        channel=abi.Channel.FILE_OPEN, access=abi.Access.READ, kind=abi.Kind.INODE, port=0, proto=0, names=len(names),
        object=abi.ObjectKey(ino=55, dev=8 << 20 | 1, gen=9)))
    raw.addr[:] = bytes(16)
    for index, name in enumerate(names):
        raw.path[index].value = name
    for field, value in changes.items():
        setattr(raw, field, value)
    return bytes(raw)


def sun_record(name: bytes) -> bytes:
    """Return a record of a denied connect to a unix socket by name."""
    raw = abi.Violation.from_buffer_copy(record(channel=abi.Channel.UNIX_CONNECT, kind=abi.Kind.ABSTRACT))
    place(raw, "abstract", name)
    return bytes(raw)


def place(raw: abi.Violation, field: str, value: bytes) -> None:
    """Put bytes into a char array, NULs included."""
    ctypes.memmove(ctypes.addressof(raw) + getattr(abi.Violation, field).offset, value, len(value))
