"""Names in trees, and those outside of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nbspd.audit import links
from nbspd.audit.finding import Counts, Finding, Kind
from nbspd.audit.knowledge import Protected
from nbspd.audit.links import Walk, link_findings, walk_trees

from .made import DEMANDS, WRITE, knowledge


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    (path / "deep").mkdir(parents=True)
    for name in ("one", "deep/two", "deep/three"):
        (path / name).write_text("")
    (path / "link").symlink_to("one")
    return path


def walk(*trees: Path, tier: str = "socket", stamps: frozenset[str] = frozenset(), demands: Any = DEMANDS,
         counts: Counts | None = None, **named: Any) -> tuple[Walk, list[Finding]]:
    known = knowledge(tier=tier)
    declared = [Protected(str(path), tree=demands) for path in trees]
    found = walk_trees(known, declared, stamps, counts or Counts(), **named)
    return found, link_findings(known, found)


def test_a_name_outside(tree: Path, tmp_path: Path) -> None:
    os.link(tree / "deep/two", tmp_path / "outside")
    found, (one,) = walk(tree)
    assert (one.kind, one.path, one.rules, one.only_through) == (
        Kind.HARD_LINK, str(tree / "deep/two"), ("through-pooler",), ("pooler",))
    assert "has 2 names, and 1 of them" in one.what and f"-inum {(tmp_path / 'outside').stat().st_ino}" in one.remedy
    assert not one.harmless and found.notes == [] and len(found.inside) == 4


def test_names_that_are_all_inside(tree: Path) -> None:
    os.link(tree / "one", tree / "deep/again")
    assert walk(tree)[1] == []


def test_a_tree_in_a_tree_is_walked_once(tree: Path) -> None:
    os.link(tree / "deep/two", tree / "deep/again")
    counts = Counts()
    assert walk(tree, tree / "deep", counts=counts)[1] == [] and counts.names == 6


def test_a_bound(tree: Path) -> None:
    found, _ = walk(tree, names_max=3)
    assert "only the first 3 names were looked at" in found.notes[0] and "find" in found.notes[0]


def test_where_the_rules_keep_everybody_out_nothing_is_tried(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "walk_one", lambda *_: pytest.fail("that would be a bypass"))
    found, _ = walk(tree, tier="lsm")
    assert "through-pooler keeps this command out" in found.notes[0]


@pytest.mark.parametrize("named", [{"stamps": frozenset(["pooler"])}, {"demands": ((0, WRITE),)}])
def test_where_we_may_read(named: dict[str, Any], tree: Path) -> None:
    assert walk(tree, tier="lsm", **named)[0].notes == []


def test_what_is_gone_or_closed_is_no_trouble(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert walk(tree / "none")[0].notes == []

    def scan(folder: str) -> Any:
        if folder.endswith("deep"):
            raise PermissionError(1, "Operation not permitted")
        return real(folder)
    real = os.scandir
    monkeypatch.setattr(links.os, "scandir", scan)
    assert walk(tree)[0].notes == [f"hard links into {tree}/deep: Operation not permitted"]

    def vanish(_folder: str) -> Any:
        raise FileNotFoundError(2, "gone")
    monkeypatch.setattr(links.os, "scandir", vanish)
    assert walk(tree)[0].notes == []
