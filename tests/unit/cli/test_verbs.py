"""coverage, explain, lineage and the verbs that change something, against a daemon that answers as the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, NoReturn

import pytest

from nbspd.control.protocol import encode, parse_request
from nbspd.errors import ControlError, Problem, RulesError

from .replies import CHANGE, DENIAL, LINEAGE, coverage_rows
from .running import FakeDaemon, Runner

Start = Callable[..., FakeDaemon]


def refuse(error: Exception) -> Callable[[dict[str, Any]], NoReturn]:
    def answer(_request: dict[str, Any]) -> NoReturn:
        raise error
    return answer


@pytest.fixture(autouse=True)
def requests_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request that is sent here is one that the real server takes."""
    def checked(document: dict[str, Any]) -> bytes:
        line = encode(document)
        parse_request(line)
        return line
    monkeypatch.setattr("nbspd.control.client.encode", checked)


def test_reload_says_what_changed(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon(reload=lambda _: CHANGE)
    done = nbsp("reload", "--runtime", tmp_path)
    assert done.code == 0 and done.out.splitlines() == [
        "generation 2 -> 3", "  + rule db", "  + checkpoint pooler", "  - rule old", "  ~ resource payroll-db"]
    assert daemon.asked == [{"verb": "reload"}]
    assert nbsp("reload", "--json", "--runtime", tmp_path).json == CHANGE


def test_reload_to_be_confirmed(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon(reload=lambda _: CHANGE)
    done = nbsp("reload", "--confirm-within", "2m", "--runtime", tmp_path)
    assert daemon.asked == [{"verb": "reload", "confirm_within_s": 120.0}] and "nbsp confirm" in done.out


def test_reload_of_broken_rules_shows_every_problem(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    start_daemon(reload=refuse(RulesError([Problem("a.yaml:1:2", "bad", "good"), Problem("b.yaml:3:4", "worse")])))
    done = nbsp("reload", "--runtime", tmp_path)
    assert done.code == 1 and "a.yaml:1:2: bad; good" in done.err and "b.yaml:3:4: worse" in done.err
    assert len(nbsp("reload", "--json", "--runtime", tmp_path).json["error"]["problems"]) == 2


@pytest.mark.parametrize("words, reply, said", [
    (("confirm",), {"generation": 3}, "generation 3 is kept"),
    (("rollback",), CHANGE, "generation 2 -> 3"),
    (("detach", "--reason", "moving"), {"generation": 3, "by": "uid 0", "reason": "moving"}, "nbsp reload")])
def test_other_changes(words: tuple[str, ...], reply: dict[str, Any], said: str, nbsp: Runner, start_daemon: Start,
                       tmp_path: Path) -> None:
    daemon = start_daemon(**{words[0]: lambda _: reply})
    done = nbsp(*words, "--runtime", tmp_path)
    assert done.code == 0 and said in done.out
    assert nbsp(*words, "--json", "--runtime", tmp_path).json == reply
    assert daemon.asked[0]["verb"] == words[0] and daemon.asked[0].get("reason") in (None, "moving")


def test_detaching_needs_a_reason(nbsp: Runner, tmp_path: Path) -> None:
    assert nbsp("detach", "--reason", "  ", "--runtime", tmp_path).code == 2


@pytest.mark.parametrize("verb", ["reload", "confirm", "rollback"])
def test_a_refusal_is_said(verb: str, nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    start_daemon(**{verb: refuse(ControlError("only root may", f"sudo nbsp {verb}"))})
    done = nbsp(verb, "--runtime", tmp_path)
    assert done.code == 1 and f"nbsp: only root may\n  remedy: sudo nbsp {verb}\n" in done.err


def test_coverage_comes_in_pages(nbsp: Runner, start_daemon: Start, tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbspd.cli.coverage.PAGE", 2)
    rows = coverage_rows(5)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        offset = request["offset"]
        page = rows[offset:offset + request["limit"]]
        return {"generation": 3, "tier": "lsm", "rows": page, "offset": offset, "total": len(rows),
                "why": {row["channel"]: "it is asked" for row in page}}
    daemon = start_daemon(coverage=answer)
    found = nbsp("coverage", "--rule", "db", "--json", "--runtime", tmp_path).json
    assert found["why"] == {row["channel"]: "it is asked" for row in rows}
    assert found["rows"] == rows and found["counts"] == {"enforced": 3, "observed": 0, "absent": 0, "open": 2}
    assert [request["offset"] for request in daemon.asked] == [0, 2, 4]
    assert all(request["rule"] == "db" for request in daemon.asked)
    done = nbsp("coverage", "--runtime", tmp_path)
    assert "channel number 3" in done.out and "no hook" in done.out and "tier lsm: 3 enforced" in done.out


def test_lineage(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    start_daemon(lineage=lambda _: LINEAGE)
    done = nbsp("lineage", "77", "--runtime", tmp_path)
    assert done.code == 0 and "\x1b" not in done.out
    assert done.out.splitlines()[0].split() == ["operator", "alice"] and "bastion" in done.out
    assert nbsp("lineage", "77", "--json", "--runtime", tmp_path).json == LINEAGE


def test_explaining_a_record(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    reply = {"record": {"kind": "violation"}, "story": "What  psql tried"}
    daemon = start_daemon(explain=lambda _: reply)
    assert nbsp("explain", "17", "--runtime", tmp_path).out == "What  psql tried\n"
    assert nbsp("explain", "17", "--json", "--runtime", tmp_path).json == reply
    assert daemon.asked[0] == {"verb": "explain", "seq": 17}


def test_explaining_an_access(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    daemon = start_daemon(explain=lambda _: DENIAL)
    done = nbsp("explain", "--exe", "/usr/bin/psql", "--connect", "127.0.0.1:5432", "--udp", "--runtime", tmp_path)
    assert done.code == 0
    for words in ("denied", "PCI (owner: dba)", "pooler, which is /usr/sbin/pgbouncer; pooler: only as postgres"):
        assert words in done.out
    assert daemon.asked == [{"verb": "explain", "exe": "/usr/bin/psql", "connect": "127.0.0.1:5432", "proto": "udp"}]


@pytest.mark.parametrize("differences, verdict", [
    ({"allowed": True, "rules": [], "missing": []}, "allowed"), ({"is_killed": True}, "killed"),
    ({"missing": []}, "nobody may do this"), ({"exe": ""}, "a program that is no checkpoint would connect"),
    ({"allowed": True, "rules": [{**DENIAL["rules"][0], "mode": "audit"}]}, "audit mode")])  # type: ignore[index]
def test_verdicts(differences: dict[str, Any], verdict: str, nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    start_daemon(explain=lambda _: {**DENIAL, **differences})
    assert verdict in nbsp("explain", "--pid", "7", "--read", "/etc/key", "--runtime", tmp_path).out


def test_paths_are_made_absolute(nbsp: Runner, start_daemon: Start, tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = start_daemon(explain=lambda _: DENIAL)
    nbsp("explain", "--exe", "tool", "--write", "a/../b", "--runtime", ".")
    assert daemon.asked == [{"verb": "explain", "exe": f"{tmp_path}/tool", "write": f"{tmp_path}/b"}]


@pytest.mark.parametrize("words", [
    (), ("--exe", "/a"), ("17", "--read", "/a"), ("--exe", "/a", "--pid", "1", "--read", "/b"),
    ("--exe", "/a", "--read", "/b", "--write", "/b")])
def test_what_cannot_be_explained(words: tuple[str, ...], nbsp: Runner, tmp_path: Path) -> None:
    done = nbsp("explain", *words, "--runtime", tmp_path)
    assert done.code == 2 and "nbsp explain" in done.err
