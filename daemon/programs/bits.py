"""Which stamp bit each checkpoint has. A bit keeps its meaning as long as anything may still carry it.

A checkpoint that is declared as before keeps its bit over reloads, so that processes keep what they earned; a changed
one gets a new bit. There are twice as many bits as checkpoints, for the two generations that exist during a reload.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping

from .. import abi
from ..errors import LoadError
from .bound import BoundCheckpoint


USABLE = abi.STAMP_INIT     # the last bit is the kernel programs' own


@dataclass(frozen=True)
class Bits:
    """The bits in use, by a checkpoint's identity, and where to look for the next free one."""

    by_identity: Mapping[str, int]
    following: int = 0


def identities(checkpoints: Iterable[BoundCheckpoint]) -> dict[str, str]:
    """Return the identity of each checkpoint by name; one that comes after others changes with them."""
    waiting = {one.checkpoint.name: one for one in checkpoints}
    found: dict[str, str] = {}
    while waiting:
        ready = [name for name, one in waiting.items() if not set(one.checkpoint.after) & set(waiting)]
        for name in ready or list(waiting):     # the lint refuses cycles
            found[name] = waiting.pop(name).identity(found)
    return found


def assign(known: Bits, wanted: Iterable[str]) -> tuple[Bits, frozenset[int]]:
    """Return the bits of a generation and those that were used before and must be wiped first; pure.

    `known` also has the bits of the generation that is being replaced: they are not given away.
    Raises LoadError when there are not enough.
    """
    kept = {identity: known.by_identity[identity] for identity in wanted if identity in known.by_identity}
    taken = set(known.by_identity.values())
    following, wiped = known.following, set()
    for identity in wanted:
        if identity in kept:
            continue
        if len(taken) >= USABLE:
            raise LoadError("no stamp bit is free", "reload once more: the generation before still holds its own")
        while following % USABLE in taken:
            following += 1
        bit = following % USABLE
        if following >= USABLE:
            wiped.add(bit)
        following += 1
        taken.add(bit)
        kept[identity] = bit
    return Bits(kept, following), frozenset(wiped)


def load(path: Path, epoch: str) -> Bits:
    """Return the bits that were saved for these very tables; none when they are others."""
    try:
        content = json.loads(path.read_text())
        if content["epoch"] == epoch:
            return Bits({str(name): int(bit) for name, bit in content["bits"].items()}, int(content["following"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return Bits({}, USABLE)     # nobody knows what was used: wipe whatever is given


def save(path: Path, epoch: str, bits: Bits) -> None:
    """Keep the bits for the next daemon. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"epoch": epoch, "bits": dict(bits.by_identity), "following": bits.following}))
    os.replace(temporary, path)
