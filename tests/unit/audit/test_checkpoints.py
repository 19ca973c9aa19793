"""Checkpoints that are none: without their stamp and why, replaced, gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nbspd.audit.checkpoints import checkpoint_findings
from nbspd.audit.finding import Finding, Kind
from nbspd.audit.places import MountTables
from nbspd.kernel.process import ProcessFacts

from .made import POOLER, holdings, knowledge, pooler, process, stamped, verdicts
from .test_places import seen

TABLE = MountTables().own


def found(path: Path, facts: ProcessFacts, *others: ProcessFacts, exe: Path | None = None, has_stamp: bool = False,
          **changes: Any) -> list[Finding]:
    """Return what is said of a process that runs the checkpoint's program, or (exe) another one."""
    one = seen(path, TABLE) if path.exists() else None
    key = one.objects[0] if one is not None else (0, 1)
    known = knowledge(checkpoints=(replace(POOLER, **{"exe": str(path), "object": key, **changes}),))
    if has_stamp:
        stamped(known, facts)
    held = holdings(facts, *others)
    runs = seen(exe, TABLE) if exe is not None else one
    held.exes[facts.pid] = (runs.objects, runs.place) if runs is not None else ((), None)
    for other in others:
        stamped(known, other, name="bastion")
    return list(checkpoint_findings(verdicts(known, held), TABLE))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "pooler"
    path.write_text("x")
    return path


@pytest.mark.parametrize("changes, words", [
    ({"uid": 33, "user": "postgres"}, "it runs as alice, not as postgres"),
    ({"cgroup": "/system.slice/p.service", "unit": "p.service"}, "it does not run in p.service"),
    ({"cgroup": "/user.slic", "unit": "x"}, "it does not run in x"),
    ({"after": ("bastion",)}, "it was not started through bastion"), ({}, "before the rules")])
def test_why_it_carries_no_stamp(changes: dict[str, Any], words: str, program: Path) -> None:
    one, = found(program, pooler(), **changes)
    assert one.kind is Kind.UNSTAMPED and one.harmless and words in one.what and one.only_through == ("pooler",)


def test_a_unit_with_folders_of_its_own(program: Path) -> None:
    one, = found(program, pooler(cgroup="/system.slice/p.service/main"), cgroup="/system.slice/p.service", unit="p")
    assert "it could not earn it" in one.what


def test_it_came_through_what_it_must_come_after(program: Path) -> None:
    one, = found(program, pooler(ppid=77), process(), after=("bastion",))
    assert "it could not earn it" in one.what


def test_a_checkpoint_with_its_stamp(program: Path) -> None:
    assert found(program, pooler(), has_stamp=True) == []


def test_other_programs_are_nothing(program: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    assert found(program, process(), exe=tmp_path / "other") == []


def test_a_program_that_was_replaced_and_not_looked_at_again(program: Path) -> None:
    one, = [each for each in found(program, pooler(), object=(1, 2)) if each.kind is Kind.REPLACED]
    assert "another file than the one" in one.what and "nbsp reload" in one.remedy and not one.harmless


def test_a_program_that_is_gone(tmp_path: Path) -> None:
    one, = found(tmp_path / "none", process())
    assert one.kind is Kind.REPLACED and "is gone" in one.what


def test_a_process_that_runs_the_former_program(program: Path, tmp_path: Path) -> None:
    known = knowledge(checkpoints=(replace(POOLER, exe=str(program), object=seen(program, TABLE).objects[0]),))
    held = holdings(pooler())
    held.exes[88] = ((1, 2),), seen(program, TABLE).place
    one, = checkpoint_findings(verdicts(known, held), TABLE)
    assert one.kind is Kind.UNSTAMPED and "before the present one" in one.what and "restart it" in one.remedy
