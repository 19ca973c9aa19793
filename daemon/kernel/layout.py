"""Write the header with this kernel's struct layouts, and the stub folder that bcc takes for kernel headers.

Members stand at their offsets with char padding between, never packed: with packed, clang loads byte by byte and the
verifier refuses pointers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Sequence

from ..errors import HostError
from .btf import ARRAY, ENUM, ENUM64, INT, PTR, STRUCT, Btf, Member, Shape
from .fields import FIELDS, Field, parameter
from .stubs import STUBS

HEADER = "nbsp_kernel.h"
HALF_ALIGNED = "nbsp_u64_aligned_4"     # for two words that we read as one number, such as capabilities before 6.3


class LayoutError(HostError):
    """This kernel lacks a member that the programs need."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause, "run a supported kernel (5.15 or newer), or report this kernel")


def hook_arguments(btf: Btf, function: str) -> dict[str, int] | None:
    """Return the index into ctx of each parameter of a hook, by canonical name; None when the kernel lacks it."""
    parameters, slots = btf.function_parameters(function), btf.function_slots(function)
    if parameters is None or slots is None:
        return None
    indices: dict[str, int] = {}
    index = 0
    for (name, _), count in zip(parameters, slots):
        indices[parameter(name) or f"unnamed{index}"] = index
        index += count
    return indices


def write_include(folder: Path, btf: Btf, hooks: Sequence[tuple[str, str]] = ()) -> None:
    """Write below `folder` what BCC_KERNEL_SOURCE=folder needs, with nbsp_kernel.h for these types and hooks.

    `hooks` are pairs of the name used in macros and the kernel function whose prototype counts.
    Raises LayoutError for a missing member, OSError.
    """
    include = folder / "include"
    for name, text in STUBS.items():
        path = include / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#pragma once\n{text}")
    (include / HEADER).write_text(header_text(btf, hooks))


def header_text(btf: Btf, hooks: Sequence[tuple[str, str]] = ()) -> str:
    """Return nbsp_kernel.h."""
    lines = [f"/* Made from the BTF of kernel {btf.kernel}. */", "#pragma once", "#include <linux/types.h>",
             f"typedef __u64 __attribute__((aligned(4))) {HALF_ALIGNED};"]
    lines += [f"struct {name};" for name in FIELDS]
    written: set[str] = set()
    for name in FIELDS:
        _add_struct(btf, name, written, lines)
    return "\n".join(lines) + "\n" + hook_text(btf, hooks)


def hook_text(btf: Btf, hooks: Sequence[tuple[str, str]]) -> str:
    """Return the macros for those of the hooks that this kernel has."""
    return "".join(f"{line}\n" for hook, function in hooks for line in _hook_lines(btf, hook, function))


def _hook_lines(btf: Btf, hook: str, function: str) -> list[str]:
    indices, slots = hook_arguments(btf, function), btf.function_slots(function)
    if indices is None or slots is None:
        return []
    lines = [f"#define HAS_HOOK_{hook} 1", f"#define ARGS_{hook} {sum(slots)}"]
    return lines + [f"#define ARG_{hook}_{name} {index}" for name, index in indices.items()]


def _add_struct(btf: Btf, name: str, written: set[str], lines: list[str]) -> None:
    """Append a struct, those it embeds before it."""
    if name in written:
        return
    written.add(name)
    size = btf.struct_size(name)
    if size is None:
        if any(field.is_required for field in FIELDS[name]):
            raise LayoutError(f"kernel {btf.kernel} has no struct {name}")
        return
    found = sorted(_find_members(btf, name), key=lambda pair: pair[1].offset)
    for _, member in found:
        for embedded in _embedded(member.shape):
            _add_struct(btf, embedded, written, lines)
    body, defines, end = [], [], 0
    for field, member in found:
        if member.offset < end:
            raise LayoutError(f"kernel {btf.kernel}: {name}.{field.name} overlaps the member before it")
        if member.offset > end:
            body.append(f"\tchar pad{end}[{member.offset - end}];")
        body.append(f"\t{_declare(field, member)};")
        end = member.offset + member.size
        defines.append(f'_Static_assert(__builtin_offsetof(struct {name}, {field.name}) == {member.offset}, '
                       f'"{name}.{field.name}");')
        if not field.is_required:
            defines.append(f"#define HAS_{name}_{field.name} 1")
    if end < size:
        body.append(f"\tchar pad{end}[{size - end}];")
    defines.append(f'_Static_assert(sizeof(struct {name}) == {size}, "size of {name}");')
    lines += [f"struct {name} {{", *body, "};", *defines]


def _find_members(btf: Btf, struct: str) -> list[tuple[Field, Member]]:
    found = []
    for field in FIELDS[struct]:
        members = (btf.member(struct, spelling) for spelling in field.spellings)
        member = next((member for member in members if member is not None), None)
        if member is not None:
            if member.bitfield_bits or member.offset_bits % 8:
                raise LayoutError(f"kernel {btf.kernel}: {struct}.{field.name} is a bitfield")
            found.append((field, member))
        elif field.is_required:
            raise LayoutError(f"kernel {btf.kernel} has no member {' or '.join(field.spellings)} in struct {struct}")
    return found


def _embedded(shape: Shape) -> list[str]:
    while shape.element is not None:
        shape = shape.element
    name = shape.name.removeprefix("struct ")
    return [name] if shape.kind == STRUCT and name in FIELDS else []


def _declare(field: Field, member: Member) -> str:
    base, bracket, count = (field.c_type or _c_type(member.shape)).partition(" [")
    if base == "__u64" and member.offset % 8:
        base = HALF_ALIGNED
    space = "" if base.endswith("*") else " "
    return f"{base}{space}{field.name}{bracket.strip()}{count}"


def _c_type(shape: Shape) -> str:
    """Return a C type of the same size: our own structs by name, other pointers as void *."""
    if shape.kind == PTR:
        match = re.fullmatch(r"struct (\w+) (\*+)", shape.name)
        return shape.name if match and match[1] in FIELDS else "void *"
    if shape.kind == ARRAY and shape.element is not None:
        element = _c_type(shape.element)
        return f"{element} [{shape.count}]" if "[" not in element else f"char [{shape.size}]"
    if shape.kind == STRUCT:
        name = shape.name.removeprefix("struct ")
        if name in FIELDS:
            return shape.name
        return _c_type(shape.only) if shape.only is not None else f"char [{shape.size}]"
    if shape.kind in (INT, ENUM, ENUM64) and shape.size in (1, 2, 4, 8):
        if shape.name == "char":
            return "char"
        return f"__{'s' if shape.is_signed else 'u'}{shape.size * 8}"
    return f"char [{shape.size}]"
