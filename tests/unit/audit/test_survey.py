"""A whole audit of this machine, with a daemon and a sock_diag that are fakes and a process of ours that holds it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator

import pytest

from nbspd.audit import survey as module
from nbspd.audit.finding import Kind
from nbspd.audit.survey import Survey
from nbspd.errors import ControlError
from nbspd.kernel.process import process_facts

from .made import CLIENT, NAMING, SERVER, FakeDiagnosis
from .test_places import seen
from .test_places import MountTables

HOLD = "import os, sys; f = open(sys.argv[1]); r, w = os.pipe(); print(flush=True); input()"
TABLE = 1000        # a descriptor that only the fake is given
STAMPED = (1 << 4).to_bytes(64, "little")


class Daemon:
    """Knows one protected endpoint and one tree."""

    def __init__(self, tree: Path) -> None:
        dev, ino = seen(tree, MountTables().own).objects[0]
        self.reply: dict[str, Any] = {
            "generation": 3, "tier": "socket", "pid": os.getppid(), "cgroup": "/", "total": 2,
            "rules": [{"id": "r", "resource": "db", "only_through": ["pooler"], "mode": "enforce", "owner": ""}],
            "checkpoints": [{"name": "pooler", "exe": "/usr/bin/true", "dev": 0, "ino": 0, "uid": None, "user": "",
                             "unit": "", "cgroup": "", "after": [], "stamp": "children"}],
            "bits": {"4": "pooler"}, "stamps": [], "objects": [
                {"kind": "inode", "dev": dev, "ino": ino, "gen": 0, "path": str(tree), "own": [], "tree": [[0, 3]]},
                {"kind": "endpoint", "proto": 6, "port": 5432, "length": 128, "address": "::ffff:127.0.0.1",
                 "own": [[0, 8]]}]}
        self.closed: list[dict[str, Any]] = []
        self.reload_after = 99      # looks
        self.looks = 0

    def __call__(self, verb: str, **fields: Any) -> dict[str, Any]:
        if verb == "close":
            self.closed.append(fields)
            return {}
        self.looks += 1
        return {**self.reply, "generation": 3 if self.looks <= self.reload_after else 4}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("secret")
    return tmp_path


@pytest.fixture
def holder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A process with a file of the tree and a socket; nobody else is looked at."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", HOLD, tree / "key"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"\n"
    monkeypatch.setattr(module.psutil, "pids", lambda: [child.pid, 1 << 30])
    yield child.pid
    child.kill()
    child.communicate()


def socket_of(holder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pipe of the process pass for the connection."""
    from nbspd.audit import processes
    real = processes.OpenProcess.link

    def link(self: processes.OpenProcess, name: str) -> str:
        found = real(self, name)
        return "socket:[900]" if self.pid == holder and found.startswith("pipe:") and name == "fd/4" else found
    monkeypatch.setattr(processes.OpenProcess, "link", link)


def survey(daemon: Daemon, diagnosis: FakeDiagnosis | None = None) -> Survey:
    found = diagnosis or FakeDiagnosis({(2, 6): [CLIENT, SERVER]})
    return Survey(daemon, NAMING, TABLE, found)      # type: ignore[arg-type]


def test_what_one_process_holds_is_found_and_closed(tree: Path, holder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    socket_of(holder, monkeypatch)
    daemon, diagnosis = Daemon(tree), FakeDiagnosis({(2, 6): [CLIENT, SERVER]})
    one = survey(daemon, diagnosis)
    report = one.look()
    mine = {finding.kind for finding in report.findings if finding.holder.pid == holder}
    assert mine == {Kind.DESCRIPTOR, Kind.CONNECTION} and not report.is_clean
    assert any(finding.kind is Kind.REPLACED for finding in report.findings)
    assert report.counts.processes == 1 and report.counts.names == 1 and report.counts.sockets == 2
    report = one.close()
    assert [(each.closed, each.pids, each.other_end) for each in report.closings] == [(True, (holder,), "ended")]
    assert diagnosis.destroyed == [SERVER, CLIENT] and daemon.closed[0]["holders"] == [holder]
    assert Kind.CONNECTION not in {finding.kind for finding in report.findings}
    document = report.to_json()
    assert document["closed"][0]["remote"] == "127.0.0.1:5432" and document["findings"][0]["kind"]


def test_who_came_through_the_checkpoint_meanwhile_is_not_touched(tree: Path, holder: int,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    socket_of(holder, monkeypatch)
    daemon, diagnosis = Daemon(tree), FakeDiagnosis({(2, 6): [CLIENT, SERVER]})
    one = survey(daemon, diagnosis)
    one.look()
    facts = process_facts(holder)
    assert facts is not None
    daemon.reply["stamps"] = [{"pid": holder, "start_ticks": facts.start_ticks, "names": ["pooler"]}]
    assert one.close().closings == [] and diagnosis.destroyed == [] and daemon.closed == []


def test_an_end_that_a_stamped_process_holds_is_not_touched(tree: Path, holder: int,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    socket_of(holder, monkeypatch)
    daemon = Daemon(tree)
    facts = process_facts(holder)
    assert facts is not None
    daemon.reply["stamps"] = [{"pid": holder, "start_ticks": facts.start_ticks, "names": ["pooler"]}]
    nobodys, server = replace(CLIENT, inode=955), replace(SERVER, inode=900)     # held by the process: the server's end
    diagnosis = FakeDiagnosis({(2, 6): [nobodys, server]})
    one = survey(daemon, diagnosis)
    one.look()
    assert [each.other_end for each in one.close().closings] == ["left alone: it carries a stamp"]
    assert diagnosis.destroyed == [nobodys]


def test_nothing_to_close(tree: Path, holder: int) -> None:
    one = survey(Daemon(tree), FakeDiagnosis({(2, 6): [replace(CLIENT, storage=STAMPED)]}))
    one.look()
    assert one.close().closings == []


@pytest.mark.parametrize("looks, words", [(1, "during the audit"), (2, "nothing was closed")])
def test_rules_that_change_meanwhile(looks: int, words: str, tree: Path, holder: int) -> None:
    daemon = Daemon(tree)
    daemon.reload_after = looks
    one = survey(daemon)
    with pytest.raises(ControlError, match=words):
        one.look()
        one.close()
    assert daemon.closed == []


def test_what_was_not_looked_at_is_said(tree: Path, holder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(tree)
    daemon.reply["objects"][0]["path"] = str(tree / "moved")
    monkeypatch.setattr(module.psutil, "pids", lambda: list(range(1 << 30, (1 << 30) + 2)))
    monkeypatch.setattr("nbspd.audit.holdings.OpenProcess", refuse)
    monkeypatch.setattr(Survey, "is_elsewhere", lambda _self: True)
    notes = "\n".join(survey(daemon).look().not_looked_at)
    for words in (f"{tree}/moved: it leads elsewhere now", f"2 processes may not be looked into, nor what they hold: "
                  f"{1 << 30}, ", "different mounts"):
        assert words in notes


def refuse(_pid: int) -> None:
    raise PermissionError(13, "Permission denied")


def test_the_daemon_in_our_mount_namespace(tree: Path) -> None:
    one = survey(Daemon(tree))
    assert not one.is_elsewhere()
    one.known.pid = 1 << 30
    assert not one.is_elsewhere()
