"""How the demo speaks, and how it notices that something is not as promised."""

from __future__ import annotations

import os
import sys
from typing import Iterable

BOLD, DIM, RED, GREEN, YELLOW = 1, 2, 31, 32, 33


class Failed(Exception):
    """Something was not as promised; the argument says what."""


def paint(text: str, *codes: int) -> str:
    """Return text in colours, on a terminal that wants them."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{';'.join(map(str, codes))}m{text}\x1b[0m"


def chapter(text: str) -> None:
    """Say what comes now."""
    print(f"\n{paint(text, BOLD)}", flush=True)


def line(what: str, outcome: str, colour: int) -> None:
    """Say how one thing went."""
    print(f"  {what:<58} {paint(outcome, colour)}", flush=True)


def expect(what: str, is_so: bool, outcome: str, wanted: str) -> None:
    """Say how one thing went. Raises Failed when that is not what was wanted."""
    line(what, outcome, GREEN if is_so else RED)
    if not is_so:
        raise Failed(f"{what}: {outcome}, but it should be {wanted}")


def quote(command: str, lines: Iterable[str]) -> None:
    """Show a command and what it printed."""
    print(f"  {paint('$ ' + command, YELLOW)}")
    for text in lines:
        print(f"  {text}")
    print(flush=True)
