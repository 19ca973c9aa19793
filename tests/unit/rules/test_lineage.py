"""Stamps along a chain of execs: examples in words, and what must hold for every chain."""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

from hypothesis import given
from hypothesis import strategies as st

from nbspd.rules.compile import compile_rules
from nbspd.rules.lineage import Process, counting, execute
from nbspd.rules.model import Checkpoint, RuleSet
from nbspd.rules.plan import Plan

PLAIN = "/usr/bin/plain"
PROGRAMS = (PLAIN, "/usr/bin/a", "/usr/bin/b", "/usr/bin/c")


def plan(*checkpoints: Checkpoint) -> Plan:
    return compile_rules(RuleSet({one.name: one for one in checkpoints}))


def chain(one: Plan, programs: Sequence[str], user: str = "root") -> Process:
    process = Process(PLAIN, user)
    for program in programs:
        process = execute(one, process, program)
    return process


def stamps(one: Plan, *programs: str, user: str = "root") -> set[str]:
    return set(counting(one, chain(one, programs, user)).stamps)


def test_in_words() -> None:
    a, b = Checkpoint("a", "/usr/bin/a"), Checkpoint("b", "/usr/bin/b", stamp="children")
    last = Checkpoint("last", "/usr/bin/c", after=("a", "b"))
    rules = plan(a, b, last)
    assert stamps(rules) == set() and stamps(rules, "/usr/bin/a") == {"a"}
    assert stamps(rules, "/usr/bin/a", PLAIN) == set(), "self is lost on exec"
    assert stamps(rules, "/usr/bin/b", PLAIN, PLAIN) == {"b"}, "children is kept"
    assert stamps(rules, "/usr/bin/a", "/usr/bin/b") == {"b"}
    assert stamps(rules, "/usr/bin/b", "/usr/bin/a", "/usr/bin/c") == {"b", "last"}, "a was the program before"
    assert stamps(rules, "/usr/bin/a", "/usr/bin/b", "/usr/bin/c") == {"b"}, "a was lost on the way"


def test_a_user_counts_when_it_is_asked() -> None:
    rules = plan(Checkpoint("a", "/usr/bin/a", user="nobody"))
    process = chain(rules, ["/usr/bin/a"])
    assert counting(rules, process).stamps == frozenset() and process.carried == {"a"}
    assert counting(rules, replace(process, user="nobody")).stamps == {"a"}


def test_a_unit_counts_at_exec() -> None:
    rules = plan(Checkpoint("a", "/usr/bin/a", unit="a.service", stamp="children"))
    inside = execute(rules, Process(PLAIN, unit="a.service"), "/usr/bin/a")
    assert counting(rules, replace(inside, unit=None)).stamps == {"a"}
    assert execute(rules, Process(PLAIN, unit="b.service"), "/usr/bin/a").carried == frozenset()


def test_one_program_may_be_several_checkpoints() -> None:
    rules = plan(Checkpoint("a", "/usr/bin/a"), Checkpoint("same", "/usr/bin/a", user="nobody"),
                 Checkpoint("again", "/usr/bin/a", after=("same",)))
    assert stamps(rules, "/usr/bin/a") == {"a"}
    assert stamps(rules, "/usr/bin/a", user="nobody") == {"a", "same"}
    assert stamps(rules, "/usr/bin/a", "/usr/bin/a") == {"a", "again"}, "it carried what did not count"


CHECKPOINTS = st.lists(st.builds(
    Checkpoint, st.just("x"), st.sampled_from(PROGRAMS[1:]), user=st.sampled_from([None, "root", "nobody"]),
    stamp=st.sampled_from(["self", "children"])), min_size=1, max_size=4).map(
        lambda found: tuple(replace(one, name=f"x{index}", after=tuple(f"x{other}" for other in range(index % 2)))
                            for index, one in enumerate(found)))
CHAINS = st.lists(st.sampled_from(PROGRAMS), max_size=5)


@given(CHECKPOINTS, CHAINS, st.sampled_from(["root", "nobody"]))
def test_only_what_was_executed_gives_stamps(checkpoints: tuple[Checkpoint, ...], programs: list[str],
                                             user: str) -> None:
    process = chain(plan(*checkpoints), programs, user)
    assert {one.exe for one in checkpoints if one.name in process.carried} <= set(programs)
    assert counting(plan(*checkpoints), process).stamps <= process.carried


@given(CHECKPOINTS, CHAINS)
def test_a_program_that_is_no_checkpoint_ends_every_self_stamp(checkpoints: tuple[Checkpoint, ...],
                                                               programs: list[str]) -> None:
    process = chain(plan(*checkpoints), [*programs, PLAIN])
    assert all(one.stamp == "children" for one in checkpoints if one.name in process.carried)


@given(CHECKPOINTS, CHAINS, CHAINS)
def test_a_children_stamp_is_never_lost(checkpoints: tuple[Checkpoint, ...], programs: list[str],
                                        further: list[str]) -> None:
    rules = plan(*checkpoints)
    kept = {one.name for one in checkpoints if one.stamp == "children"}
    assert chain(rules, programs).carried & kept <= chain(rules, programs + further).carried
