"""The chain: untouched journals pass, every edit, removal, insertion and reordering is found."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from nbspd.errors import JournalError
from nbspd.journal.chain import BrokenChain, verify
from nbspd.journal.record import Record
from nbspd.journal.store import Journal

from .records import violation

COUNT = 12
COLUMNS = ("time_ns", "kind", "rule", "body", "prev", "hash")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    path = tmp_path_factory.mktemp("chain") / "journal.db"
    journal = Journal(path)
    journal.append([violation(number) for number in range(COUNT)])
    journal.close()
    assert verify(path).count == COUNT
    with sqlite3.connect(path) as database:
        return database.execute(f"SELECT seq, {', '.join(COLUMNS)} FROM records ORDER BY seq").fetchall()


def write(path: Path, rows: list[tuple[Any, ...]]) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE records (seq INTEGER PRIMARY KEY, {', '.join(COLUMNS)})")
        database.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    database.close()


def broken(path: Path, rows: list[tuple[Any, ...]]) -> BrokenChain:
    write(path, rows)
    with pytest.raises(BrokenChain) as caught:
        verify(path)
    return caught.value


def edited(value: Any, dice: random.Random) -> Any:
    """Return another value, of the same type mostly."""
    if dice.random() < 0.1:
        return dice.choice([other for other in (None, 1.5, b"", "", 7) if other != value])
    if isinstance(value, int):
        return value + dice.choice((-1, 1, 1 << 20))
    place = dice.randrange(len(value)) if value else 0
    if isinstance(value, bytes):
        return value[:place] + bytes([value[place] ^ 1 << dice.randrange(8)]) + value[place + 1:]
    return value[:place] + dice.choice("xyZ9") * dice.randrange(2) + value[place + dice.randrange(1, 3):] + "~"


@pytest.mark.parametrize("seed", range(400))
def test_random_tampering_is_found_at_the_first_bad_record(
        seed: int, rows: list[tuple[Any, ...]], tmp_path: Path) -> None:
    dice, forged = random.Random(seed), list(rows)
    act = ("edit", "remove", "swap", "insert", "renumber", "cut-front")[seed % 6]
    index = dice.randrange(COUNT - 1)
    other = dice.choice([place for place in range(COUNT) if place != index])
    if act == "edit":
        column = dice.randrange(1, 7)
        row = list(rows[index])
        row[column] = edited(row[column], dice)
        forged[index] = tuple(row)
        first_bad = {index + 1}
    elif act == "remove":
        count = dice.randrange(1, COUNT - index)
        del forged[index:index + count]
        first_bad = set(range(index + 1, index + count + 1))
    elif act == "swap":     # the contents change places, the numbers stay
        forged[index], forged[other] = (rows[index][0], *rows[other][1:]), (rows[other][0], *rows[index][1:])
        first_bad = {min(index, other) + 1}
    elif act == "insert":   # a copy of another record, those behind it move up
        forged = [*rows[:index], (0, *rows[other][1:]), *rows[index:]]
        forged = [(number + 1, *row[1:]) for number, row in enumerate(forged)]
        first_bad = {index + 1}
    elif act == "renumber":     # one removed and the gap closed
        forged = [(number + 1, *row[1:]) for number, row in enumerate(rows[:index] + rows[index + 1:])]
        first_bad = {index + 1}
    else:
        forged = forged[index + 1:]
        first_bad = {index + 1}
    found = broken(tmp_path / "journal.db", forged)
    assert found.seq in first_bad, (act, index, str(found))
    assert found.remedy


@pytest.mark.parametrize("distance", (1, 2, 5))
def test_swapped_records_are_called_reordered(
        distance: int, rows: list[tuple[Any, ...]], tmp_path: Path) -> None:
    forged = list(rows)
    forged[3], forged[3 + distance] = (4, *rows[3 + distance][1:]), (4 + distance, *rows[3][1:])
    assert broken(tmp_path / "journal.db", forged).reason == f"reordered: this is record {4 + distance}"


def test_reasons(rows: list[tuple[Any, ...]], tmp_path: Path) -> None:
    forged = (*rows[4][:4], rows[4][4].replace("psql", "bash"), *rows[4][5:])
    assert broken(tmp_path / "a", [*rows[:4], forged, *rows[5:]]).reason.startswith("edited")
    assert broken(tmp_path / "b", [*rows[:4], *rows[5:]]).reason == "removed"
    assert broken(tmp_path / "c", [*rows[:4], *rows[7:]]).reason == "removed, with all records up to 7"
    assert "no anchor" in broken(tmp_path / "d", rows[3:]).reason


def test_a_record_rewritten_with_its_own_hash_breaks_the_next(rows: list[tuple[Any, ...]], tmp_path: Path) -> None:
    from nbspd.journal.chain import link
    seq, time_ns, kind, rule, body, previous, _ = rows[4]
    body = body.replace("denied", "audited")
    forged = (seq, time_ns, kind, rule, body, previous, link(previous, seq, time_ns, kind, rule, body))
    found = broken(tmp_path / "journal.db", [*rows[:4], forged, *rows[5:]])
    assert (found.seq, found.reason[:13]) == (6, "hash mismatch")


def test_a_body_that_is_not_text_of_utf8_is_an_edit(rows: list[tuple[Any, ...]], tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    write(path, rows)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET body = CAST(x'ff41' AS TEXT) WHERE seq = 5")
    with pytest.raises(BrokenChain, match="record 5: edited"):
        verify(path)


def test_an_untouched_journal_passes_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for size in (0, 1, 7):
        journal = Journal(path)
        before = journal.last_seq()
        journal.append([violation(number, object="é\udc80/\x00" * number) for number in range(size)])
        journal.append([Record("note", -5, text="a clock before 1970")])
        journal.close()
        found = verify(path)
        assert (found.first, found.last, found.count) == (1, before + size + 1, before + size + 1)


def test_a_missing_journal_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(JournalError) as caught:
        verify(tmp_path / "none.db")
    assert caught.value.remedy
