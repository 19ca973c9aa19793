"""The catalogue of attempts: every row, in the order of the channels' families."""

from __future__ import annotations

from typing import Sequence

from ..errors import UsageError
from .attempt import CHANNELS, Attempt
from .files import all_files
from .host import all_host
from .identity import all_identity
from .network import all_network

ATTEMPTS: tuple[Attempt, ...] = tuple(sorted(
    (*all_files(), *all_network(), *all_identity(), *all_host()),
    key=lambda attempt: CHANNELS.index(attempt.channel)))


def attempts_at(attempts: Sequence[Attempt]) -> dict[str, list[str]]:
    """Return the ids of the attempts at each channel, in their order."""
    found: dict[str, list[str]] = {}
    for attempt in attempts:
        for channel in attempt.covers:
            found.setdefault(channel, []).append(attempt.id)
    return found


def chosen(families: Sequence[str] = (), names: Sequence[str] = ()) -> tuple[Attempt, ...]:
    """Return the attempts of some families (H1 …), and of these the ones whose id has one of these texts in it.

    Raises UsageError: a family that there is not, or nothing is left.
    """
    wanted = {family.upper() for family in families}
    if unknown := wanted - set(CHANNELS):
        raise UsageError(f"there is no family {', '.join(sorted(unknown))}", f"one of: {', '.join(CHANNELS)}")
    found = tuple(attempt for attempt in ATTEMPTS
                  if (not wanted or attempt.channel in wanted)
                  and (not names or any(name in attempt.id for name in names)))
    if not found:
        raise UsageError("no attempt is called so", "list them with: nbsp drill --list")
    return found
