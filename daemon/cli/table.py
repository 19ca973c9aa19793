"""Aligned tables and a little colour, for people."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Sequence

COLOURS = {
    "yes": 32, "ok": 32, "enforced": 32, "enforce": 32, "active": 32, "allowed": 32,
    "unknown": 33, "observed": 33, "audit": 33, "audited": 33, "absent": 2, "pending": 33,
    "no": 31, "open": 31, "denied": 31, "killed": 31, "failed": 31,
}


def clean(text: object) -> str:
    """Return somebody else's text (a file name, an argv) without anything a terminal would obey."""
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii")
                   for c in words)


@lru_cache(maxsize=None)
def has_colour() -> bool:
    """Return whether stdout is a terminal that wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, word: str) -> str:
    """Return text in the colour of a word of state, where colours are wanted."""
    code = COLOURS.get(word)
    return f"\x1b[{code}m{text}\x1b[0m" if code is not None and has_colour() else text


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> str:
    """Return rows under headers in aligned columns; the columns numbered in `right` are aligned to the right."""
    cells = [[clean("" if cell is None else cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    lines = [format_line(headers, widths, right)]
    lines += [format_line(row, widths, right) for row in cells]
    return "\n".join(lines)


def format_line(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    """Return one line of a table; words of state are coloured."""
    padded = [paint(cell.rjust(width) if i in right else cell.ljust(width), cell)
              for i, (cell, width) in enumerate(zip(cells, widths))]
    return "  ".join(padded).rstrip()


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """Return names and values below one another, the values aligned; pairs without a value are left out."""
    shown = [(name, clean(value)) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {paint(value, value)}" for name, value in shown)
