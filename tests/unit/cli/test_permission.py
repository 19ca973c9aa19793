"""What somebody hears who is neither root nor in the group: what he may not, who may, and how to get there."""

from __future__ import annotations

import grp
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest

from nbspd.cli import permission
from nbspd.cli.nbsp import VERBS
from nbspd.control.protocol import VERBS as ASKED
from nbspd.control.protocol import Role

from .replies import DENIAL
from .running import FakeDaemon, Runner

NOBODY = 65534
LOOKING = [("status",), ("status", "--wait", "5"), ("coverage",), ("journal",), ("journal", "--follow"),
           ("explain", "1"), ("explain", "--read", "/etc/shadow"), ("lineage", "1"), ("audit",),
           ("audit", "--close")]
CHANGING = [("reload",), ("confirm",), ("rollback",), ("detach", "--reason", "no more"),
            ("maintain", "--end")]


@contextmanager
def unprivileged() -> Iterator[None]:
    """Do without root for a while; access(2), by which click asks, goes by the real user."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, and in it one that is closed, as /run and /run/nbspd are."""
    found = Path(tempfile.mkdtemp(prefix="nbsp-test-"))
    found.chmod(0o755)
    for name in ("run", "state", "rules.d"):
        (found / name).mkdir()
    (found / "state/journal.db").write_text("")
    (found / "rules.d/a.yaml").write_text("version: 1\n")
    yield found
    shutil.rmtree(found)


@pytest.fixture
def closed(folder: Path) -> Iterator[Path]:
    daemon = FakeDaemon(folder / "run", {})
    for path in folder.iterdir():
        path.chmod(0o000)
    yield folder
    for path in folder.iterdir():
        path.chmod(0o755)
    daemon.close()


@pytest.fixture(autouse=True)
def alice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "user_name", lambda: "alice")


def with_group(monkeypatch: pytest.MonkeyPatch, *members: str, is_here: bool = True) -> None:
    def find(name: str) -> Any:
        if not is_here:
            raise KeyError(name)
        return grp.struct_group((name, "x", 4711, list(members)))
    monkeypatch.setattr(grp, "getgrnam", find)


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_looking(words: tuple[str, ...], nbsp: Runner, closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_group(monkeypatch)
    line = (*words, "--runtime", str(closed / "run"))
    with unprivileged():
        done = nbsp(*line)
    assert done.code == 1 and done.out == ""
    assert done.err == (
        "nbsp: alice may not talk to nbspd: only root and members of the group nbspd may\n"
        f"  remedy: sudo nbsp {' '.join(line)}; or, to look without sudo: sudo usermod -aG nbspd alice, "
        "then log in again\n")


@pytest.mark.parametrize("words", CHANGING, ids=" ".join)
def test_changing(words: tuple[str, ...], nbsp: Runner, closed: Path) -> None:
    with unprivileged():
        done = nbsp(*words, "--runtime", closed / "run")
    assert done.code == 1
    assert "alice may not change what nbspd enforces: only root may; members of the group" in done.err
    assert f"  remedy: sudo nbsp {words[0]} " in done.err and "usermod" not in done.err


def test_as_json(nbsp: Runner, closed: Path) -> None:
    with unprivileged():
        done = nbsp("status", "--json", "--runtime", closed / "run")
    assert done.code == 1 and done.err == "" and "only root and members" in done.json["error"]["cause"]


def test_every_verb_that_asks_is_here() -> None:
    assert {words[0] for words in LOOKING + CHANGING} == set(ASKED) - {"ping", "close"} <= set(VERBS)
    assert ASKED["close"].command == "audit --close"
    assert {name for name, verb in ASKED.items() if verb.role is Role.CHANGER} == set(permission.CHANGES)


@pytest.mark.parametrize("members, is_here, words", [
    ((), True, "usermod -aG nbspd alice, then log in again"), (("alice",), True, "already, but not since this login"),
    ((), False, "groupadd --system nbspd")])
def test_the_way_into_the_group(members: tuple[str, ...], is_here: bool, words: str,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    with_group(monkeypatch, *members, is_here=is_here)
    assert words in permission.way_into_the_group("alice")


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 1 << 30)
    assert permission.user_name() == f"uid {1 << 30}"


def test_root_is_not_sent_to_sudo(nbsp: Runner, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")
    monkeypatch.setattr("socket.socket.connect", refuse, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    done = nbsp("status", "--runtime", folder / "run")
    assert done.code == 1 and "refuses root" in done.err and "sudo" not in done.err


def test_doctor_does_not_stumble(nbsp: Runner, closed: Path) -> None:
    with unprivileged():
        found = nbsp("doctor", "--json", "--runtime", closed / "run").json["daemon"]
    assert found["state"] == "unknown" and "only root and members" in found["reason"]
    assert found["remedy"].startswith("sudo nbsp doctor; or")


def test_the_journal_file_is_for_root(nbsp: Runner, closed: Path) -> None:
    state = closed / "state"
    with unprivileged():
        done = nbsp("journal", "verify", "--state", state)
    assert done.code == 1 and f"alice may not read the file {state}/journal.db: only root may" in done.err
    assert f"  remedy: sudo nbsp journal verify --state {state}\n" in done.err


@pytest.mark.parametrize("name, mode", [("rules.d", 0o000), ("rules.d", 0o444), ("rules.d", 0o711),
                                        ("rules.d/a.yaml", 0o000)])
def test_rules_that_may_not_be_read(name: str, mode: int, nbsp: Runner, folder: Path) -> None:
    path = folder / name
    path.chmod(mode)
    with unprivileged():
        done = nbsp("check", path)
    path.chmod(0o755)
    assert done.code == 1 and f"{path}: alice may not read it: Permission denied; sudo nbsp check {path}" in done.err
    assert nbsp("check", path).code == 0


def test_a_rule_file_in_a_closed_folder(nbsp: Runner, closed: Path) -> None:
    with unprivileged():
        done = nbsp("check", closed / "rules.d/a.yaml")
    assert done.code == 1 and "alice may not read it" in done.err


def test_a_closed_file_in_an_open_folder(nbsp: Runner, folder: Path) -> None:
    (folder / "rules.d/a.yaml").chmod(0)
    with unprivileged():
        done = nbsp("check", folder / "rules.d")
    assert done.code == 1 and f"{folder}/rules.d/a.yaml: the file cannot be read: Permission denied" in done.err


def test_an_object_that_the_asker_may_not_read_is_the_daemons_business(nbsp: Runner, folder: Path) -> None:
    daemon = FakeDaemon(folder / "run", {"explain": lambda _: DENIAL})
    (folder / "run/control.sock").chmod(0o666)
    (folder / "rules.d/a.yaml").chmod(0)
    with unprivileged():
        done = nbsp("explain", "--read", folder / "rules.d/a.yaml", "--runtime", folder / "run")
    daemon.close()
    assert done.code == 0 and "denied" in done.out
