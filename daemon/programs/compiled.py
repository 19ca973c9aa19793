"""Compiled programs on disk, so that only the first start for one set of sources, options and kernel needs LLVM.

    STATE/compiled/DIGEST       a line "nbspd compiled programs FORMAT SHA256", then the JSON that the sum is of

The digest in the name is that of everything the machine code was made from (source.compile_digest). Map descriptors are
no part of the code: an instruction that takes a map is listed with the map's name, and relocated when it is loaded.

What comes from the disk goes into the kernel, so a file is believed only when nobody but root could have written it:
owned by us, in a folder of ours, neither writable by group or others; and when it is whole. The sum finds damage, not
malice: who can write into root's 0700 state folder is root, and needs no file of ours to load programs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping

FOLDER = "compiled"
TITLE = "nbspd compiled programs"
FORMAT = 1
KEPT = 8                    # files: some tiers of some kernels
SIZE_MAX = 1 << 25
INSTRUCTION = struct.Struct("<BBhi")
LD_IMM64 = 0x18
PSEUDO_MAP_FD = 1           # include/uapi/linux/bpf.h


class Distrusted(Exception):
    """A file is there and must not be used; the argument says why."""


@dataclass(frozen=True)
class Program:
    """Machine code as the compiler left it, with map descriptors zeroed."""

    code: bytes
    maps: Mapping[int, str]     # instruction -> name of the table it takes
    target: int = 0             # BTF id of the kernel function it attaches to
    is_taken: bool = True       # whether the kernel took it when it was new


Programs = Mapping[str, Program]        # by name of the C function


def extract(code: bytes, names: Mapping[int, str], target: int = 0) -> Program:
    """Return code that has map descriptors in it as code without; `names` tells the table of each descriptor.

    Raises ValueError for an unknown descriptor, or anything else that only means something in this process.
    """
    found = {}
    content = bytearray(code)
    at = 0
    while at < len(code):
        opcode, registers, offset, value = INSTRUCTION.unpack_from(code, at)
        source = registers >> 4
        if opcode == LD_IMM64 and source == PSEUDO_MAP_FD:
            if value not in names:
                raise ValueError(f"instruction {at // 8} takes descriptor {value}, which is no table of ours")
            found[at // 8] = names[value]
            INSTRUCTION.pack_into(content, at, opcode, registers, offset, 0)
        elif source and opcode in (LD_IMM64, 0x85):     # 0x85: call
            raise ValueError(f"instruction {at // 8} refers to something in a way that is not known here")
        at += 16 if opcode == LD_IMM64 else 8
    return Program(bytes(content), found, target)


def relocate(program: Program, fd_of: Callable[[str], int]) -> bytes:
    """Return the code with the descriptors of the tables put in."""
    content = bytearray(program.code)
    for index, name in program.maps.items():
        opcode, registers, offset, _ = INSTRUCTION.unpack_from(content, index * 8)
        INSTRUCTION.pack_into(content, index * 8, opcode, registers, offset, fd_of(name))
    return bytes(content)


# -- the file


def encode(digest: str, programs: Programs) -> bytes:
    """Return the content of a file."""
    body = json.dumps({"digest": digest, "programs": {
        name: {"code": base64.b64encode(one.code).decode(), "maps": {str(at): table for at, table in one.maps.items()},
               "target": one.target, "is_taken": one.is_taken} for name, one in programs.items()}}).encode()
    return f"{TITLE} {FORMAT} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def decode(digest: str, content: bytes) -> Programs:
    """Return the programs of a file. Raises Distrusted."""
    title, _, body = content.partition(b"\n")
    if title.decode(errors="replace") != f"{TITLE} {FORMAT} {hashlib.sha256(body).hexdigest()}":
        raise Distrusted("it is damaged, or of another version")
    try:
        found = json.loads(body)
        programs = {str(name): _decode(row) for name, row in found["programs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Distrusted(f"it is no such file: {error!r}") from error
    if found["digest"] != digest:
        raise Distrusted("it was made from something else")
    return programs


def _decode(row: Mapping[str, object]) -> Program:
    code, maps, target, is_taken = row["code"], row["maps"], row["target"], row["is_taken"]
    if not isinstance(code, str) or not isinstance(maps, dict) or not isinstance(target, int) \
            or not isinstance(is_taken, bool):
        raise ValueError("a field has another type")
    program = Program(base64.b64decode(code, validate=True), {int(at): str(name) for at, name in maps.items()}, target,
                      is_taken)
    for index in program.maps:
        opcode, registers, _, _ = INSTRUCTION.unpack_from(program.code, index * 8) \
            if 0 <= index * 8 < len(program.code) - 8 else (0, 0, 0, 0)
        if opcode != LD_IMM64 or registers >> 4 != PSEUDO_MAP_FD:
            raise ValueError(f"instruction {index} takes no table")
    return program


def read(folder: Path, digest: str) -> Programs | None:
    """Return the programs that were kept under a digest, None when there are none.

    Raises Distrusted when there is something that must not be used, OSError.
    """
    try:
        _check(os.lstat(folder), stat.S_ISDIR, f"{folder} is")
        fd = os.open(folder / digest, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Distrusted(f"it cannot be opened: {error.strerror}") from error
    try:
        _check(os.fstat(fd), stat.S_ISREG, "it is")
        with open(fd, "rb", closefd=False) as file:
            programs = decode(digest, file.read(SIZE_MAX))
        os.utime(fd)        # the newest are kept
        return programs
    finally:
        os.close(fd)


def _check(found: os.stat_result, is_right_kind: Callable[[int], bool], what: str) -> None:
    if not is_right_kind(found.st_mode):
        raise Distrusted(f"{what} something else, mode {found.st_mode:o}")
    if found.st_uid != os.geteuid():
        raise Distrusted(f"{what} owned by uid {found.st_uid}")
    if found.st_mode & 0o022:
        raise Distrusted(f"{what} writable by others, mode {stat.S_IMODE(found.st_mode):04o}")


def throw_away(folder: Path, digest: str) -> None:
    """Remove a distrusted file, and with a distrusted folder all that is in it. Raises OSError."""
    try:
        _check(os.lstat(folder), stat.S_ISDIR, f"{folder} is")
    except FileNotFoundError:
        return
    except Distrusted:
        _remove(folder)
        return
    _remove(folder / digest)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write(folder: Path, digest: str, programs: Programs) -> None:
    """Keep programs under a digest, and of the others the newest. Raises OSError, Distrusted."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(os.lstat(folder), stat.S_ISDIR, f"{folder} is")
    temporary = folder / f".{digest}.new"
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(encode(digest, programs))
        file.flush()
        os.fsync(fd)
    os.replace(temporary, folder / digest)
    files = sorted(folder.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
    for path in files[KEPT:]:
        _remove(path)
