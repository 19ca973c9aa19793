"""What loading asks of the kernel for each kind of hook, what is told of a refusal, and taking over from others."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from nbspd.kernel import bpf, bpf_load, mounts
from nbspd.programs import attach, catalogue, loader
from nbspd.programs.attach import NO_HOOK, Place, Set
from nbspd.programs.compiled import Program

PLACE = Place(Path("/maps"), Path("/links"), Path("/cgroup"))
LOG = """0: R1=ctx() R10=fp0
; int zero = 0;
0: (b7) r1 = 0
from 3 to 5: safe
processed 18 insns (limit 1000000) max_states_per_insn 0
"""


def hook(name: str) -> catalogue.Hook:
    return next(one for one in catalogue.HOOKS if one.name == name)


@pytest.mark.parametrize("name, tier, expected", [
    ("file_open", "lsm", (29, 27)), ("file_open", "fmod_ret", (26, 26)), ("inode_getattr", "fmod_ret", (26, 26)),
    ("sched_process_exec", "lsm", (17, 0)), ("cgroup_connect6", "socket", (18, 11)), ("cgroup_egress", "lsm", (8, 1)),
    ("interface_egress", "socket", (3, 0))])
def test_types(name: str, tier: str, expected: tuple[int, int]) -> None:
    assert attach.types(hook(name), tier) == expected


def test_a_refusal_tells_the_verifiers_last_word() -> None:
    assert attach.refusal("Invalid argument", "") == "Invalid argument"
    assert attach.refusal("Permission denied", LOG) == "Permission denied"
    told = LOG.replace("from 3", "invalid access to map value, value_size=4\nfrom 3")
    assert attach.refusal("Permission denied", told) == "Permission denied (invalid access to map value, value_size=4)"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was loaded; a program of the code b"bad" is refused."""
    asked: list[tuple[Any, ...]] = []

    def prog_load(*arguments: Any) -> int:
        asked.append(arguments)     # in any order: they are loaded side by side
        if arguments[1] == b"bad":
            error = bpf_load.Refused(13, "Permission denied")
            error.log = "invalid mem access"
            raise error
        return len(asked)
    monkeypatch.setattr(bpf_load, "prog_load", prog_load)
    return asked


def test_each_program_fails_alone(loads: list[tuple[Any, ...]]) -> None:
    programs = {"cgroup_connect4": Program(b"good", {}), "cgroup_connect6": Program(b"bad", {}, 0, False),
                "lsm__file_open": Program(b"best", {}, 4711)}
    one = Set("lsm", programs, PLACE)
    one.load()
    assert set(one.loaded) == {"cgroup_connect4", "file_open"}
    assert one.refused["cgroup_connect6"] == "Permission denied (invalid mem access)"
    assert one.refused["mmap_file"] == NO_HOOK
    assert set(loads) == {(18, b"good", "nbsp_cgroup_connect4", 10, 0), (18, b"bad", "nbsp_cgroup_connect6", 11, 0),
                          (29, b"best", "nbsp_file_open", 27, 4711)}
    assert one.changed_its_mind() == ""     # it was refused when it was new too
    assert {name: program.is_taken for name, program in one.remembering().items()} == {
        "cgroup_connect4": True, "cgroup_connect6": False, "lsm__file_open": True}


@pytest.mark.usefixtures("loads")
def test_a_program_that_was_taken_once_and_is_not_now() -> None:
    one = Set("lsm", {"cgroup_connect6": Program(b"bad", {})}, PLACE)
    one.load()
    assert one.changed_its_mind() == "cgroup_connect6: Permission denied (invalid mem access)"


# -- taking over, in the kernel: programs that let everything through, on a cgroup that holds nobody


CODES = {verdict: bytes.fromhex(f"b70000000{verdict}0000009500000000000000") for verdict in (0, 1)}
HOOKS = tuple(one for one in catalogue.HOOKS if one.kind == "cgroup" and one.is_required)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    """Folders of pins by name, and a cgroup."""
    monkeypatch.setattr(catalogue, "HOOKS", HOOKS)
    pins, cgroup = mounts.BPFFS / f"nbsp_test_{os.getpid()}", mounts.cgroup2_root() / f"nbsp_test_{os.getpid()}"
    assert mounts.bpffs_ready(pins)

    def at(name: str, former: str = "") -> Place:
        (pins / name).mkdir()
        return Place(pins, pins / name, cgroup, pins / former if former else None)
    pins.mkdir()
    cgroup.mkdir()
    try:
        yield at
    finally:
        loader.remove(pins)
        cgroup.rmdir()


def put(where: Place, verdict: int = 1) -> str:
    """Load and attach programs that return `verdict`; return the error."""
    with Set("socket", {one.name: Program(CODES[verdict], {}) for one in HOOKS}, where) as one:
        one.load()
        rows, error = one.attach()
    assert error or all(row.is_attached for row in rows)
    return error


def pinned(where: Place) -> dict[str, bpf.LinkInfo]:
    found = {}
    for pin in where.links.iterdir():
        fd = bpf.obj_get(pin)
        found[pin.name] = bpf.link_info(fd)
        os.close(fd)
    return found


def test_links_of_a_cgroup_are_given_new_programs(place: Callable[..., Place]) -> None:
    first, second = place("links-1"), place("links-2", "links-1")
    assert put(first) == ""
    before = pinned(first)
    assert put(second) == ""
    after = pinned(second)
    assert set(after) == {one.name for one in HOOKS} and after == pinned(first)
    for name, link in after.items():
        assert link.id == before[name].id and link.prog_id != before[name].prog_id, name
    loader.remove(first.links)
    assert pinned(second) == after


def test_links_of_another_cgroup_are_left_alone(place: Callable[..., Place]) -> None:
    first = place("links-1")
    assert put(first) == ""
    before = pinned(first)
    below = first.cgroup / "below"
    below.mkdir()
    try:
        second = replace(place("links-2", "links-1"), cgroup=below)
        assert put(second) == ""
        assert pinned(first) == before
        assert not {link.id for link in before.values()} & {link.id for link in pinned(second).values()}
        loader.remove(second.links)
    finally:
        below.rmdir()


def test_a_failure_gives_the_links_their_programs_back(
        place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = place("links-1"), place("links-2", "links-1")
    assert put(first) == ""
    before, update, updates = pinned(first), bpf_load.link_update, []

    def fail(*_: int) -> int:
        raise OSError(12, "Cannot allocate memory")

    def update_three(link: int, program: int) -> None:
        updates.append(link)
        if len(updates) == 4:
            fail()
        update(link, program)
    monkeypatch.setattr(bpf_load, "link_update", update_three)
    monkeypatch.setattr(bpf_load, "link_create", fail)
    assert put(second) == f"the kernel refused {HOOKS[3].name}: attaching: Cannot allocate memory"
    assert pinned(first) == before


def test_a_kernel_that_updates_no_links_gets_new_ones(
        place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = place("links-1"), place("links-2", "links-1")

    def refuse(*_: int) -> None:
        raise OSError(22, "Invalid argument")
    monkeypatch.setattr(bpf_load, "link_update", refuse)
    assert put(first) == "" and put(second) == ""
    assert not {link.id for link in pinned(first).values()} & {link.id for link in pinned(second).values()}
