"""The verdict of the guest's kernel is the model's: generated rules, processes and accesses, in thousands of cases."""

from __future__ import annotations

from ..worlds.compare import chosen_seed, compare
from . import Guest
from .ground import LabGround

WORLDS = 5
CASES = 2000


def test_the_kernel_decides_like_the_model(guest: Guest) -> None:
    with LabGround(guest) as ground:
        tally = compare(ground, chosen_seed(), WORLDS,
                        f"make lab KERNEL={guest.kernel} TIER={guest.tier} ARGS='-s -k decides_like'")
    assert tally.cases >= CASES
    assert tally.results["0"] and tally.results["1"] and tally.results["killed"] and tally.hits
