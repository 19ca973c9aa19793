"""What is sealed, who may change it, and what a checkpoint may execute."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nbspd import abi
from nbspd.programs import sealing
from nbspd.programs.bind import bind
from nbspd.programs.bound import Bound
from nbspd.programs.image import render
from nbspd.programs.inspect import Inspector, Key
from nbspd.rules.compile import compile_rules
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.plan import Plan
from nbspd.rules.reserved import SEALED

from .plans import numbers_of, plan_of, program

TEXT = """
version: 1
checkpoints:
  door: {exe: %(folder)s/door, stamp: children}
  pooler: {exe: %(folder)s/pooler, after: [door], code: [system, anonymous, %(folder)s/plugins]}
  looker: {exe: %(folder)s/looker}
resources: {db: {tcp: ["192.0.2.1:1"]}, log: {tcp: ["192.0.2.1:2"]}}
rules:
  - {id: db, protect: db, only-through: [pooler]}
  - {id: log, protect: log, only-through: [looker], mode: audit}
updaters: [%(folder)s/manager]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(os.path.realpath(tmp_path))
    for name in ("door", "pooler", "looker", "manager"):
        program(folder / name)
    (folder / "lib").mkdir()
    (folder / "plugins").mkdir()
    monkeypatch.setattr(sealing, "SYSTEM_FOLDERS", (str(folder / "lib"),))
    return folder


def parsed(here: Path) -> Plan:
    return compile_rules(parse_sources([Source("a.yaml", TEXT % {"folder": here})]))


def bound(plan: Plan, is_sealing: bool = True) -> Bound:
    return bind(plan, numbers_of(plan), Inspector(), is_sealing)


def key(path: Path) -> Key:
    with Inspector() as inspector:
        found = inspector.look(str(path))
    assert found is not None
    return found.key


def names(found: Bound, indices: "set[int] | tuple[int, ...]") -> set[str]:
    return {found.checkpoints[index].checkpoint.name for index in indices}


def test_what_an_enforced_rule_accepts_is_sealed_and_what_that_comes_after(here: Path) -> None:
    found = {one.checkpoint.name: one.is_sealed for one in bound(parsed(here)).checkpoints}
    assert found == {"door": True, "pooler": True, "looker": False, f"updater:{here}/manager": True}
    assert not any(one.is_sealed for one in bound(parsed(here), is_sealing=False).checkpoints)


def test_a_tier_without_the_hooks_has_no_updaters_and_no_demands(here: Path) -> None:
    found = bound(parsed(here), is_sealing=False)
    assert len(found.checkpoints) == 3 and not found.inodes and not found.codes


def test_nothing_is_sealed_where_nothing_is_enforced(here: Path) -> None:
    plan = plan_of({"pooler": {"exe": f"{here}/pooler"}}, {"db": {"tcp": ["192.0.2.1:1"]}})
    found = bound(plan)
    assert len(found.checkpoints) == 1 and not found.inodes and SEALED not in found.names.rules


@pytest.mark.parametrize("name", ["pooler", "door", "manager"])
def test_a_sealed_program_is_changed_by_updaters_only(here: Path, name: str) -> None:
    found = bound(parsed(here))
    for binding in (found.inodes[key(here / name)], found.slots[key(here), name.encode()]):
        clause, = binding.own
        assert clause.access == abi.Access.WRITE and found.rule_number(clause.rule) == SEALED
        assert names(found, clause.accept) == {f"updater:{here}/manager"} and found.rule_id(clause.rule) == "sealed"
    assert key(here / "looker") not in found.inodes


def test_the_code_that_is_listed_is_guarded_as_a_tree(here: Path) -> None:
    found = bound(parsed(here))
    assert found.inodes[key(here / "plugins")].tree[0].access == abi.Access.WRITE
    assert key(here / "lib") not in found.inodes, "the system's folders are root's own business"


def test_who_may_execute_what(here: Path) -> None:
    found = bound(parsed(here))
    system, plugins = found.codes[key(here / "lib")], found.codes[key(here / "plugins")]
    assert names(found, system.owned) == {"door", "pooler", f"updater:{here}/manager"} and not system.any
    assert names(found, plugins.any) == {"pooler"} and not plugins.owned


def test_a_listed_folder_inside_another_allows_what_both_do(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "SYSTEM_FOLDERS", (str(here),))
    plugins = bound(parsed(here)).codes[key(here / "plugins")]
    found = bound(parsed(here))
    assert names(found, plugins.any) == {"pooler"}
    assert names(found, plugins.owned) == {"door", "pooler", f"updater:{here}/manager"}


def test_the_tables_say_the_same(here: Path) -> None:
    found = bound(parsed(here))
    bits = {index: 100 + index for index in range(len(found.checkpoints))}
    image = render(found, bits)
    value = dict(image.inner["codes"])[_pack(key(here / "plugins"))]
    code = abi.Code.from_buffer_copy(value)
    index = next(index for index, one in enumerate(found.checkpoints) if one.checkpoint.name == "pooler")
    assert [bit for bit in range(abi.STAMP_BITS) if code.any[bit >> 6] >> (bit & 63) & 1] == [100 + index]
    sealed = abi.Policy.from_buffer_copy(dict(image.inner["policies"])[abi.POLICY_SEALED.to_bytes(4, "little")])
    assert (sealed.count, sealed.clauses[0].rule, sealed.clauses[0].access) == (1, SEALED, 0xFF)
    assert not any(sealed.clauses[0].accept), "nobody"


def _pack(found: Key) -> bytes:
    return bytes(abi.ObjectKey(ino=found[1], dev=found[0], gen=found[2]))


def test_without_a_list_the_hosts_own_package_managers_are_updaters() -> None:
    plan = plan_of({"one": {"exe": "/usr/bin/true"}}, {"db": {"tcp": ["192.0.2.1:1"]}}, r=("db", ["one"]))
    there = {path: path == "/usr/bin/rpm" for path in sealing.PACKAGE_MANAGERS}
    one, = sealing.updaters(plan, there)
    assert (one.name, one.exe, one.user, one.stamp) == ("updater:/usr/bin/rpm", "/usr/bin/rpm", "root", "children")


def test_a_change_of_the_code_is_another_checkpoint(here: Path) -> None:
    one = next(one for one in bound(parsed(here)).checkpoints if one.checkpoint.name == "pooler")
    other = replace(one, checkpoint=replace(one.checkpoint, code=None))
    assert one.identity({}) != other.identity({}), "a stamp bit keeps its meaning while anything carries it"


def test_a_seal_belongs_to_the_generation_and_not_to_the_stamp(here: Path) -> None:
    found = bound(parsed(here))
    one = next(one for one in found.checkpoints if one.checkpoint.name == "pooler")
    assert one.identity({}) == replace(one, is_sealed=False).identity({})
    sealed = render(found, {index: 100 + index for index in range(len(found.checkpoints))}).sealed
    assert {found.checkpoints[bit - 100].checkpoint.name for bit in sealed} == {
        "door", "pooler", f"updater:{here}/manager"}


@pytest.mark.parametrize("code, expected", [
    (None, ((), True, False)), (("system",), ((), True, False)), (("/opt/x",), (("/opt/x",), False, False)),
    (("system", "anonymous", "/opt/x"), (("/opt/x",), True, True))])
def test_what_code_lists(code: "tuple[str, ...] | None", expected: object) -> None:
    plan = plan_of({"one": {"exe": "/usr/bin/true", **({"code": list(code)} if code else {})}})
    assert sealing.code_of(plan.checkpoints[0]) == expected
