"""The daemon signs its journal, and goes on where it cannot."""

from __future__ import annotations

import sqlite3

import pytest

from nbspd.errors import JournalError
from nbspd.journal import hostkey
from nbspd.journal.chain import verify
from nbspd.journal.keys import keys_beside
from nbspd.paths import Settings

from ..fakes import Begin
from .running import Running, all_records


def test_the_end_is_signed_with_the_kernels_counts(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    running.hit()
    running.hit(tgid=7, is_lost=True)
    running.turn()
    running.stop()
    assert [record.kind for record in all_records(settings)][-3:] == ["stop", "key", "signature"]
    signed = all_records(settings)[-1].signed
    assert signed is not None and (signed.hits, signed.journaled, signed.lost, signed.waiting) == (2, 1, 1, 0)
    found = verify(settings.journal, keys_beside(settings.state))
    assert found.is_checked and found.signed_to == found.last - 1
    again = Running(settings, begin)
    again.stop()
    assert [record.kind for record in all_records(settings)].count("key") == 1
    assert verify(settings.journal, keys_beside(settings.state)).signatures == 2


def test_it_is_signed_after_a_while_and_then_no_more(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbspd.signing.EVERY_S", 0.1)
    running.service.recorder.signing.timer.cancel()
    running.hit()
    running.turn(0.5)
    assert running.ask("status")["journal"]["signed"]["to"] == 3
    running.turn(0.3)
    assert [record.kind for record in all_records(running.settings)].count("signature") == 1


def test_without_a_key_it_goes_on_and_says_so(settings: Settings, begin: Begin,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise JournalError("the host key cannot be made: no space left", "free some")
    with monkeypatch.context() as patch:
        patch.setattr(hostkey, "load", refuse)
        running = Running(settings, begin)
        running.hit()
        running.turn()
        running.service.recorder.sign()
        status = running.ask("status")
        assert status["totals"]["journaled"] == 1 and status["journal"]["signed"] is None
        assert any("the journal is not signed" in text for text in status["troubles"])
    running.stop()
    assert verify(settings.journal, keys_beside(settings.state)).signatures == 1


def test_a_journal_changed_under_its_hands_is_said_and_unexplained_hits_are_shown(running: Running) -> None:
    for tgid in range(4):
        running.hit(tgid=500 + tgid)
    running.turn()
    assert running.ask("status")["unexplained"] == 0
    with sqlite3.connect(running.settings.journal) as database:
        database.execute("DELETE FROM records WHERE seq > 3")
        database.execute("UPDATE accounts SET journaled = 2")
    database.close()
    assert running.ask("status")["unexplained"] == 2
    running.hit(tgid=9)
    running.turn()
    assert any("somebody changed the journal" in record.text for record in all_records(running.settings))
