"""Hold the programs of the checkpoints open, so that their inode numbers are not given away.

A stamp is earned by an inode. When the program is deleted, as by a package upgrade, the file system may give its
number to a file of anybody's, and in tier socket nobody can tell the two apart. An open descriptor keeps the inode, and
with it the number, until the names are looked up again.
"""

from __future__ import annotations

import os
from typing import Iterable

from .inspect import Key


def hold(programs: Iterable[tuple[str, Key]]) -> list[int]:
    """Return a descriptor of each program, given by path and key.

    Raises OSError, and ValueError when a path leads to another inode by now.
    """
    held: list[int] = []
    try:
        for path, (_, number, _) in programs:
            held.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
            if os.fstat(held[-1]).st_ino != number:
                raise ValueError(f"{path} was replaced while its rule was applied; do it again")
    except (OSError, ValueError):
        release(held)
        raise
    return held


def release(held: list[int]) -> None:
    """Close the descriptors and forget them."""
    while held:
        os.close(held.pop())
