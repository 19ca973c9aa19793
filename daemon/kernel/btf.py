"""Read the kernel's own type information (BTF): where members are, and what functions take.

One pass over the type section remembers where each type starts and which named structs, unions and functions there
are; everything else is decoded when asked for.  Format: Documentation/bpf/btf.rst of the kernel.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path

from ..errors import HostError

VMLINUX = Path("/sys/kernel/btf/vmlinux")
MAGIC = 0xEB9F
HEADER = struct.Struct("=HBBIIIII")
POINTER_SIZE = 8
CHAIN_MAX = 64      # typedefs and qualifiers followed before calling it a loop
ANONYMOUS_MAX = 8   # anonymous structs and unions within one another that are searched for a member

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, \
    DECL_TAG, TYPE_TAG, ENUM64 = range(1, 20)

# Words that follow the three of every type: a fixed number, and a number for each of its vlen elements.
TAIL_FIXED = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
TAIL_EACH = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}
HEAD_WORDS = 3
KIND_MASK, VLEN_MASK = 0x7F, 0xFFFFFF       # as wide as since 7.1; before, the added bits are zero
LAYOUT = struct.Struct("=BBH")              # since 7.1 the data say how long each kind is, also kinds unknown to us
LAYOUT_HEADER = struct.Struct("=II")
TRANSPARENT = frozenset({TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG})


class BtfError(HostError):
    """The kernel's type information is missing, cut short or damaged."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause, "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y")


@dataclass(frozen=True)
class Shape:
    """A type without typedefs and qualifiers; `name` is its C spelling."""

    kind: int
    name: str
    size: int
    is_signed: bool = False
    element: Shape | None = None    # of an array
    count: int = 0                  # of an array
    only: Shape | None = None       # of a struct whose single member fills it (kuid_t, atomic_t)


@dataclass(frozen=True)
class Member:
    """Where a member lies in its outermost struct."""

    name: str
    offset_bits: int
    size: int           # bytes
    bitfield_bits: int  # 0: not a bitfield
    shape: Shape

    @property
    def offset(self) -> int:
        """Return the offset in bytes."""
        return self.offset_bits // 8


