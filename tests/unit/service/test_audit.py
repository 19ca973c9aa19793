"""The daemon's part in an audit: it says what it knows, and takes down what is closed, or refuses it."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nbspd import audited
from nbspd.audit.told import learn
from nbspd.control.client import Client, Refusal
from nbspd.control.peer import Peer, authorise
from nbspd.control.protocol import Request
from nbspd.errors import ControlError, JournalError, LoadError

from ..audit.test_knowledge import Daemon
from .running import Running, kinds, records

CLOSE: dict[str, Any] = {"proto": "tcp", "local": "192.0.2.9:40000", "remote": "192.0.2.1:5432", "holders": []}


def test_what_an_audit_is_told(running: Running) -> None:
    running.enforcer.stamps[77] = ("pooler",)
    known = learn(running.ask)
    assert (known.generation, known.tier, known.pid, known.cgroup) == (1, "lsm", os.getpid(), "/")
    assert known.rules[0].only_through == ("pooler",)
    assert known.checkpoints[0].exe == "/usr/bin/true" and known.stamps[77].names == {"pooler"}
    assert list(known.endpoints) == [(6, 5432)]
    reply = running.ask("audit", offset=1, limit=5)
    assert reply["objects"] == [] and (reply["offset"], reply["total"]) == (1, 1)
    assert "rules" not in reply and reply["stamps"] == []       # only before the first objects
    assert running.ask("audit", offset=-3)["offset"] == 0
    reply = running.ask("audit", limit=0)
    assert reply["objects"] == [] and "rules" not in reply and len(reply["stamps"]) == 1


def test_the_table_of_what_sockets_carry_goes_with_a_reply(running: Running) -> None:
    before = os.listdir("/proc/self/fd")
    found: list[tuple[int, bool]] = []

    def ask() -> None:
        with Client(running.settings.control_socket) as client:
            client.ask("audit", limit=0, sockets=True)
            descriptor = client.take_descriptor()
            assert descriptor is not None and client.take_descriptor() is None
            found.append((os.fstat(descriptor).st_rdev, os.get_inheritable(descriptor)))
            os.close(descriptor)
            client.ask("audit", limit=0, sockets=True)      # not taken: closed with the connection
    thread = threading.Thread(target=ask)
    thread.start()
    while thread.is_alive():
        running.turn(0.01)
    running.turn(0.05)
    assert found == [(os.stat("/dev/null").st_rdev, False)] and os.listdir("/proc/self/fd") == before


def test_a_table_that_cannot_be_had(running: Running) -> None:
    running.enforcer.failure = LoadError("odd")
    with pytest.raises(Refusal, match="does not give the table"):
        running.ask("audit", sockets=True)


def test_the_table_is_for_root(running: Running) -> None:
    with pytest.raises(ControlError, match="root alone"):
        running.service.answers.answer(Peer(5, 1000, 44), Request("audit", {"sockets": True}))


def test_the_guarded_cgroup(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audited, "cgroup2_root", lambda: Path("/sys/fs/cgroup"))
    for path, words in (("/sys/fs/cgroup/a/b", "/a/b"), ("/sys/fs/cgroup", "/")):
        assert audited.guarded(replace(running.settings, cgroup=Path(path))) == words


def test_a_closing_is_journaled_with_who_asked(running: Running) -> None:
    assert running.ask("close", **CLOSE) == {"ok": True, "generation": 1}
    record = records(running.settings)[-1]
    assert record.kind == "close" and record.by.startswith(f"uid {os.getuid()}") and record.generation == 1
    assert record.text == ("the audit closes tcp 192.0.2.9:40000 -> 192.0.2.1:5432, held by no process: no stamp that "
                           "db-through-pooler accepts")
    assert "CLOSE" in record.line() and "Next" not in record.story()


def test_holders_are_named(running: Running) -> None:
    running.ask("close", **{**CLOSE, "holders": [os.getpid(), *range(1 << 30, (1 << 30) + 10)]})
    text = records(running.settings)[-1].text
    assert f"[{os.getpid()}], ?[{1 << 30}]" in text and "and 3 more" in text


def test_a_closing_that_failed_is_journaled(running: Running) -> None:
    running.ask("close", **CLOSE, failed="EOPNOTSUPP: this kernel cannot")
    text = records(running.settings)[-1].text
    assert "could not close" in text and "EOPNOTSUPP" in text


def test_whoever_carries_the_stamp_is_left_alone(running: Running) -> None:
    running.enforcer.stamps[77] = ("pooler",)
    with pytest.raises(Refusal, match="process 77 holds the connection and carries pooler"):
        running.ask("close", **{**CLOSE, "holders": [76, 77]})
    running.enforcer.stamps[77] = ("another",)
    running.ask("close", **{**CLOSE, "holders": [76, 77]})
    assert kinds(running.settings).count("close") == 1


@pytest.mark.parametrize("fields, cause, code", [
    ({"remote": "192.0.2.1:5433"}, "is not protected", 2), ({"remote": "192.0.2.2:5432"}, "is not protected", 2),
    ({"proto": "udp"}, "is not protected", 2), ({"proto": "sctp"}, "unknown protocol", 2),
    ({"remote": "localhost:1"}, "is not an address and a port", 2), ({"local": "192.0.2.9"}, "is not an address", 2)])
def test_what_is_not_to_be_closed(fields: dict[str, Any], cause: str, code: int, running: Running) -> None:
    with pytest.raises(Refusal, match=cause) as caught:
        running.ask("close", **{**CLOSE, **fields})
    assert caught.value.exit_code == code and "close" not in kinds(running.settings)


def test_ipv4_in_ipv6_is_ipv4(running: Running) -> None:
    running.ask("close", **{**CLOSE, "remote": "[::ffff:192.0.2.1]:5432"})
    assert "close" in kinds(running.settings)


def test_nothing_is_closed_that_cannot_be_journaled(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = running.service.recorder.journal
    assert journal is not None

    def fail(_records: object) -> None:
        raise JournalError("the disk is full")
    monkeypatch.setattr(journal, "append", fail)
    with pytest.raises(Refusal, match="nothing is closed without it"):
        running.ask("close", **CLOSE)


def test_without_a_generation_there_is_nothing(running: Running) -> None:
    running.ask("detach", reason="the test")
    for verb, fields in (("audit", {}), ("close", CLOSE)):
        with pytest.raises(Refusal, match="no generation is active"):
            running.ask(verb, **fields)


def test_who_may_only_look_may_not_close() -> None:
    viewer = Peer(5, 1000, 44)
    authorise(viewer, "audit", 44)
    with pytest.raises(ControlError, match="may only look") as caught:
        authorise(viewer, "close", 44)
    assert caught.value.remedy == "run it as root: sudo nbsp audit --close"
    with pytest.raises(ControlError, match="may not talk to nbspd"):
        authorise(viewer, "audit", None)


def test_every_field_is_documented() -> None:
    document = (Path(__file__).resolve().parents[3] / "docs/control-protocol.md").read_text()
    reply = Daemon(1)("audit", 0, 100)
    rows = [*reply["rules"], *reply["checkpoints"], *reply["stamps"], *reply["objects"]]
    assert {key for row in (reply, *rows) for key in row if f"`{key}`" not in document} == set()
