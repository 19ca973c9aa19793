"""Build small BTF data by hand, for kernels that are not at hand and for damage."""

from __future__ import annotations

import struct
from typing import Sequence

from nbspd.kernel import btf

Row = tuple[str, int, int]      # name, type, offset in bits


class Builder:
    """Collects types; every method returns the id of the type it adds."""

    def __init__(self) -> None:
        self._types: list[bytes] = []
        self._strings = b"\0"

    def integer(self, name: str, size: int, is_signed: bool = False) -> int:
        return self._add(btf.INT, name, size, [is_signed << 24 | size * 8])

    def pointer(self, target: int) -> int:
        return self._add(btf.PTR, "", target)

    def array(self, element: int, count: int) -> int:
        return self._add(btf.ARRAY, "", 0, [element, element, count])

    def typedef(self, name: str, target: int) -> int:
        return self._add(btf.TYPEDEF, name, target)

    def const(self, target: int) -> int:
        return self._add(btf.CONST, "", target)

    def forward(self, name: str) -> int:
        return self._add(btf.FWD, name, 0)

    def record(self, name: str, size: int, members: Sequence[Row], kind: int = btf.STRUCT, bitfields: int = 0) -> int:
        words = [word for member, type_id, offset in members for word in (self._name(member), type_id, offset)]
        return self._add(kind, name, size, words, len(members), bitfields)

    def function(self, name: str, parameters: Sequence[tuple[str, int]]) -> int:
        words = [word for parameter, type_id in parameters for word in (self._name(parameter), type_id)]
        return self._add(btf.FUNC, name, self._add(btf.FUNC_PROTO, "", 0, words, len(parameters)))

    def raw(self, kind: int, words: Sequence[int] = (), vlen: int = 0) -> int:
        return self._add(kind, "", 0, words, vlen)

    def data(self, layout: bytes = b"") -> bytes:
        """Return the whole; with `layout`, in the format that says how long each kind is."""
        types = b"".join(self._types)
        if layout:
            return btf.HEADER.pack(btf.MAGIC, 1, 0, btf.HEADER.size + 8, 0, len(types), len(types) + len(layout),
                                   len(self._strings)) + struct.pack("=II", len(types), len(layout)) + types + (
                                       layout + self._strings)
        return btf.HEADER.pack(btf.MAGIC, 1, 0, btf.HEADER.size, 0, len(types), len(types),
                               len(self._strings)) + types + self._strings

    def _add(self, kind: int, name: str, size: int, words: Sequence[int] = (), vlen: int = 0, flag: int = 0) -> int:
        head = struct.pack("=III", self._name(name), flag << 31 | kind << 24 | vlen, size)
        self._types.append(head + struct.pack(f"={len(words)}I", *words))
        return len(self._types)

    def _name(self, text: str) -> int:
        if not text:
            return 0
        wanted = text.encode() + b"\0"
        if b"\0" + wanted not in self._strings:
            self._strings += wanted
        return self._strings.index(b"\0" + wanted) + 1
