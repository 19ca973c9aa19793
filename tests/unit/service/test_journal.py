"""Losses, gaps and a journal in trouble: everything is counted."""

from __future__ import annotations

import time
from typing import Any

import pytest

from nbspd.errors import JournalError, NbspdError
from nbspd.journal.chain import verify
from nbspd.paths import Settings

from ..events.hits import record as raw_record
from ..fakes import Begin
from .running import MORE, Running, counters, kinds, records, write


def test_what_the_ring_had_no_room_for_is_said(running: Running) -> None:
    running.hit()
    for _ in range(7):
        running.hit(is_lost=True)
    running.turn(1.2)
    gap = records(running.settings)[-1]
    assert gap.kind == "gap" and gap.gaps[0].rule == "db-through-pooler" and gap.gaps[0].lost == 7
    status = running.ask("status")
    assert counters(status) == (8, 1, 0, 7, 0)
    assert status["gaps"][-1]["gaps"][0]["lost"] == 7


def test_a_killed_daemon_leaves_an_exact_gap(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    running.hit()
    running.turn()
    killed = running
    killed.service.recorder.journal._db.close()     # type: ignore[union-attr]
    killed.service.recorder.journal = None
    killed.service.stop()
    for tgid in range(10, 15):
        begin.kernel.hit(raw_record(rule=1, tgid=tgid), 1)
    begin.kernel.hit(raw_record(rule=1), 1, is_lost=True)
    running = Running(settings, begin)
    running.turn()
    status = running.ask("status")
    assert counters(status) == (7, 6, 0, 1, 0)
    running.stop()
    assert kinds(settings) == ["start", "violation", "gap", "start", "adopt", *["violation"] * 5, "stop"]
    gap = records(settings)[2]
    assert gap.gaps[0][1:] == (6, 5, 1, 0) and "did not stop in an orderly way" in gap.cause
    verify(settings.journal)


def test_a_full_disk_stops_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = running.service.recorder.journal
    assert journal is not None
    monkeypatch.setattr("nbspd.recorder.RETRY_FIRST_S", 0.05)
    real = journal.append

    def refuse(*_: Any, **__: Any) -> Any:
        raise JournalError("no space left for the journal", "free some")
    journal.append = refuse     # type: ignore[method-assign]
    for tgid in range(5):
        running.hit(tgid=100 + tgid)
    running.turn(0.3)
    status = running.ask("status")
    assert "no space left" in status["journal"]["trouble"] and status["journal"]["failures"] >= 2
    assert status["state"] == "degraded" and counters(status) == (5, 0, 0, 0, 5)
    assert status["journal"]["ring_waiting_bytes"] > 0
    write(running.settings, MORE)
    assert running.ask("reload")["generation"] == 2
    journal.append = real       # type: ignore[method-assign]
    for _ in range(60):     # it is tried again later and later, on a busy machine more seldom still
        running.turn(0.5)
        status = running.ask("status")
        if not status["journal"]["trouble"]:
            break
    assert counters(status) == (5, 5, 0, 0, 0) and status["journal"]["trouble"] == ""
    assert kinds(running.settings)[1:] == ["reload", *["violation"] * 5, "degraded"]


def test_a_full_disk_at_start_stops_nothing(settings: Settings, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbspd.recorder.RETRY_FIRST_S", 0.05)
    with monkeypatch.context() as patch:
        def refuse(*_: Any) -> Any:
            raise JournalError("no space left for the journal", "free some")
        patch.setattr("nbspd.recorder.Journal", refuse)
        running = Running(settings, begin)
        running.hit()
        running.turn(0.2)
        assert begin.kernel.generation == 1
        assert running.ask("status")["journal"]["trouble"]
        with pytest.raises(NbspdError, match="cannot be opened"):
            running.ask("journal")
    running.turn(1.0)
    assert counters(running.ask("status")) == (1, 1, 0, 0, 0)
    running.stop()


def test_a_deleted_journal_comes_back(running: Running) -> None:
    running.hit()
    running.turn()
    for path in running.settings.state.glob("journal.db*"):
        path.unlink()
    running.hit(tgid=77)
    running.turn()
    assert counters(running.ask("status")) == (2, 2, 0, 0, 0)
    assert any("deleted" in record.text for record in records(running.settings))
    verify(running.settings.journal)


def test_the_loop_is_idle_when_nothing_happens(running: Running) -> None:
    running.hit()
    running.turn(1.1)       # journal, then one look at the losses
    started = time.monotonic()
    running.service.loop.run_once(0.5)
    assert time.monotonic() - started >= 0.45
