from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Callable

import pytest

from nbspd.journal.record import Record
from nbspd.journal.store import Journal

from .running import FakeDaemon, Runner

RECORDS = [{"kind": "start", "time_ns": 1_795_363_200_000_000_000, "seq": 1, "text": "nbspd starts"},
           {"kind": "violation", "time_ns": 1_795_363_201_000_000_000, "seq": 2, "rule": "db", "verdict": "denied",
            "comm": "psql\u001b[2J", "pid": 77, "uid": 1000, "action": "connect", "object": "tcp 127.0.0.1:5432",
            "missing": ["pooler"]}]


def reply(_request: dict[str, Any]) -> dict[str, Any]:
    return {"records": RECORDS, "last": 2, "is_cut": False}


def test_lines(nbsp: Runner, start_daemon: Callable[..., FakeDaemon], tmp_path: Path) -> None:
    daemon = start_daemon(journal=reply)
    done = nbsp("journal", "--runtime", tmp_path, "--rule", "db", "--since", "@5", "--limit", "7")
    assert done.code == 0
    start, violation = done.out.splitlines()
    assert "nbspd starts" in start and "tcp 127.0.0.1:5432" in violation and "only through pooler" in violation
    assert "\x1b" not in done.out
    assert daemon.asked == [{"verb": "journal", "since": 5.0, "rule": "db", "limit": 7}]


def test_json_is_one_object(nbsp: Runner, start_daemon: Callable[..., FakeDaemon], tmp_path: Path) -> None:
    start_daemon(journal=reply)
    assert nbsp("journal", "--runtime", tmp_path, "--json").json == reply({})


def test_nothing_there(nbsp: Runner, start_daemon: Callable[..., FakeDaemon], tmp_path: Path) -> None:
    start_daemon(journal=lambda request: {"records": [], "last": 0, "is_cut": False})
    assert nbsp("journal", "--runtime", tmp_path).out == "no records\n"


def test_what_was_left_out_is_said(nbsp: Runner, start_daemon: Callable[..., FakeDaemon], tmp_path: Path) -> None:
    start_daemon(journal=lambda request: {**reply(request), "is_cut": True})
    assert nbsp("journal", "--runtime", tmp_path).out.startswith("(older records were left out")


def test_following(nbsp: Runner, start_daemon: Callable[..., FakeDaemon], tmp_path: Path) -> None:
    later = [{"kind": "note", "time_ns": 1, "seq": 3, "text": "later"}]

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if not request.get("follow"):
            return reply(request)
        if request["after"] == 2:
            return {"records": later, "last": 3}
        raise ConnectionAbortedError
    daemon = start_daemon(journal=answer)
    done = nbsp("journal", "--runtime", tmp_path, "--follow", "--json")
    records = [json.loads(line) for line in done.out.splitlines()]
    assert records[:3] == RECORDS + later and set(records[3]) == {"error"} and done.code == 1
    assert [request.get("after") for request in daemon.asked] == [None, 2, 3]


def test_an_interrupt_ends_following_well(nbsp: Runner, start_daemon: Callable[..., FakeDaemon], tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt
    start_daemon(journal=reply)
    monkeypatch.setattr("nbspd.control.client.Client.follow", interrupted)
    done = nbsp("journal", "--runtime", tmp_path, "--follow")
    assert done.code == 0 and done.err == "" and len(done.out.splitlines()) == 2


def test_no_daemon(nbsp: Runner, tmp_path: Path) -> None:
    done = nbsp("journal", "--runtime", tmp_path)
    assert done.code == 1 and "systemctl start nbspd" in done.err


def fill(path: Path) -> None:
    journal = Journal(path)
    journal.append([Record("note", 1, text="one"), Record("note", 2, text="two"), Record("note", 3, text="three")])
    journal.close()


def test_verify_an_untouched_journal(nbsp: Runner, tmp_path: Path) -> None:
    fill(tmp_path / "journal.db")
    assert nbsp("journal", "verify", "--state", tmp_path).code == 0
    found = nbsp("journal", "verify", "--state", tmp_path, "--json").json
    assert found["count"] >= 3 and len(found["head"]) == 64


def test_verify_names_the_bad_record(nbsp: Runner, tmp_path: Path) -> None:
    fill(tmp_path / "journal.db")
    with sqlite3.connect(tmp_path / "journal.db") as database:
        database.execute("UPDATE records SET body = replace(body, 'two', 'too')")
    done = nbsp("journal", "verify", "--state", tmp_path)
    assert done.code == 1 and "record" in done.err and "edited" in done.err


def test_verify_where_there_is_no_journal(nbsp: Runner, tmp_path: Path) -> None:
    done = nbsp("journal", "verify", "--state", tmp_path)
    assert done.code == 1 and "cannot be" in done.err
