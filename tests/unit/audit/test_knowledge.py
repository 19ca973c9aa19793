"""What the daemon tells and what the audit understands of it are the same."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from nbspd.abi import RDEV_DEV
from nbspd.audit import told
from nbspd.audit.knowledge import Knowledge, clauses_of, facts_json, page, stamps_json
from nbspd.audit.told import learn, refresh_stamps
from nbspd.errors import ControlError
from nbspd.programs.bound import Binding, Bound, BoundCheckpoint, Names
from nbspd.rules.compile import compile_rules
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.plan import Clause, network_bits

from .made import CONNECT, DEMANDS, POOLER, READ, knowledge, pooler, process, stamped

TEXT = """
version: 1
checkpoints:
  pooler: {exe: /usr/bin/true, stamp: children, user: root}
resources:
  db: {tcp: ["10.0.0.0/8:5432"]}
rules:
  - {id: r, protect: db, only-through: [pooler], mode: audit, owner: dba}
"""
CLAUSES = (Clause(0, 3, (0,), 1, 0),)


def bound() -> Bound:
    """Return rules on one of each sort of object, bound to made-up inodes."""
    plan = compile_rules(parse_sources([Source("a.yaml", TEXT)]))
    wide, narrow = network_bits(ip_network("10.0.0.0/8")), network_bits(ip_network("10.1.0.0/16"))
    return Bound(plan, {"r": 1}, (BoundCheckpoint(plan.checkpoints[0], (1, 2, 3), 0, "/system.slice/p.service"),),
                 inodes={(8, 9, 1): Binding(tree=CLAUSES), (RDEV_DEV, 77, 0): Binding(CLAUSES)},
                 slots={((8, 5, 0), b"k\xff"): Binding(CLAUSES), ((8, 5, 0), b"awaited"): Binding()},
                 endpoints={(6, 5432, wide): CLAUSES, (6, 5432, narrow): ()},
                 sun_names={b"\0ab\0c": CLAUSES, b"/run/s": CLAUSES},
                 names=Names(stamps={7: "pooler"}, objects={(8, 9, 1): "/srv", (8, 5, 0): "/etc"}))


class Daemon:
    """Answers as the daemon does; `generations` are those of one answer after the other."""

    def __init__(self, *generations: int) -> None:
        self.bound = bound()
        self.generations = list(generations)
        self.asked: list[tuple[int, int]] = []

    def __call__(self, verb: str, offset: int, limit: int) -> dict[str, Any]:
        assert verb == "audit"
        self.asked.append((offset, limit))
        generation = self.generations.pop(0) if len(self.generations) > 1 else self.generations[0]
        objects, total = page(self.bound, offset, limit)
        facts = facts_json(self.bound) if offset == 0 and limit else {}
        stamps = stamps_json({44: (500, ("pooler",))}) if offset == 0 else []
        return {"generation": generation, "tier": "lsm", "pid": 5, "cgroup": "/", **facts,
                "stamps": stamps, "objects": objects, "total": total}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_everything_arrives_in_pages_of_any_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "PAGE", size)
    known = learn(Daemon(4))
    assert (known.generation, known.tier, known.pid, known.cgroup) == (4, "lsm", 5, "/")
    assert known.rules[0].id == "r" and known.rules[0].only_through == ("pooler",) and known.rules[0].mode == "audit"
    checkpoint = known.checkpoints[0]
    assert (checkpoint.object, checkpoint.uid, checkpoint.cgroup) == ((1, 2), 0, "/system.slice/p.service")
    assert not checkpoint.is_self and known.bits == {7: "pooler"}
    assert known.objects[8, 9].path == "/srv" and known.objects[8, 9].tree == ((0, 3),)
    assert known.devices[77].own == ((0, 3),)
    assert [(folder, name) for folder, _, name, _ in known.names] == [((8, 5), "k\udcff")]      # not what is awaited
    assert known.unix_names == {b"\0ab\0c": ((0, 3),), b"/run/s": ((0, 3),)}
    assert known.stamps[44].start_ticks == 500 and known.stamps[44].names == {"pooler"}


def test_the_smallest_network_counts_on_both_sides() -> None:
    known, there = learn(Daemon(4)), bound()
    for address, has in (("10.2.0.1", True), ("10.1.0.1", False), ("192.0.2.1", False)):
        assert bool(known.endpoint(6, ip_address(address), 5432)) == has
        assert bool(clauses_of(there, 6, ip_address(address), 5432)) == has
    assert known.endpoint(17, ip_address("10.2.0.1"), 5432) == () == known.endpoint(6, ip_address("10.2.0.1"), 1)


def test_a_reload_in_between_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "PAGE", 4)
    daemon = Daemon(4, 5, 5)
    assert learn(daemon).generation == 5 and daemon.asked[2] == (0, 4)


def test_rules_that_change_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "PAGE", 4)
    with pytest.raises(ControlError, match="again and again"):
        learn(Daemon(*range(1, 20)))


def test_stamps_are_asked_for_again() -> None:
    daemon = Daemon(4, 4, 5)
    known = learn(daemon)
    known.stamps = {}
    assert refresh_stamps(known, daemon) and known.stamps[44].names == {"pooler"}
    assert not refresh_stamps(known, daemon) and daemon.asked[-1] == (0, 0)


def test_rules_that_an_access_violates() -> None:
    known = knowledge()
    assert [rule.id for rule in known.unmet(DEMANDS, CONNECT, ())] == ["through-pooler"]
    assert known.unmet(DEMANDS, CONNECT, ["pooler"]) == ()
    assert known.unmet(((0, READ),), CONNECT, ()) == ()
    assert [rule.id for rule in known.unmet(((0, READ), (2, READ)), READ, ["pooler"])] == ["nobody"]


@pytest.mark.parametrize("facts, exe, changes, counts", [
    (pooler(), (1, 50), {}, True),
    (pooler(), (1, 51), {}, False),                                 # it runs another program now
    (pooler(), (1, 51), {"is_self": False}, True),
    (pooler(), (1, 50), {"uid": 33}, False), (pooler(euid=33), (1, 50), {"uid": 33}, True),
    (pooler(start_ticks=501), (1, 50), {}, False),                  # another process of that number
    (process(pid=89), (1, 50), {}, False)])
def test_stamps_that_count(facts: Any, exe: tuple[int, int], changes: dict[str, Any], counts: bool) -> None:
    known: Knowledge = stamped(knowledge(checkpoints=(replace(POOLER, **changes),)), pooler())
    assert known.counting(facts, [exe]) == (frozenset(["pooler"]) if counts else frozenset())


def test_stamps_of_a_socket() -> None:
    known = knowledge()
    assert known.socket_stamps((1 << 4).to_bytes(64, "little")) == {"pooler"}
    assert known.socket_stamps((1 << 5).to_bytes(64, "little")) == known.socket_stamps(None) == frozenset()
