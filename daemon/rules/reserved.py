"""Demands that nbspd itself makes, beside those of the operator's rules: their numbers, ids and words.

A clause names one by its number (from FIRST on); lower numbers in a clause are indices into Plan.rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from ..abi import RESERVED_RULES, RULES

FIRST = RULES - RESERVED_RULES
SEALED, DISKS, ABOVE, RAW_FRAMES = RULES - 1, RULES - 3, RULES - 4, RULES - 5


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
    SEALED: ReservedRule(
        "sealed", "checkpoints",
        "a checkpoint's program, and a process with its stamp, can be changed, debugged or made to run other code by "
        "nobody but itself and package managers (updaters:)",
        "let the package manager change it, name another under updaters:, or take its rules back while you do it",
        ("a package manager",)),
    RAW_FRAMES: ReservedRule(
        "raw-frames", "protected endpoints",
        "a frame that leaves below the packet filters could go to any of the protected endpoints",
        "send through the device's queue, or do it in a process that may reach every protected endpoint",
        ("a checkpoint for every protected endpoint",)),
    DISKS: ReservedRule(
        "disks", "disks below protected files", "the file system on this device holds protected files",
        "use a tool that nbspd knows (e2fsck, blkid, lvm ...), or declare the device under devices: in a rule of your "
        "own, which then is the only one for it", ("nbspd's disk tools",)),
    ABOVE: ReservedRule(
        "above", "directories above declared paths",
        "declared paths of several rules, or programs of checkpoints, lie below this directory",
        "move what is in it, or take the rules back while you do it", ("what all these rules accept",)),
}
NUMBERS: Mapping[str, int] = {rule.id: number for number, rule in RESERVED.items()}
NEXT_STEPS: Mapping[str, str] = {rule.id: rule.next_step for rule in RESERVED.values()}
