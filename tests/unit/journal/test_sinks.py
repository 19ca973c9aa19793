"""Sinks: every record once and in order, catching up after trouble."""

import builtins
import json
import os
from pathlib import Path
from typing import Any, Sequence

import pytest

from nbspd.journal.record import Record
from nbspd.journal.sinks import Feed, JsonLines, Journald, journald, journald_fields
from nbspd.journal.store import Journal

from .records import violation


class Memory:
    """A sink that can be broken."""

    name = "memory"

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.is_broken = False

    def write(self, records: Sequence[Record]) -> None:
        if self.is_broken:
            raise OSError(28, "No space left on device")
        self.seqs += [record.seq for record in records]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "journal.db")
    journal.append([violation()])
    return journal


def test_a_sink_gets_every_record_once_also_repeats_and_across_runs(journal: Journal) -> None:
    sink = Memory()
    feed = Feed(journal, [sink])
    journal.append([violation(1)], new_repeats={0: (3, 1, 2)})
    feed.run()
    journal.append((), closing=[2])
    feed.run()
    feed.run()
    assert sink.seqs == [2, 3]      # what was there before its first run is not repeated
    journal.append([violation(2)])
    Feed(journal, [sink]).run()
    assert sink.seqs == [2, 3, 4]


def test_a_broken_sink_says_so_harms_no_other_and_catches_up(journal: Journal) -> None:
    broken, sound = Memory(), Memory()
    broken.name, broken.is_broken = "broken", True
    feed = Feed(journal, [broken, sound])
    journal.append([violation(1), violation(2)])
    feed.run()
    assert sound.seqs == [2, 3] and broken.seqs == []
    assert "behind since record 1" in feed.deliveries[0].trouble and not feed.deliveries[1].trouble
    broken.is_broken = False
    feed.run()
    assert broken.seqs == [2, 3] and not feed.deliveries[0].trouble


def test_json_lines_survive_rotation(journal: Journal, tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "events.jsonl")
    feed = Feed(journal, [sink])
    journal.append([violation(1)])
    feed.run()
    os.rename(sink.path, tmp_path / "events.jsonl.1")
    journal.append([violation(2)])
    feed.run()
    assert json.loads(sink.path.read_text())["seq"] == 3
    assert Record.from_json((tmp_path / "events.jsonl.1").read_text()) == journal.get(2)


def test_json_lines_leave_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = JsonLines(tmp_path / "events.jsonl")
    sink.write([violation(seq=1)])
    whole, write = sink.path.read_bytes(), os.write

    def short(descriptor: int, text: bytes) -> int:
        if len(text) < 400:
            raise OSError(28, "No space left on device")
        return write(descriptor, text[:len(text) - 300])
    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError):
        sink.write([violation(seq=2)])
    assert sink.path.read_bytes() == whole


def test_journald_gets_structured_fields() -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    Journald(lambda message, **fields: sent.append((message, fields))).write([violation(seq=9)])
    message, fields = sent[0]
    assert "db-through-pooler" in message
    assert (fields["NBSPD_RULE"], fields["NBSPD_SEQ"], fields["PRIORITY"]) == ("db-through-pooler", "9", "4")
    assert Record.from_json(fields["NBSPD_RECORD"]) == violation(seq=9)
    assert all(isinstance(value, str) and name.isupper() for name, value in fields.items())
    assert "OBJECT_PID" not in journald_fields(Record("start", 1))


def test_without_the_systemd_package_there_is_no_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("systemd"):
            raise ImportError(name)
        return real(name, *arguments, **options)
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert journald() is None
