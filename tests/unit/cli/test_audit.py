"""nbsp audit: words, the exit code and the one object; the looking itself is a fake here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from nbspd.audit import survey
from nbspd.audit.finding import Holder, Kind, Report
from nbspd.errors import ControlError

from .replies import CLOSED, CONNECTION, DESCRIPTOR, NOT_CLOSED, PLACE, audit
from .running import FakeDaemon, Outcome, Runner

Start = Callable[..., FakeDaemon]


@pytest.fixture
def run(nbsp: Runner, start_daemon: Start, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run nbsp audit, which finds what it is told, before and after closing."""
    daemon = start_daemon(audit=lambda _: {})
    monkeypatch.setattr("os.geteuid", lambda: 0)

    def start(found: Report, *words: str, after: Report | None = None) -> Outcome:
        class Fake:
            def __init__(self, ask: Any, naming: Any, sockets: int | None) -> None:
                assert daemon.asked[-1] == {"verb": "audit", "limit": 0, "sockets": True} and sockets is None
                assert callable(ask) and naming.user(1 << 30) == "" and naming.unit("/a/b.service") == "b.service"

            def look(self) -> Report:
                return found

            def close(self) -> Report:
                assert "--close" in words
                return after or found
        monkeypatch.setattr(survey, "Survey", Fake)
        return nbsp("audit", *words, "--runtime", tmp_path)
    return start


def test_nothing_found(run: Callable[..., Outcome]) -> None:
    done = run(audit())
    assert done.code == 0 and "\nNext  nothing: " in done.out and "generation 3, tier lsm: 0 processes" in done.out


def test_what_is_found_and_what_comes_next(run: Callable[..., Outcome]) -> None:
    done = run(audit(CONNECTION, DESCRIPTOR, PLACE, notes=("process 1 may not be looked into",)))
    assert done.code == 1 and "\x1b" not in done.out
    lines = done.out.splitlines()
    assert lines[0].split() == ["pid", "user", "name", "unit", "what", "may", "rule", "only", "through", "do"]
    assert "127.0.0.1:5432" in lines[1] and "pooler" in lines[1] and "nobody" in lines[2] and "kill 77" in lines[2]
    assert "Harmless, so that nobody wonders:\n  psql\\x1b[2J[77]: descriptor 6" in done.out
    assert "Not looked at:\n  process 1" in done.out
    assert lines[-1] == ("Next  nbsp audit --close ends the connections; end or restart 77 as the last column says; "
                         "then once more: nbsp audit")


def test_what_is_harmless_is_no_failure(run: Callable[..., Outcome]) -> None:
    done = run(audit(PLACE))
    assert done.code == 0 and "descriptor 6" in done.out and "Next  nothing" in done.out


def test_nobody_holds_it(run: Callable[..., Outcome]) -> None:
    done = run(audit(replace(DESCRIPTOR, kind=Kind.HARD_LINK, holder=Holder())))
    assert done.code == 1 and done.out.splitlines()[1].lstrip().startswith("-") and "as the last column" in done.out


def test_closing(run: Callable[..., Outcome]) -> None:
    done = run(audit(CONNECTION), "--close", after=audit(closings=(CLOSED,)))
    assert done.code == 0
    assert "closed: tcp 127.0.0.1:4 -> 127.0.0.1:5432, held by 77; its other end: ended\n" in done.out


def test_closing_that_failed(run: Callable[..., Outcome]) -> None:
    done = run(audit(CONNECTION), "--close", after=audit(CONNECTION, closings=(CLOSED, NOT_CLOSED)))
    assert done.code == 1
    assert "not closed: tcp 127.0.0.1:5 -> 127.0.0.1:5432, held by nobody: this kernel cannot (EOPNOTSUPP)" in done.out
    assert "end or restart 77" in done.out and "--close ends" not in done.out


def test_a_closing_that_failed_is_told_even_when_nothing_else_is(run: Callable[..., Outcome]) -> None:
    assert run(audit(), "--close", after=audit(closings=(NOT_CLOSED,))).code == 1
    assert run(audit(), "--close", after=audit(closings=(replace(NOT_CLOSED, errno="ENOENT"),))).code == 0


def test_one_object(run: Callable[..., Outcome]) -> None:
    found = audit(CONNECTION, PLACE)
    done = run(found, "--json")
    assert done.code == 1 and done.err == "" and done.json["findings"][0]["holder"]["pid"] == 77
    assert done.json["clean"] is False and done.json["findings"][0]["kind"] == "connection"


def test_only_root_may(nbsp: Runner, start_daemon: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    daemon = start_daemon(ping=lambda _: {})
    done = nbsp("audit", "--runtime", tmp_path)
    assert done.code == 1 and "only root may" in done.err and "remedy: sudo nbsp audit" in done.err
    assert daemon.asked == [{"verb": "ping"}]


def test_a_daemon_that_refuses(nbsp: Runner, start_daemon: Start, tmp_path: Path,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)

    def refuse(_request: dict[str, Any]) -> dict[str, Any]:
        raise ControlError("no generation is active, so nothing is protected", "see: nbsp status")
    start_daemon(audit=refuse)
    done = nbsp("audit", "--runtime", tmp_path)
    assert done.code == 1 and "no generation is active" in done.err
