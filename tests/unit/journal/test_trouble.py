"""The journal in trouble: full disk, deleted, replaced, truncated, damaged, read-only."""

import ctypes
import os
import sqlite3
from pathlib import Path
from typing import Iterator

import pytest

from nbspd.errors import JournalError
from nbspd.journal import recovery
from nbspd.journal.chain import verify
from nbspd.journal.reader import Account
from nbspd.journal.store import Journal, JournalReplaced

from .records import violation

LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; without root, a size limit on the database stands in for it elsewhere."""
    folder = tmp_path / "small"
    folder.mkdir()
    if LIBC.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=1m"):
        raise OSError(ctypes.get_errno(), "mount tmpfs")
    yield folder
    LIBC.umount2(bytes(folder), 2)


def fill(journal: Journal) -> int:
    """Append until it fails; return how many records got in."""
    for number in range(10_000):
        try:
            journal.append([violation(number)], ring_position=number + 1, accounting={3: (1, 0)})
        except JournalError as error:
            assert "no space left" in error.cause and "free some space" in error.remedy
            return number
    raise AssertionError("it never filled up")


def check_untouched_and_working_again(journal: Journal, count: int) -> None:
    assert (journal.last_seq(), journal.ring_position(), journal.accounting()) == (count, count, {3: Account(count)})
    journal.append([violation(count)], ring_position=count + 1, accounting={3: (1, 0)})
    assert journal.accounting() == {3: Account(count + 1)}
    journal.close()
    assert verify(journal.path).count == count + 1


if os.geteuid() == 0:
    def test_a_full_disk_loses_nothing_that_was_committed(small_disk: Path) -> None:
        journal = Journal(small_disk / "journal.db", "e")
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(300_000))
        count = fill(journal)
        assert count > 20
        with pytest.raises(JournalError):
            journal.append([violation()])
        ballast.unlink()
        check_untouched_and_working_again(journal, count)

    def test_a_full_disk_at_start_is_said(small_disk: Path) -> None:
        (small_disk / "ballast").write_bytes(bytes(1_000_000))
        with pytest.raises(JournalError, match="no space left"):
            Journal(small_disk / "journal.db")

    def test_deleted_on_a_full_disk_it_comes_back_when_there_is_room(small_disk: Path) -> None:
        journal = Journal(small_disk / "journal.db", "e")
        journal.append([violation(number) for number in range(100)], accounting={3: (100, 0)})
        journal.path.unlink()
        ballast = small_disk / "ballast"
        with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(JournalError, match="no space left"):
            journal.append([violation(100)], accounting={3: (1, 0)})
        ballast.unlink()
        assert journal.append([violation(100)], accounting={3: (1, 0)}) == (102,)
        assert journal.accounting() == {3: Account(101)}


def test_a_full_database_loses_nothing_that_was_committed(path: Path) -> None:
    journal = Journal(path, "e")
    journal._db.execute("PRAGMA max_page_count = 60")
    count = fill(journal)
    assert count > 20
    journal._db.execute("PRAGMA max_page_count = 100000")
    check_untouched_and_working_again(journal, count)


@pytest.mark.parametrize("gone", [("",), ("", "-wal", "-shm"), ("-wal",)])
def test_a_deleted_journal_is_restored_and_says_so(path: Path, gone: tuple[str, ...]) -> None:
    journal = Journal(path, "e")
    journal.append([violation(0), violation(1)], ring_position=5, accounting={3: (2, 1)}, new_repeats={1: (1, 2, 2)})
    for suffix in gone:
        os.unlink(f"{path}{suffix}")
    assert journal.append([violation(2)], accounting={3: (1, 0)}, repeats={2: (1, 3, 3)}) == (4,)
    assert journal.lineage == 0 and journal.pending() == {2: 2}
    assert "deleted" in journal.get(3).text and journal.get(3).kind == "note"
    assert journal.accounting() == {3: Account(3, 1)} and journal.ring_position() == 5
    journal.close()
    assert verify(path).count == 4
    assert sorted(entry.name for entry in path.parent.iterdir() if entry.suffix == ".db") == ["journal.db"]


def test_a_deleted_folder_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.db"
    journal = Journal(path)
    journal.append([violation()])
    for entry in path.parent.iterdir():
        entry.unlink()
    path.parent.rmdir()
    assert journal.append([violation(1)]) == (3,)
    assert verify(path).count == 3


def test_a_file_put_in_its_place_is_kept_aside(path: Path) -> None:
    journal = Journal(path)
    journal.append([violation()])
    other = path.with_name("other")
    other.write_text("something else")
    os.rename(other, path)
    journal.append([violation(1)])
    assert verify(path).count == 3
    kept = [entry for entry in path.parent.iterdir() if ".replaced-" in entry.name]
    assert [entry.read_text() for entry in kept] == ["something else"]
    assert str(kept[0]) in journal.get(2).text


def test_what_cannot_be_restored_is_begun_anew_with_its_accounts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, database: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")
    journal = Journal(path, "e")
    journal.append([violation()], ring_position=9, accounting={3: (1, 4)}, lost={3: 2}, new_repeats={0: (4, 1, 1)})
    path.unlink()
    monkeypatch.setattr(recovery, "restore", refuse)
    with pytest.raises(JournalReplaced):
        journal.append([], accounting={3: (0, 1)}, repeats={1: (1, 5, 5)})
    assert journal.lineage == 1
    assert journal.append([violation(5)], accounting={3: (1, 0)}) == (2,)
    first = journal.get(1)
    assert first.kind == "note" and "deleted" in first.text and "1 violations and counted 4 repeats" in first.text
    assert journal.accounting() == {3: Account(2, 4, 2)} and journal.ring_position() == 9
    assert verify(path).count == 2


@pytest.mark.parametrize("content", [b"this is no database, but of some length" * 99, b"SQLite format 3\0" * 512])
def test_a_damaged_journal_is_moved_aside_at_start(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    journal = Journal(path)
    note = journal.get(1)
    kept = [entry for entry in path.parent.iterdir() if ".corrupt-" in entry.name]
    assert len(kept) == 1 and kept[0].read_bytes() == content
    assert note.kind == "note" and "damaged" in note.text and str(kept[0]) in note.text
    assert verify(path).count == 1


def test_pages_overwritten_in_the_middle_are_noticed_at_start(path: Path) -> None:
    journal = Journal(path)
    journal.append([violation(number) for number in range(500)])
    journal.close()
    with path.open("r+b") as file:
        file.seek(40_000)
        file.write(os.urandom(60_000))
    assert "damaged" in Journal(path).get(1).text


def test_another_programs_database_is_not_touched(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()
    assert "another program" in Journal(path).get(1).text
    assert any(".corrupt-" in entry.name for entry in path.parent.iterdir())


def test_truncated_while_open_it_is_begun_anew(path: Path) -> None:
    journal = Journal(path, "e")
    journal.append([violation(number) for number in range(300)], accounting={3: (300, 0)})
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    os.truncate(path, 0)
    journal._db.execute("PRAGMA cache_size = 0")
    assert journal.append([violation(300)], accounting={3: (1, 0)})
    assert "damaged" in journal.get(1).text or journal.last_seq() > 300
    assert journal.accounting() == {3: Account(301)}
    assert verify(path).count


def test_a_folder_in_its_place_is_an_error_with_a_remedy(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalError) as caught:
        Journal(path)
    assert caught.value.remedy


def test_a_read_only_journal_is_an_error_with_a_remedy(path: Path) -> None:
    Journal(path).close()
    journal = Journal(path)
    journal._db.execute("PRAGMA query_only = 1")
    with pytest.raises(JournalError, match="read-only") as caught:
        journal.append([violation()])
    assert "remount" in caught.value.remedy


def test_a_locked_journal_is_an_error_with_a_remedy(path: Path) -> None:
    journal = Journal(path)
    journal._db.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked") as caught:
        journal.append([violation()])
    assert "fuser" in caught.value.remedy
    other.execute("ROLLBACK")
    assert journal.append([violation()]) == (1,)
