"""What coverage says of each channel while the drill's rules are active, and what that makes of what got through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Iterable, Mapping, Sequence

from .outcome import OPEN, THROUGH, Result

UNCLOSED = "open"       # the state, as `nbsp coverage` has it


@dataclass(frozen=True)
class Claim:
    """The state of one channel, and coverage's reason."""

    state: str
    reason: str


Claims = Mapping[str, Claim]        # by the channel's id


def claims_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Claim]:
    """Return what rows of `nbsp coverage` say of each channel; where they differ, it counts as not open."""
    found: dict[str, Claim] = {}
    for row in rows:
        channel, claim = str(row["channel"]), Claim(str(row["state"]), str(row["reason"]))
        if channel not in found or found[channel].state == UNCLOSED:
            found[channel] = claim
    return found


def weighed(result: Result, claims: Claims) -> Result:
    """Return the result as `open` if it got through where coverage says of every channel on the way that it is open.

    Channels that coverage does not list for these rules say nothing; where it lists none of them, it is `through`.
    """
    said = {name: claims[name] for name in result.attempt.covers if name in claims}
    if result.outcome != THROUGH or not said or any(claim.state != UNCLOSED for claim in said.values()):
        return result
    reasons = "; ".join(f"{name}: {claim.reason}" for name, claim in said.items())
    return replace(result, outcome=OPEN, coverage=reasons)


def weighed_all(results: Sequence[Result], claims: Claims, controls: str) -> tuple[Result, ...]:
    """Return all results weighed, but for those of a family of controls, which are to get through."""
    return tuple(result if result.attempt.channel == controls else weighed(result, claims) for result in results)
