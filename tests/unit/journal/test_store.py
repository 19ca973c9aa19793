"""The store: all or nothing, exact accounts, pending repeats, retention."""

import sqlite3
import time
from pathlib import Path

import pytest

from nbspd.errors import JournalError
from nbspd.journal.chain import BrokenChain, verify
from nbspd.journal.gaps import gap_rows, note_gap, note_losses
from nbspd.journal.reader import Account, Reader
from nbspd.journal.record import GapRow, Record
from nbspd.journal.store import Journal

from .records import BOOT_NS, violation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def test_one_append_writes_records_accounts_and_ring_position(path: Path) -> None:
    journal = Journal(path, "boot/7")
    assert journal.ring_position() is None
    assert journal.append([violation(0), violation(1)], ring_position=1976, accounting={3: (2, 5)},
                          lost={3: 4}, repeats=None, new_repeats={1: (5, 10, 20)}) == (1, 2)
    assert journal.append([violation(2)], ring_position=3952, accounting={3: (1, 0), 4: (0, 1)},
                          repeats={2: (1, 30, 30)}) == (3,)
    journal.close()
    again = Reader(path, "boot/7")
    assert again.ring_position() == 3952
    assert again.accounting() == {3: Account(3, 5, 4), 4: Account(0, 1)}
    assert again.accounting("boot/8") == {} and again.ring_position("boot/8") is None
    assert again.pending() == {2: 6}
    assert [record.seq for record in again.query()] == [1, 2, 3]


def test_closing_a_window_writes_its_repeats_once(path: Path) -> None:
    journal = Journal(path, "e")
    journal.append([violation(0)], new_repeats={0: (3, 2_000_000_000, 4_000_000_000)})
    journal.append([violation(1)], repeats={1: (2, 5_000_000_000, 6_000_000_000)}, closing=[1, 77])
    repeat = journal.query(kinds=["repeat"])[0]
    assert (repeat.of, repeat.count, repeat.object) == (1, 3, "tcp 127.0.0.1:5432")
    assert (repeat.first_ns, repeat.time_ns) == (BOOT_NS + 2_000_000_000, BOOT_NS + 4_000_000_000)
    assert repeat.boot_ns == 4_000_000_000
    assert journal.pending() == {1: 2}      # what came in the very batch that closed the window waits for the next
    journal.append((), closing=[1])
    journal.append((), closing=[1])
    assert [record.count for record in journal.query(kinds=["repeat"])] == [3, 2]
    journal.close()
    assert verify(path).count == 4


def test_repeats_left_pending_become_records_at_the_next_start(path: Path) -> None:
    journal = Journal(path, "e")
    journal.append([violation(0)], accounting={3: (1, 9)}, new_repeats={0: (9, 1, 2)})
    journal._db.close()     # killed: no tidying up
    again = Journal(path, "e")
    assert [(record.kind, record.count) for record in again.query()] == [("violation", 1), ("repeat", 9)]
    assert again.pending() == {} and again.accounting() == {3: Account(1, 9)}


def test_nothing_is_written_when_anything_fails(path: Path) -> None:
    journal = Journal(path, "e")
    journal.append([violation(0)], ring_position=10, accounting={3: (1, 0)})
    with pytest.raises(OverflowError):      # refused by SQLite after the records were inserted
        journal.append([violation(1)], ring_position=1 << 63, accounting={3: (1, 0)})
    assert (journal.last_seq(), journal.ring_position(), journal.accounting()) == (1, 10, {3: Account(1)})
    journal.append([violation(1)], ring_position=20, accounting={3: (1, 0)})
    assert journal.accounting() == {3: Account(2)}


def test_queries(path: Path) -> None:
    journal = Journal(path)
    journal.append([violation(number, rule=f"rule-{number % 2}") for number in range(10)])
    assert [record.seq for record in journal.query(limit=3)] == [8, 9, 10]
    assert [record.seq for record in journal.query(after_seq=2, limit=3)] == [3, 4, 5]
    assert [record.seq for record in journal.query(rule="rule-1")] == [2, 4, 6, 8, 10]
    assert [record.seq for record in journal.query(since_ns=violation(7).time_ns)] == [8, 9, 10]
    assert journal.query(kinds=["start", "stop"]) == ()
    assert journal.get(4).pid == 4003
    with pytest.raises(JournalError, match="no record 11"):
        journal.get(11)


def test_a_reader_sees_what_the_writer_commits(path: Path) -> None:
    journal = Journal(path)
    reader = Reader(path)
    assert reader.last_seq() == 0
    journal.append([violation()])
    assert [record.seq for record in reader.query(after_seq=0)] == [1]
    with pytest.raises(JournalError, match="cannot be opened"):
        Reader(path.with_name("other.db"))


