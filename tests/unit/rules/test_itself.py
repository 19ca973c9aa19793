"""The rules by which nbspd guards itself and the kernel: `self` and `kernel`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbspd.abi import Access, Mode
from nbspd.errors import RulesError
from nbspd.rules import itself
from nbspd.rules.compile import compile_rules
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.model import RuleSet

SHIPPED = Path(__file__).resolve().parents[3] / "rules/00-self.yaml"
KERNEL = """version: 1
checkpoints:
  modprobe: {exe: /usr/bin/kmod}
resources:
  memory: {devices: [/dev/mem]}
rules:
  - {id: kernel, protect: memory, only-through: [modprobe]}
"""
OTHER = """version: 1
resources:
  door: {tcp: ["127.0.0.1:1"]}
rules:
  - {id: shut, protect: door, only-through: []}
"""


def parsed(*texts: str) -> RuleSet:
    return parse_sources([Source(f"{number}.yaml", text) for number, text in enumerate(texts)])


def test_the_shipped_rule_guards_the_daemon_against_all_but_itself() -> None:
    plan = compile_rules(parsed(SHIPPED.read_text()))
    clause = itself.clause(plan, itself.RULE)
    assert clause is not None
    assert [plan.checkpoints[index].name for index in clause.accept] == ["nbspd"]
    assert itself.daemon_index(plan) == clause.accept[0]
    assert (clause.access, clause.mode) == (Access.WRITE, Mode.ENFORCE)
    assert itself.clause(plan, itself.KERNEL) is None, "the kernel is not sealed unless somebody says so"


def test_reading_what_is_guarded_stays_allowed() -> None:
    plan = compile_rules(parsed(SHIPPED.read_text()))
    assert {clause.access for path in plan.paths for clause in path.clauses} == {Access.WRITE}


@pytest.mark.parametrize("change", [
    ("only-through: [nbspd]", "only-through: []"), ("unit: nbspd.service", "unit: cron.service"),
    ("stamp: children", "stamp: self")], ids=lambda change: change[1])
def test_a_rule_that_locks_the_daemon_out_is_refused(change: tuple[str, str]) -> None:
    with pytest.raises(RulesError) as caught:
        parsed(SHIPPED.read_text().replace(*change))
    assert "does not let it do its own work" in str(caught.value.problems[0])


def test_the_kernel_is_sealed_only_together_with_the_daemon() -> None:
    with pytest.raises(RulesError) as caught:
        parsed(KERNEL)
    assert "declare the rule 'self' too" in str(caught.value.problems[0])
    plan = compile_rules(parsed(KERNEL, SHIPPED.read_text()))
    clause = itself.clause(plan, itself.KERNEL)
    assert clause is not None and [plan.checkpoints[index].name for index in clause.accept] == ["modprobe"]


def test_where_it_cannot_hold_nothing_of_it_is_left() -> None:
    rest = itself.without(parsed(KERNEL, SHIPPED.read_text(), OTHER))
    assert [rule.id for rule in rest.rules] == ["shut"] and not rest.checkpoints
    assert itself.daemon_index(compile_rules(rest)) is None


def test_a_checkpoint_that_others_accept_too_stays() -> None:
    text = OTHER.replace("only-through: []", "only-through: [nbspd]")
    assert set(itself.without(parsed(SHIPPED.read_text(), text)).checkpoints) == {"nbspd"}
