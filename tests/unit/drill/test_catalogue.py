"""The catalogue of attempts agrees with itself and with the techniques of drill/*.c."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from nbspd.drill.attempt import CHANNELS, GOALS, MEANWHILE, STARTS, USERS, Attempt
from nbspd.drill.catalogue import ATTEMPTS, chosen
from nbspd.drill.controls import CONTROLS
from nbspd.drill.ground import PLACEHOLDER, REVEALED_MAX
from nbspd.drill.outcome import MEANINGS, PROOFS
from nbspd.errors import UsageError

SOURCES = Path(__file__).resolve().parents[3] / "drill"
TEXT = "\n".join(path.read_text() for path in sorted(SOURCES.glob("*.c")))
TECHNIQUES = frozenset(re.findall(r'^(?:TECHNIQUE|CHANGE)\("([^"]+)"', TEXT, re.MULTILINE))
ROLES = frozenset(re.findall(r'^ROLE\("([^"]+)"', TEXT, re.MULTILINE))
WANTED = 250
# what Ground and Monitor have words for
GROUND = frozenset("""attempt checkpoint bastion library image device mounted tcp udp open_tcp open_udp vsock abstract
    abstract_dgram cgroup secret token mark scratch uid gid file tool script tree in_tree tool_in_tree later
    stream dgram seqpacket decoy decoy_tool own knob sysfs_knob agent monitor pins bpffs rules rule journal state code
    unit group""".split())


def test_there_are_enough() -> None:
    assert len(ATTEMPTS) >= WANTED


def test_ids_are_unique() -> None:
    assert [name for name, count in Counter(attempt.id for attempt in ATTEMPTS).items() if count > 1] == []


def test_commands_are_unique() -> None:
    said = Counter((attempt.command, attempt.who, attempt.meanwhile) for attempt in ATTEMPTS)
    assert [command for command, count in said.items() if count > 1] == []


def test_every_family_is_there() -> None:
    assert {attempt.channel for attempt in ATTEMPTS} == set(CHANNELS) == set(MEANINGS)


def test_every_technique_has_a_row_and_every_row_a_technique() -> None:
    assert {attempt.technique for attempt in ATTEMPTS} == TECHNIQUES


def test_techniques_and_roles_have_names_of_their_own() -> None:
    names = re.findall(r'^(?:TECHNIQUE|CHANGE|ROLE)\("([^"]+)"', TEXT, re.MULTILINE)
    other_abi = {"int80", "x32", "debugger", "code-write"}         # written twice, for x86 and for the rest
    assert {name for name, count in Counter(names).items() if count > 1} <= other_abi
    assert not TECHNIQUES & ROLES


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.id)
def test_row(attempt: Attempt) -> None:
    assert attempt.goal in GOALS and attempt.who in USERS
    assert attempt.starts in STARTS and attempt.meanwhile in MEANWHILE
    assert attempt.placeholders <= GROUND
    assert attempt.title and attempt.family and attempt.id.startswith(f"{attempt.channel.lower()}-")
    assert not any("=" not in word for word in attempt.command[1:])
    if attempt.meanwhile in ("kill", "restart"):
        assert attempt.lab_only


def test_what_waits_for_rules_is_told_to_the_runner() -> None:
    """A technique that waits for rules must start before them, or it would wait for ever."""
    bodies = re.split(r'^(?:TECHNIQUE|CHANGE|ROLE)\("', TEXT, flags=re.MULTILINE)[1:]
    waiting = {body.partition('"')[0] for body in bodies if "wait_for_rules();" in body.partition("\n}\n")[0]}
    assert {attempt.technique for attempt in ATTEMPTS if attempt.starts == "before"} - {"spoofed-exe"} == waiting


@pytest.mark.parametrize("word", ["/dev/mem", "/proc/kcore", "core_pattern", "modprobe", "uevent_helper", "kexec",
                                  "iopl"])
def test_what_harms_a_host_is_for_the_lab(word: str) -> None:
    found = [attempt for attempt in ATTEMPTS if word in f"{attempt.title} {' '.join(attempt.command)}"]
    assert found and all(attempt.lab_only for attempt in found)


def test_the_placeholder_of_protected_programs_is_in_the_source() -> None:
    assert TEXT.count(f'"{PLACEHOLDER.decode()}"') == 1
    assert len(PLACEHOLDER) <= REVEALED_MAX


def test_every_goal_has_a_proof() -> None:
    assert set(PROOFS) == set(GOALS)


def test_controls_are_techniques_and_have_both_sides() -> None:
    assert {control.attempt.technique for control in CONTROLS} <= TECHNIQUES
    assert {(control.program, control.is_protected) for control in CONTROLS} == {("checkpoint", True), ("attempt",
                                                                                                        False)}
    assert len({control.attempt.id for control in CONTROLS}) == len(CONTROLS)


def test_choosing() -> None:
    assert {attempt.channel for attempt in chosen(["h1", "H14"])} == {"H1", "H14"}
    assert all("uring" in attempt.id for attempt in chosen((), ["uring"]))
    with pytest.raises(UsageError, match="no family H15"):
        chosen(["H15"])
    with pytest.raises(UsageError, match="no attempt"):
        chosen(["H1"], ["nothing is called so"])
