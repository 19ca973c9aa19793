"""What is answered to each verb over the control socket."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nbspd.control.client import Client, Refusal
from nbspd.journal.record import Record

from .running import MORE, Running, counters, kinds, records, write


def test_ping(running: Running) -> None:
    assert running.ask("ping") == {"ok": True, "protocol": 1, "version": "0.1.0", "pid": os.getpid(), "generation": 1}


def test_status_has_everything_that_is_documented(running: Running) -> None:
    document = (Path(__file__).resolve().parents[3] / "docs" / "control-protocol.md").read_text()
    status = running.ask("status")
    for key in (*status, *status["rules"][0], *status["journal"], *status["totals"]):
        assert f"`{key}`" in document, key


def test_coverage_by_rule_and_in_pages(running: Running) -> None:
    reply = running.ask("coverage", rule="db-through-pooler")
    assert reply["tier"] == "lsm" and reply["total"] == len(reply["rows"])
    assert set(reply["rows"][0]) == {"rule", "resource", "family", "channel", "state", "reason", "words"}
    assert {row["state"] for row in reply["rows"]} == {"open"}      # the fake attached nothing
    assert reply["why"]["connect"].startswith("the kernel asks") and "vsock" not in reply["why"]
    page = running.ask("coverage", offset=2, limit=3)
    assert set(page["why"]) <= {row["channel"] for row in page["rows"]}
    assert page["rows"] == running.ask("coverage")["rows"][2:5]
    with pytest.raises(Refusal, match="there is no rule 'x'"):
        running.ask("coverage", rule="x")
    assert "channels open" in running.ask("status")["rules"][0]["state"]


def test_the_journal_over_the_socket(running: Running) -> None:
    for tgid in range(4):
        running.hit(tgid=500 + tgid)
    running.turn()
    reply = running.ask("journal")
    assert [record["kind"] for record in reply["records"]] == ["start", *["violation"] * 4]
    assert reply["last"] == 5 and not reply["is_cut"]
    assert [record["seq"] for record in running.ask("journal", after=3)["records"]] == [4, 5]
    assert [record["seq"] for record in running.ask("journal", limit=2)["records"]] == [4, 5]
    assert len(running.ask("journal", rule="db-through-pooler")["records"]) == 4
    assert running.ask("journal", since=time.time() + 60) == {"ok": True, "records": [], "is_cut": False, "last": 5}
    assert all(Record.from_json(json.dumps(record)) for record in reply["records"])


def test_a_journal_longer_than_a_reply_comes_in_pieces(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for tgid in range(10):
        running.hit(tgid=500 + tgid)
    running.turn()
    monkeypatch.setattr("nbspd.answers.RECORDS_BYTES", 3000)
    newest = running.ask("journal")
    assert newest["is_cut"] and newest["records"][-1]["seq"] == 11
    seen, after = [], 0
    while after < 11:
        reply = running.ask("journal", after=after)
        seen += [record["seq"] for record in reply["records"]]
        after = reply["last"]
    assert seen == list(range(1, 12))


def test_following_the_journal(running: Running) -> None:
    found: list[dict[str, Any]] = []

    def follow() -> None:
        with Client(running.settings.control_socket, timeout_s=20) as client:
            for record in client.follow(1):
                found.append(record)
                if len(found) == 2:
                    return
    thread = threading.Thread(target=follow)
    thread.start()
    running.turn(0.2)
    assert found == []
    running.hit()
    running.turn(0.2)
    running.hit(tgid=9)
    while thread.is_alive():
        running.turn(0.05)
    assert [(record["seq"], record["pid"]) for record in found] == [(2, 4000), (3, 9)]


def test_explaining_a_record(running: Running) -> None:
    running.hit()
    running.turn()
    reply = running.ask("explain", seq=2)
    assert reply["record"]["rule"] == "db-through-pooler" and "pooler" in reply["story"]
    with pytest.raises(Refusal, match="there is no record 99"):
        running.ask("explain", seq=99)


def test_explaining_what_would_be(running: Running) -> None:
    denied = running.ask("explain", exe="/usr/bin/psql", connect="192.0.2.1:5432")
    assert not denied["allowed"] and denied["object"] == "tcp 192.0.2.1:5432" and denied["stamps"] == []
    assert denied["rules"][0] == {"id": "db-through-pooler", "mode": "enforce", "owner": "dba@example.org",
                                  "reason": "pooled only", "only_through": ["pooler"]}
    assert denied["missing"] == [{"name": "pooler", "exe": "/usr/bin/true", "conditions": []}]
    assert running.ask("explain", exe="/usr/bin/true", connect="192.0.2.1:5432")["allowed"]
    assert running.ask("explain", connect="[::ffff:192.0.2.1]:5432")["allowed"] is False
    assert running.ask("explain", connect="192.0.2.1:5432", proto="udp")["allowed"]
    running.enforcer.stamps[os.getpid()] = ("pooler",)
    assert running.ask("explain", pid=os.getpid(), connect="192.0.2.1:5432")["allowed"]
    write(running.settings, MORE)
    running.ask("reload")
    assert running.ask("explain", read="/srv/nbspd-test/../nbspd-test/key")["missing"] == []
    for fields, cause in (({}, "explain needs"), ({"read": "a"}, "relative"),
                          ({"pid": 1 << 30, "read": "/a"}, "no process"),
                          ({"connect": "localhost:1"}, "is not an address"), ({"connect": "1.2.3.4:0"}, "not a port"),
                          ({"connect": "1.2.3.4:1", "proto": "sctp"}, "unknown protocol"),
                          ({"read": "/a", "write": "/a"}, "explain needs")):
        with pytest.raises(Refusal, match=cause):
            running.ask("explain", **fields)


def test_the_lineage_of_this_process(running: Running) -> None:
    running.enforcer.stamps[os.getpid()] = ("pooler",)
    reply = running.ask("lineage", pid=os.getpid())
    first = reply["processes"][0]
    assert first["pid"] == os.getpid() and first["stamps"] == ["pooler"] and first["exe"] and reply["operator"]
    assert [each["ppid"] for each in reply["processes"][:-1]] == [each["pid"] for each in reply["processes"][1:]]
    for pid in (0, -1, 1 << 30):
        with pytest.raises(Refusal, match="there is no process"):
            running.ask("lineage", pid=pid)


def test_detach_ends_enforcement_until_reload(running: Running) -> None:
    running.hit()
    with pytest.raises(Refusal, match="the reason is empty"):
        running.ask("detach", reason=" ")
    reply = running.ask("detach", reason="moving  the database")
    assert reply["generation"] == 1 and reply["reason"] == "moving the database"
    assert not running.begin.kernel.is_pinned and running.begin.made[0].is_closed
    status = running.ask("status")
    assert status["state"] == "detached" and status["detached"]["reason"] == "moving the database"
    assert status["detached"]["by"].startswith("uid 0") and status["rules"] == []
    assert kinds(running.settings)[-2:] == ["detach", "violation"] or "violation" in kinds(running.settings)
    for verb, fields in (("detach", {"reason": "x"}), ("rollback", {}), ("coverage", {})):
        with pytest.raises(Refusal):
            running.ask(verb, **fields)
    assert running.ask("lineage", pid=os.getpid())["processes"][0]["stamps"] == []
    running.ask("reload")
    assert len(running.begin.made) == 2 and running.begin.kernel.generation == 2
    status = running.ask("status")
    assert status["state"] == "enforcing" and status["detached"] is None
    running.hit()
    running.turn()
    assert counters(running.ask("status"))[:2] == (1, 1)
    assert "gap" in kinds(running.settings)


def test_a_bug_in_a_verb_is_told_counted_and_journaled(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.service.answers.operator = None     # type: ignore[assignment, method-assign]
    with pytest.raises(Refusal, match="a bug in nbspd") as caught:
        running.ask("lineage", pid=os.getpid())
    assert caught.value.exit_code == 3 and "Traceback" in capsys.readouterr().err
    assert running.ask("status")["bugs"] == 1
    running.service.recorder.write()
    assert "a bug in nbspd" in records(running.settings)[-1].text
