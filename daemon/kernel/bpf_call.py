"""The bpf(2) system call itself: command numbers, the call, errors. What is asked with it is in bpf.py and bpf_load.py.

Everything the kernel refuses is an OSError with its errno.  Formats: union bpf_attr in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from functools import cache

MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_GET_NEXT_KEY, PROG_LOAD, OBJ_PIN, OBJ_GET, \
    PROG_ATTACH, PROG_DETACH = range(10)
PROG_GET_NEXT_ID, MAP_GET_NEXT_ID, PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY, \
    RAW_TRACEPOINT_OPEN = range(11, 18)
MAP_FREEZE, MAP_LOOKUP_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH = 22, 24, 26, 27
BTF_LOAD = 18
LINK_CREATE, LINK_UPDATE, LINK_GET_FD_BY_ID, LINK_GET_NEXT_ID, LINK_DETACH = 28, 29, 30, 31, 34

SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
ATTR_SIZE = 144             # bytes; the kernel wants zeros beyond what it knows
ENOTSUPP = 524              # the kernel's own, not in the errno module
NAME_SIZE = 16

_libc = ctypes.CDLL(None, use_errno=True)


@cache
def _number() -> int:
    machine = platform.machine()
    if machine not in SYSCALL:
        raise OSError(errno.ENOSYS, f"the number of bpf(2) on {machine} is not known")
    return SYSCALL[machine]


def attempt(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    """Make the call; return its result, or minus the errno.  The kernel writes into `attr`, also when it fails."""
    result = int(_libc.syscall(_number(), command, attr, ATTR_SIZE))
    return -ctypes.get_errno() if result < 0 else result


def call(command: int, attr: bytes, path: str | None = None) -> tuple[int, bytes]:
    """Return the result and the attr as the kernel left it.  Raises OSError."""
    buffer = ctypes.create_string_buffer(attr, ATTR_SIZE)
    result = attempt(command, buffer)
    if result < 0:
        raise OSError(-result, "not supported by this map" if result == -ENOTSUPP else os.strerror(-result), path)
    return result, buffer.raw


def descriptor(command: int, attr: bytes, path: str | None = None) -> int:
    """Return the descriptor that a call made; the kernel opens all of them close-on-exec.  Raises OSError."""
    return call(command, attr, path)[0]


def object_name(text: str) -> bytes:
    """Return the name of a map or program, cut to what the kernel takes."""
    return text.encode("ascii")[:NAME_SIZE - 1]
