"""What loading asks of the kernel for each kind of hook, and what is told of a refusal. Attaching: tests/native."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbspd.kernel import bpf_load
from nbspd.programs import attach, catalogue
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
        asked.append(arguments)
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
    assert loads == [(18, b"good", "nbsp_cgroup_connect4", 10, 0), (18, b"bad", "nbsp_cgroup_connect6", 11, 0),
                     (29, b"best", "nbsp_file_open", 27, 4711)]
    assert one.changed_its_mind() == ""     # it was refused when it was new too
    assert {name: program.is_taken for name, program in one.remembering().items()} == {
        "cgroup_connect4": True, "cgroup_connect6": False, "lsm__file_open": True}


@pytest.mark.usefixtures("loads")
def test_a_program_that_was_taken_once_and_is_not_now() -> None:
    one = Set("lsm", {"cgroup_connect6": Program(b"bad", {})}, PLACE)
    one.load()
    assert one.changed_its_mind() == "cgroup_connect6: Permission denied (invalid mem access)"
