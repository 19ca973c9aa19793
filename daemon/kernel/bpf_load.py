"""Load programs and attach them, by bpf(2): one path for what was just compiled and for what was kept on disk.

Formats: union bpf_attr in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import mmap
import struct

from .bpf_call import (LINK_CREATE, LINK_DETACH, LINK_UPDATE, PROG_ATTACH, PROG_DETACH, PROG_LOAD, PROG_QUERY,
                       RAW_TRACEPOINT_OPEN, call, descriptor, object_name)

BPF_PROG_TYPE_SOCKET_FILTER = 1
BPF_PROG_TYPE_TRACING = 26
BPF_PROG_TYPE_LSM = 29
BPF_MODIFY_RETURN = 26
BPF_LSM_MAC = 27

BPF_F_ALLOW_MULTI = 2       # of prog_attach
BPF_F_QUERY_EFFECTIVE = 1   # of prog_query

LOG_BYTES = (1 << 24) - 1
LOG_KEPT = 1 << 16          # of its end, where the reason stands


class Refused(OSError):
    """The kernel did not take a program; `log` is what its verifier said, "" when it was not even asked."""

    log = ""


def prog_load(prog_type: int, instructions: bytes, name: str = "", expected_attach_type: int = 0,
              attach_btf_id: int = 0) -> int:
    """Load a GPL program given as machine code and return its descriptor.

    Raises Refused; such a program is given to the verifier once more, for its log.
    """
    try:
        return _load(prog_type, instructions, name, expected_attach_type, attach_btf_id)
    except OSError as error:
        refused = Refused(error.errno, error.strerror)
    with mmap.mmap(-1, LOG_BYTES + 1) as log:       # only the pages written to are ever there
        at = ctypes.c_char.from_buffer(log)
        try:
            return _load(prog_type, instructions, name, expected_attach_type, attach_btf_id, ctypes.addressof(at))
        except OSError:
            end = log.find(b"\0")
            refused.log = log[max(0, end - LOG_KEPT):end].decode(errors="replace")
        finally:
            del at
    raise refused


def _load(prog_type: int, instructions: bytes, name: str, expected_attach_type: int, attach_btf_id: int,
          log: int = 0) -> int:
    code, licence = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"GPL")
    return descriptor(PROG_LOAD, struct.pack(
        "=IIQQIIQII16sIIIIQIIQII", prog_type, len(instructions) // 8, ctypes.addressof(code),
        ctypes.addressof(licence), 1 if log else 0, LOG_BYTES if log else 0, log, 0, 0, object_name(name), 0,
        expected_attach_type, 0, 0, 0, 0, 0, 0, 0, attach_btf_id))


def prog_attach(prog_fd: int, target_fd: int, attach_type: int, flags: int = BPF_F_ALLOW_MULTI) -> None:
    """Attach a program to a cgroup without a link: it stays until it is detached or the cgroup goes."""
    call(PROG_ATTACH, struct.pack("=5I", target_fd, prog_fd, attach_type, flags, 0))


def prog_detach(prog_fd: int, target_fd: int, attach_type: int) -> None:
    """Undo prog_attach."""
    call(PROG_DETACH, struct.pack("=5I", target_fd, prog_fd, attach_type, 0, 0))


def prog_query(target_fd: int, attach_type: int, flags: int = 0) -> tuple[int, ...]:
    """Return the ids of the programs attached to a cgroup."""
    ids = (ctypes.c_uint32 * 256)()
    _, attr = call(PROG_QUERY, struct.pack("=4IQI", target_fd, attach_type, flags, 0, ctypes.addressof(ids), len(ids)))
    return tuple(ids[:struct.unpack_from("=I", attr, 24)[0]])


def raw_tracepoint_open(prog_fd: int, name: str = "") -> int:
    """Attach a raw tracepoint program, or (without a name) an lsm, fentry or fmod_ret one; return the link."""
    text = ctypes.create_string_buffer(name.encode())
    return descriptor(RAW_TRACEPOINT_OPEN, struct.pack("=QI", ctypes.addressof(text) if name else 0, prog_fd))


def link_create(prog_fd: int, target_fd: int, attach_type: int, flags: int = 0) -> int:
    """Attach a program to a cgroup or another target and return the link."""
    return descriptor(LINK_CREATE, struct.pack("=4I", prog_fd, target_fd, attach_type, flags))


def link_update(link_fd: int, prog_fd: int) -> None:
    """Put another program into a link: each event sees the one before or this one, never both and never none.

    Links of cgroups can; raw tracepoint, lsm and tracing links cannot: EINVAL (kernel/bpf/syscall.c, link_update).
    """
    call(LINK_UPDATE, struct.pack("=4I", link_fd, prog_fd, 0, 0))


def link_detach(link_fd: int) -> None:
    """Detach a link now, whoever else holds it.  Tracing and lsm links cannot: EOPNOTSUPP; unpin and close them."""
    call(LINK_DETACH, struct.pack("=I", link_fd))
