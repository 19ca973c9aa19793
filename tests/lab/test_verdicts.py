"""Verdicts that generated worlds once found to be wrong, each in words."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .ground import ACTOR, BASE, LabGround

SETUP = f"""=
mkdir {BASE}/kept
copy {ACTOR} {BASE}/gate
copy {ACTOR} {BASE}/tool
create {BASE}/kept/secret
create {BASE}/mine
link {BASE}/mine {BASE}/also-mine
create {BASE}/plan
mknod {BASE}/card 7
mknod {BASE}/kept/card 7
mknod {BASE}/kept/other 5
"""
RULES = f"""version: 1
checkpoints:
  gate: {{exe: {BASE}/gate}}
resources:
  tool: {{exec: [{BASE}/tool]}}
  kept: {{trees: [{BASE}/kept], access: [%s]}}
  plan: {{files: [{BASE}/plan]}}
  card: {{devices: [{BASE}/card]}}
rules:
  - {{id: tool-through-gate, protect: tool, only-through: [gate]}}
  - {{id: kept-for-nobody, protect: kept, only-through: []}}
  - {{id: plan-through-gate, protect: plan, only-through: [gate]}}
  - {{id: card-for-nobody, protect: card, only-through: []}}
"""
DONE, DENIED = "0", "1"


@pytest.fixture
def ground(guest: Guest) -> Iterator[LabGround]:
    with LabGround(guest) as ground:
        assert set(ground.drive(SETUP).split()) == {DONE}
        yield ground


def acts(ground: LabGround, *lines: str) -> list[str]:
    """Do some acts as nobody's process ("=" begins it) and return what became of them."""
    return ground.drive("\n".join(["=", *lines]) + "\n").split()


def test_a_checkpoint_executes_what_only_it_may(guest: Guest, ground: LabGround) -> None:
    """Its stamp ends in the middle of the exec, and the kernel goes on mapping the program."""
    ground.apply(RULES % "read")
    tool = f"exec {BASE}/tool"
    assert acts(ground, tool, f"= {BASE}/gate", tool) == ["killed" if guest.tier == "socket" else DENIED, DONE]


def test_an_exchange_takes_nothing_out_of_a_tree_that_must_not_be_read(guest: Guest, ground: LabGround) -> None:
    ground.apply(RULES % "read")
    secret, mine = f"{BASE}/kept/secret", f"{BASE}/mine"
    found = acts(ground, f"write {secret}", f"exchange {mine} {secret}", f"exchange {secret} {mine}", f"read {mine}",
                 f"read {secret}")
    assert found == ([DONE] * 5 if guest.tier == "socket" else [DONE, DENIED, DENIED, DONE, DENIED])


def test_what_an_exchange_puts_in_place_is_protected_by_all_its_names(guest: Guest, ground: LabGround) -> None:
    ground.apply(RULES % "read")
    also = f"read {BASE}/also-mine"
    found = acts(ground, also, f"= {BASE}/gate", f"exchange {BASE}/plan {BASE}/mine", also, "=", also)
    assert found == [DONE, DONE, DONE, DONE if guest.tier == "socket" else DENIED]


def test_a_device_is_protected_by_its_number_also_below_a_tree(guest: Guest, ground: LabGround) -> None:
    ground.apply(RULES % "write")
    found = acts(ground, f"read {BASE}/kept/other", f"read {BASE}/kept/card", f"read {BASE}/card")
    assert found == ([DONE] * 3 if guest.tier == "socket" else [DONE, DENIED, DENIED])
