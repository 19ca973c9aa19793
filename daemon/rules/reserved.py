"""Demands that nbspd itself makes, beside those of the operator's rules: their numbers, ids and words.

A clause names one by its number (from FIRST on); lower numbers in a clause are indices into Plan.rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from ..abi import RESERVED_RULES, RULES

FIRST = RULES - RESERVED_RULES
DISKS, ABOVE = RULES - 3, RULES - 4


@dataclass(frozen=True)
class ReservedRule:
    """What is said about a demand of our own; beside `next_step` the words that a rule has."""

    id: str
    protect: str
    reason: str
    next_step: str              # for whoever was refused, or has to explain it
    only_through: tuple[str, ...] = ()
    owner: str = ""


RESERVED: Mapping[int, ReservedRule] = {
    DISKS: ReservedRule(
        "disks", "disks below protected files", "the file system on this device holds protected files",
        "use a tool that nbspd knows (e2fsck, blkid, lvm ...), or declare the device under devices: in a rule of your "
        "own, which then is the only one for it", ("nbspd's disk tools",)),
    ABOVE: ReservedRule(
        "above", "directories above declared paths",
        "declared paths of several rules, or programs of checkpoints, lie below this directory",
        "move what is in it, or take the rules back while you do it", ("what all these rules accept",)),
}
NEXT_STEPS: Mapping[str, str] = {rule.id: rule.next_step for rule in RESERVED.values()}