def test_the_equation_balances_across_a_gap(path: Path) -> None:
    journal = Journal(path, "e")
    journal.append([violation()], accounting={3: (5, 10)}, lost={3: 2})
    rows = gap_rows(journal.accounting(), {3: (30, 6), 4: (7, 0), 5: (0, 0)}, {3: "db", 4: "files"})
    assert rows == (GapRow("db", 13, 9, 4), GapRow("files", 7, 7, 0))
    journal.append([Record("gap", 1, gaps=rows)], accounting={3: (9, 0), 4: (7, 0)}, lost={3: 6})
    assert {rule: account.total for rule, account in journal.accounting().items()} == {3: 30, 4: 7}
    assert gap_rows(journal.accounting(), {3: (30, 6), 4: (7, 0)}, {}) == ()


def test_hits_of_a_journal_that_is_gone_are_called_gone() -> None:
    assert gap_rows({}, {3: (30, 6)}, {3: "db"}, unread={3: 4}) == (GapRow("db", 30, 4, 6, 20),)


def test_a_gap_is_noted_with_what_it_does_to_the_accounts(path: Path) -> None:
    journal = Journal(path, "e")
    journal.append([violation()], ring_position=9, accounting={3: (5, 10)}, lost={3: 2})
    record = note_gap(journal, {3: (30, 6)}, {3: "db"}, "the daemon was killed", unread={})
    assert record is not None and record.seq == 2 and record.gaps == (GapRow("db", 13, 9, 4),)
    assert record.cause == "the daemon was killed" and record.from_ns == violation().time_ns < record.to_ns
    assert journal.accounting() == {3: Account(5, 10, 6)}       # the nine follow when they are read
    journal.append([violation(1)], accounting={3: (9, 0)})
    assert note_gap(journal, {3: (30, 6)}, {3: "db"}, "again") is None
    assert journal.accounting()[3].total == 30
    assert note_losses(journal, {3: (31, 6)}, {3: "db"}, 0) is None     # the 31st is still to be read
    record = note_losses(journal, {3: (35, 8)}, {3: "db"}, 0)
    assert record is not None and record.gaps == (GapRow("db", 2, 0, 2),)
    assert journal.accounting() == {3: Account(14, 10, 8)}


def test_a_gap_with_the_journal_gone_counts_what_was_in_it(path: Path) -> None:
    journal = Journal(path, "e")
    record = note_gap(journal, {3: (30, 6)}, {3: "db"}, "the journal was damaged", unread={3: 4})
    assert record is not None and record.gaps == (GapRow("db", 30, 4, 6, 20),)
    journal.append([violation()], accounting={3: (1, 3)})
    assert journal.accounting() == {3: Account(1, 3, 6, 20)} and journal.accounting()[3].total == 30
    assert note_gap(journal, {3: (30, 6)}, {3: "db"}, "again", unread={}) is None


def test_last_alive_is_the_newest_of_heartbeat_and_record(path: Path) -> None:
    journal = Journal(path)
    assert journal.last_alive_ns() == 0
    journal.append([Record("note", 123)])
    assert journal.last_alive_ns() == 123
    before = time.time_ns()
    journal.heartbeat()
    assert before <= journal.last_alive_ns() <= time.time_ns()


def test_retention_by_age_drops_a_prefix_and_the_chain_still_verifies(path: Path) -> None:
    journal, now = Journal(path), time.time_ns()
    journal.append([violation(number, time_ns=now - (10 - number) * 10**9) for number in range(10)])
    assert journal.retain(1 << 30, 5.5) == 5
    assert [record.seq for record in journal.query()] == [6, 7, 8, 9, 10, 11]
    anchor = journal.get(11)
    assert (anchor.kind, anchor.dropped_to) == ("anchor", 5)
    assert journal.retain(1 << 30, 5.5) == 0
    journal.append([violation(11, time_ns=now)])
    assert verify(path).first == 6
    assert journal.retain(1 << 30, 0) == 6      # the anchor itself goes, a newer one takes its place
    assert [record.seq for record in journal.query()] == [12, 13]
    assert verify(path).count == 2


def test_a_prefix_dropped_behind_our_back_is_found_after_retention_too(path: Path) -> None:
    journal, now = Journal(path), time.time_ns()
    journal.append([violation(number, time_ns=now - (10 - number) * 10**9) for number in range(10)])
    journal.retain(1 << 30, 5.5)
    journal.close()
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM records WHERE seq <= 7")
    with pytest.raises(BrokenChain, match="record 7: removed"):
        verify(path)


def test_retention_by_size_gives_the_space_back(path: Path) -> None:
    journal = Journal(path)
    for start in range(0, 3000, 500):
        journal.append([violation(start + number) for number in range(500)])
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = path.stat().st_size
    allowed = before // 3
    assert journal.retain(allowed, 1e9 * 9) > 1500
    assert allowed / 2 < path.stat().st_size <= allowed
    assert journal.retain(allowed, 1e9 * 9) == 0
    assert verify(path).last == 3001


def test_retention_keeps_records_whose_window_is_open(path: Path) -> None:
    journal = Journal(path)
    journal.append([violation(number) for number in range(10)], new_repeats={4: (1, 1, 1)})
    assert journal.retain(1 << 30, 0) == 4
    assert journal.get(5).seq == 5


def test_a_newer_version_is_refused(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(JournalError, match="newer nbspd"):
        Journal(path)