class Btf:
    """The types of one kernel."""

    def __init__(self, data: bytes, kernel: str = "") -> None:
        self.kernel = kernel or os.uname().release
        if len(data) < HEADER.size:
            raise BtfError(f"the BTF data has {len(data)} bytes, less than its header")
        magic, version, _, header_size, types_at, types_size, strings_at, strings_size = HEADER.unpack_from(data)
        if magic != MAGIC or version != 1:
            raise BtfError(f"the BTF data starts with {magic:#x} version {version}, not {MAGIC:#x} version 1")
        types_at, strings_at = header_size + types_at, header_size + strings_at
        if header_size < HEADER.size or max(types_at + types_size, strings_at + strings_size) > len(data):
            raise BtfError(f"the BTF data is cut short: {len(data)} bytes, but its header speaks of "
                           f"{max(types_at + types_size, strings_at + strings_size)}")
        self._strings = data[strings_at:strings_at + strings_size]
        if types_size % 4 or self._strings[:1] != b"\0" or self._strings[-1:] != b"\0":
            raise BtfError("the BTF data is damaged: its sections do not begin or end where they should")
        self._words = array("I")
        self._words.frombytes(data[types_at:types_at + types_size])
        self._starts = array("I", [0])      # type id -> first word; id 0 is void
        self._named: dict[int, dict[int, list[int]]] = {STRUCT: {}, UNION: {}, FUNC: {}}
        self._sizes = _type_sizes(data, header_size)
        self._scan()

    @classmethod
    def vmlinux(cls, path: Path = VMLINUX) -> Btf:
        """Read the running kernel's types.  Raises BtfError."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise BtfError(f"cannot read {path}: {error.strerror}") from error

    def _scan(self) -> None:
        words, end = self._words, len(self._words)
        starts, named = self._starts, self._named
        sizes = self._sizes
        at = 0
        add_start = starts.append
        while at < end - 2:
            info = words[at + 1]
            kind = info >> 24 & KIND_MASK
            if kind in named and words[at]:
                named[kind].setdefault(words[at], []).append(len(starts))
            add_start(at)
            fixed, each = sizes[kind]
            if not fixed:
                raise BtfError(f"the BTF data has a type of the unknown kind {kind}")
            at += fixed + each * (info & VLEN_MASK) if each else fixed
        if at != end:
            raise BtfError(f"the BTF data is cut short in type {len(starts) - 1}")

    def _head(self, type_id: int) -> tuple[int, int, int, int]:
        """Return kind, vlen, size or type, and the first word of what follows."""
        if not 0 < type_id < len(self._starts):
            raise BtfError(f"the BTF data is damaged: it refers to type {type_id} of {len(self._starts)}")
        at = self._starts[type_id]
        info = self._words[at + 1]
        return info >> 24 & KIND_MASK, info & VLEN_MASK, self._words[at + 2], at + 3

    def _text(self, at: int) -> str:
        end = self._strings.find(b"\0", at)
        if end < 0:
            raise BtfError(f"the BTF data is damaged: it refers to string {at} of {len(self._strings)}")
        return self._strings[at:end].decode("ascii", "replace")

    def _name(self, type_id: int) -> str:
        return self._text(self._words[self._starts[type_id]])

    def _find(self, kind: int, name: str) -> list[int]:
        at = self._strings.find(b"\0" + name.encode() + b"\0") + 1
        return self._named[kind].get(at, []) if at else []

    def _strip(self, type_id: int) -> int:
        """Follow typedefs and qualifiers."""
        for _ in range(CHAIN_MAX):
            if not type_id:
                return 0
            kind, _, target, _ = self._head(type_id)
            if kind not in TRANSPARENT:
                return type_id
            type_id = target
        raise BtfError("the BTF data is damaged: a type is defined by itself")

    def _members(self, type_id: int) -> list[tuple[str, int, int, int]]:
        """Return name, type, offset in bits and bits of each member."""
        _, vlen, _, at = self._head(type_id)
        has_bitfields = self._words[self._starts[type_id] + 1] >> 31
        members = []
        for name_at, member_type, offset in zip(*(self._words[at + i:at + 3 * vlen:3] for i in range(3))):
            bits = offset >> 24 if has_bitfields else 0
            members.append((self._text(name_at), member_type, offset & 0xFFFFFF if has_bitfields else offset, bits))
        return members

    def shape(self, type_id: int, depth: int = 0) -> Shape:
        """Return what a type is, looking through typedefs and qualifiers."""
        type_id = self._strip(type_id)
        if not type_id:
            return Shape(0, "void", 0)
        if depth > CHAIN_MAX:
            raise BtfError("the BTF data is damaged: a type contains itself")
        kind, _, size, at = self._head(type_id)
        if kind == PTR:
            return Shape(PTR, self.spell(type_id, True), POINTER_SIZE)
        if kind == ARRAY:
            element, count = self.shape(self._words[at], depth + 1), self._words[at + 2]
            return Shape(ARRAY, f"{element.name} [{count}]", element.size * count, False, element, count)
        if kind == INT:
            return Shape(INT, self._name(type_id), size, bool(self._words[at] >> 24 & 1))
        only = self._sole(type_id, depth) if kind == STRUCT else None
        return Shape(kind, self.spell(type_id, True), size, only=only)

    def _sole(self, type_id: int, depth: int) -> Shape | None:
        _, vlen, size, at = self._head(type_id)
        shape = self.shape(self._words[at + 1], depth + 1) if vlen == 1 else None
        return shape if shape is not None and shape.size == size else None

    def spell(self, type_id: int, is_plain: bool = False, depth: int = 0) -> str:
        """Return a type as C spells it, without qualifiers; `is_plain` also looks through typedefs."""
        if depth > CHAIN_MAX:
            raise BtfError("the BTF data is damaged: a type is defined by itself")
        if not type_id:
            return "void"
        kind, _, target, at = self._head(type_id)
        if kind in TRANSPARENT and (is_plain or kind != TYPEDEF):
            return self.spell(target, is_plain, depth + 1)
        if kind == PTR:
            inner = self.spell(target, is_plain, depth + 1)
            return inner + "*" if inner.endswith("*") else inner + " *"
        if kind == ARRAY:
            return f"{self.spell(self._words[at], is_plain, depth + 1)} [{self._words[at + 2]}]"
        if kind == FUNC_PROTO:
            return "void"       # only ever seen behind a pointer, where it is as good as void
        word = {STRUCT: "struct ", UNION: "union ", ENUM: "enum ", ENUM64: "enum "}.get(kind, "")
        if kind == FWD:
            word = "union " if self._words[self._starts[type_id] + 1] >> 31 else "struct "
        return word + self._name(type_id)

    def struct_size(self, name: str) -> int | None:
        """Return the size of `struct NAME` in bytes, None when this kernel has no such struct."""
        found = self._find(STRUCT, name)
        return self._head(found[0])[2] if found else None

    def member(self, struct_name: str, path: str) -> Member | None:
        """Return the member of `struct NAME` at a dotted path, looking through anonymous structs and unions."""
        for type_id in self._find(STRUCT, struct_name):
            offset, member = 0, None
            for name in path.split("."):
                member = self._direct(type_id, name, offset)
                if member is None:
                    break
                type_id, offset = member[0], member[1]
            if member is not None:
                shape = self.shape(member[0])
                return Member(path, offset, shape.size, member[2], shape)
        return None

    def _direct(self, type_id: int, name: str, base: int, depth: int = 0) -> tuple[int, int, int] | None:
        """Return type, offset in bits and bitfield bits of a member."""
        type_id = self._strip(type_id)
        if depth > ANONYMOUS_MAX or not type_id or self._head(type_id)[0] not in (STRUCT, UNION):
            return None
        for member_name, member_type, offset, bits in self._members(type_id):
            if member_name == name:
                return member_type, base + offset, bits
            if not member_name:
                found = self._direct(member_type, name, base + offset, depth + 1)
                if found is not None:
                    return found
        return None

    def _parameters(self, function: str) -> list[tuple[str, int]] | None:
        for type_id in self._find(FUNC, function):
            kind, vlen, _, at = self._head(self._head(type_id)[2])
            if kind != FUNC_PROTO:
                raise BtfError(f"the BTF data is damaged: {function} has no prototype")
            words = self._words
            return [(self._text(words[i]), words[i + 1]) for i in range(at, at + 2 * vlen, 2)]
        return None

    def function_id(self, name: str) -> int | None:
        """Return the BTF id of a function, which bpf(2) wants for a program attached to it."""
        found = self._find(FUNC, name)
        return found[0] if found else None

    def function_parameters(self, function: str) -> tuple[tuple[str, str], ...] | None:
        """Return name and type ("struct file *") of each parameter, None when this kernel has no such function."""
        parameters = self._parameters(function)
        return None if parameters is None else tuple((name, self.spell(type_id)) for name, type_id in parameters)

    def function_slots(self, function: str) -> tuple[int, ...] | None:
        """Return how many of a trampoline's 8-byte argument slots each parameter takes: 2 for a 16-byte struct."""
        parameters = self._parameters(function)
        if parameters is None:
            return None
        return tuple(max(1, (self.shape(type_id).size + 7) // 8) for _, type_id in parameters)


def is_readable(path: Path = VMLINUX) -> bool:
    """Tell whether this kernel offers its types."""
    return os.access(path, os.R_OK) and sys.maxsize > 2 ** 32


def _type_sizes(data: bytes, header_size: int) -> list[tuple[int, int]]:
    """Return by kind the words of a type and of each of its elements; 0: unknown."""
    sizes = [(HEAD_WORDS + TAIL_FIXED.get(kind, 0) if 0 < kind <= ENUM64 else 0, TAIL_EACH.get(kind, 0))
             for kind in range(KIND_MASK + 1)]
    if header_size >= HEADER.size + LAYOUT_HEADER.size:
        at, size = LAYOUT_HEADER.unpack_from(data, HEADER.size)
        rows = data[header_size + at:header_size + at + size]
        for kind, (fixed, each, _) in enumerate(LAYOUT.iter_unpack(rows[:len(rows) // 4 * 4])):
            if ENUM64 < kind <= KIND_MASK:
                sizes[kind] = HEAD_WORDS + fixed // 4, each // 4
    return sizes
