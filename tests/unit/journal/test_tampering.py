"""Ten thousand edits, cuts and swaps of signed journals: each is found; and every untouched journal is accepted.

The verifier has what an operator has who keeps the public key and an anchor elsewhere. The attacker has the file, knows
how hashes are computed, and has a key of his own; not the host's.
"""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import pytest

from nbspd.errors import JournalError
from nbspd.journal import hostkey
from nbspd.journal.anchors import Anchor
from nbspd.journal.chain import GENESIS, link, verify, verify_database
from nbspd.journal.record import Record
from nbspd.journal.signatures import Written
from nbspd.signing import Signing

from .history import History

PARTS, EACH = 10, 1000
COLUMNS = ("time_ns", "kind", "rule", "body", "prev", "hash")
TABLES = ("records", "accounts", "bursts")

Row = tuple[Any, ...]


class Evidence:
    """A journal in memory, what is known of it elsewhere, and what the attacker has beside it."""

    def __init__(self, folder: Path, seed: int) -> None:
        history = History(folder / "ours", seed)
        self.older: list[dict[str, list[Row]]] = []
        for _ in range(4):
            history.live(8)
            history.violations()
            history.sign()
            self.older.append(tables(history.journal._db))
        if seed % 2:
            history.violations()        # a tail that is not signed yet
            history.event()
        self.anchor = history.journal.anchor()
        self.keys = (history.key.public,)
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        history.journal._db.backup(self.database)
        self.rows: list[Row] = tables(self.database)["records"]
        foreign = History(folder / "theirs", seed + 1)
        foreign.live(40)
        foreign.sign()
        self.foreign = tables(foreign.journal._db)
        self.own_key = hostkey.load(folder / "theirs")
        for one in (history, foreign):
            one.journal.close()

    @property
    def seqs(self) -> list[int]:
        return [row[0] for row in self.rows]


def tables(database: sqlite3.Connection) -> dict[str, list[Row]]:
    return {name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in TABLES}


def replace(database: sqlite3.Connection, contents: dict[str, list[Row]]) -> None:
    for name, rows in contents.items():
        database.execute(f"DELETE FROM {name}")
        if rows:
            database.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def chained(rows: list[Row], previous: bytes) -> list[Row]:
    """Return rows with all hashes computed again, as an attacker can."""
    found = []
    for seq, time_ns, kind, rule, body, *_ in rows:
        head = link(previous, seq, time_ns, kind, rule, body)
        found.append((seq, time_ns, kind, rule, body, previous, head))
        previous = head
    return found


def edited(value: Any, dice: random.Random) -> Any:
    """Return another value, of the same type mostly."""
    if dice.random() < 0.1:
        return dice.choice([other for other in (1.5, b"", "", 7, b"\0" * 32) if other != value])
    if isinstance(value, int):
        return value + dice.choice((-1, 1, 1 << 20))
    place = dice.randrange(len(value)) if value else 0
    if isinstance(value, bytes):
        return value[:place] + bytes([value[place] ^ 1 << dice.randrange(8)]) + value[place + 1:]
    return value[:place] + dice.choice("xyZ9") * dice.randrange(2) + value[place + dice.randrange(1, 3):] + "~"


# -- the acts; each changes evidence.database


def edit(evidence: Evidence, dice: random.Random) -> None:
    row = dice.choice(evidence.rows)
    column = dice.randrange(len(COLUMNS))
    evidence.database.execute(f"UPDATE records SET {COLUMNS[column]} = ? WHERE seq = ?",
                              (edited(row[column + 1], dice), row[0]))


def remove(evidence: Evidence, dice: random.Random) -> None:
    first = dice.choice(evidence.seqs)
    evidence.database.execute("DELETE FROM records WHERE seq BETWEEN ? AND ?",
                              (first, first + dice.choice((0, 0, 1, 9))))


def cut(evidence: Evidence, dice: random.Random) -> None:
    evidence.database.execute("DELETE FROM records WHERE seq >= ?", (dice.choice(evidence.seqs),))


def cut_front(evidence: Evidence, dice: random.Random) -> None:
    evidence.database.execute("DELETE FROM records WHERE seq <= ?", (dice.choice(evidence.seqs),))


def swap(evidence: Evidence, dice: random.Random) -> None:
    one, other = dice.sample(evidence.rows, 2)
    rows = {row[0]: row for row in evidence.rows} | {one[0]: (one[0], *other[1:]), other[0]: (other[0], *one[1:])}
    replace(evidence.database, {"records": list(rows.values())})


def insert(evidence: Evidence, dice: random.Random) -> None:
    at = dice.randrange(len(evidence.rows) + 1)
    copied = dice.choice(evidence.rows)
    first = evidence.seqs[0]
    rows = [*evidence.rows[:at], copied, *evidence.rows[at:]]
    replace(evidence.database, {"records": [(first + index, *row[1:]) for index, row in enumerate(rows)]})


def close_the_gap(evidence: Evidence, dice: random.Random) -> None:
    at = dice.randrange(len(evidence.rows))
    first = evidence.seqs[0]
    rows = evidence.rows[:at] + evidence.rows[at + 1:]
    replace(evidence.database, {"records": [(first + index, *row[1:]) for index, row in enumerate(rows)]})


def write_anew(evidence: Evidence, dice: random.Random) -> None:
    """Change a record and compute all later hashes again; leave the signatures, drop them, or make them anew."""
    at = dice.randrange(len(evidence.rows))
    rows = list(evidence.rows)
    seq, time_ns, kind, rule, body, previous, _ = rows[at]
    rows[at] = (seq, time_ns + 1, kind, rule, body, previous, b"")
    write_from(evidence, rows, at, dice.choice(("leave", "drop", "own")))


def sign_anew(evidence: Evidence, dice: random.Random) -> None:
    """The same, and never without signatures."""
    at = dice.randrange(len(evidence.rows) - 1)
    rows = list(evidence.rows)
    seq, time_ns, kind, rule, body, previous, _ = rows[at]
    rows[at] = (seq, time_ns + 1, kind, rule, body, previous, b"")
    write_from(evidence, rows, at, dice.choice(("leave", "own")))


def write_from(evidence: Evidence, rows: list[Row], at: int, way: str) -> None:
    """Replace the journal by rows whose hashes are wrong from a place on."""
    seq, previous = rows[at][0], rows[at][5]
    later = [row for row in rows[at:] if way != "drop" or row[2] != "signature"]
    later = [(seq + index, *row[1:]) for index, row in enumerate(later)]
    later = resigned(evidence, later, previous) if way == "own" else chained(later, previous)
    replace(evidence.database, {"records": rows[:at] + later})


def resigned(evidence: Evidence, rows: list[Row], previous: bytes) -> list[Row]:
    """Return rows with hashes and signatures made anew, with the attacker's key or in the host's name."""
    found: list[Row] = []
    for row in rows:
        if row[2] == "signature":
            signed = Record.from_json(row[4]).signed
            assert signed is not None
            now = signed._asdict()
            written = [now[name] for name in ("violations", "repeats", "losses")]
            counted = {name: now[name] for name in ("hits", "journaled", "coalesced", "lost", "waiting")}
            make = Signing.signer(evidence.own_key, row[1], counted, signed.epoch)
            record = make(row[0] - 1, previous, Written(*written))
            body = record.to_json()
            if row[0] % 2:      # in the name of the host
                document = json.loads(body)
                document["signed"]["key"] = evidence.keys[0].id
                body = json.dumps(document, sort_keys=True, separators=(",", ":"))
            row = (*row[:4], body, previous, b"")
        found += chained([row], previous)
        previous = found[-1][6]
    return found


def forge_retention(evidence: Evidence, dice: random.Random) -> None:
    """Drop the oldest records and write an anchor record that says it was retention, hashes computed again."""
    at = dice.randrange(1, len(evidence.rows))
    dropped = evidence.rows[at - 1]
    later = list(evidence.rows[at:])
    text = Record("anchor", 5, text="dropped", dropped_to=dropped[0], dropped_hash=dropped[6].hex()).to_json()
    place = dice.randrange(len(later))
    later[place] = (later[place][0], 5, "anchor", "", text, b"", b"")
    replace(evidence.database, {"records": chained(later, dropped[6])})


def accounts(evidence: Evidence, dice: random.Random) -> None:
    column = dice.choice(("journaled", "coalesced", "kernel_lost", "gone"))
    epoch, rule = dice.choice(evidence.database.execute("SELECT epoch, rule FROM accounts").fetchall())
    evidence.database.execute(f"UPDATE accounts SET {column} = {column} + ? WHERE epoch = ? AND rule = ?",
                              (dice.choice((-1, 1, 100)), epoch, rule))


def bursts(evidence: Evidence, dice: random.Random) -> None:
    evidence.database.execute("INSERT INTO bursts VALUES (?, ?, 1, 1) ON CONFLICT (of) DO UPDATE SET count = count + 1",
                              (dice.choice(evidence.seqs), dice.randrange(1, 9)))


def older_copy(evidence: Evidence, dice: random.Random) -> None:
    replace(evidence.database, dice.choice(evidence.older if len(tables(evidence.database)["records"]) !=
                                           len(evidence.older[-1]["records"]) else evidence.older[:-1]))


def another_host(evidence: Evidence, dice: random.Random) -> None:
    replace(evidence.database, evidence.foreign)


def a_piece_of_another_host(evidence: Evidence, dice: random.Random) -> None:
    at = dice.randrange(len(evidence.rows))
    later = [(evidence.rows[at][0] + index, *row[1:]) for index, row in enumerate(evidence.foreign["records"])]
    before = evidence.rows[at - 1][6] if at else GENESIS
    replace(evidence.database, {"records": evidence.rows[:at] + chained(later, before)})


def begun_anew(evidence: Evidence, dice: random.Random) -> None:
    """A journal without a past: one record, nothing signed."""
    replace(evidence.database, {"records": chained([(1, 5, "note", "", '{"kind":"note","time_ns":5}')], GENESIS),
                                "accounts": [], "bursts": []})


def emptied(evidence: Evidence, dice: random.Random) -> None:
    replace(evidence.database, {name: [] for name in TABLES})


ACTS: tuple[Callable[[Evidence, random.Random], None], ...] = (
    edit, edit, edit, remove, remove, cut, cut, cut_front, swap, swap, insert, close_the_gap, write_anew, write_anew,
    forge_retention, accounts, bursts, older_copy, another_host, a_piece_of_another_host, begun_anew, emptied)


# what the public key alone suffices for, where the newest record is a signature
FOUND_BY_KEY = (edit, swap, insert, sign_anew, accounts, bursts, another_host, a_piece_of_another_host,
                begun_anew, emptied)


@pytest.fixture
def evidence(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Evidence]:
    found = Evidence(tmp_path, request.param)
    yield found
    found.database.close()


@pytest.mark.parametrize("evidence", range(PARTS), indirect=True, ids=lambda part: f"{EACH}-acts-{part}")
def test_every_act_is_found(evidence: Evidence, request: pytest.FixtureRequest) -> None:
    assert not missed(evidence, (evidence.anchor,), ACTS, EACH, random.Random(request.node.name))


@pytest.mark.parametrize("evidence", [0, 2, 4], indirect=True)
def test_the_key_alone_finds_what_is_signed(evidence: Evidence, request: pytest.FixtureRequest) -> None:
    assert not missed(evidence, (), FOUND_BY_KEY, 400, random.Random(request.node.name))


def missed(evidence: Evidence, anchors: tuple[Anchor, ...], acts: Sequence[Callable[[Evidence, random.Random], None]],
           count: int, dice: random.Random) -> list[tuple[int, str]]:
    """Return the acts, of so many, that were not found."""
    database, untouched = evidence.database, tables(evidence.database)
    found, unseen = verify_database(database, evidence.keys, anchors), []
    assert found.is_checked and found.signatures and not found.strangers
    for number in range(count):
        act = dice.choice(acts)
        database.execute("BEGIN")
        act(evidence, dice)
        assert tables(database) != untouched, f"{act.__name__} changed nothing"
        try:
            verify_database(database, evidence.keys, anchors)
            unseen.append((number, act.__name__))
        except JournalError as error:
            assert error.cause and error.remedy
        database.execute("ROLLBACK")
    assert verify_database(database, evidence.keys, anchors) == found
    return unseen


@pytest.mark.parametrize("seed", range(60))
def test_every_untouched_journal_is_accepted(seed: int, tmp_path: Path) -> None:
    history = History(tmp_path / "state", seed)
    for _ in range(8):
        history.live(5)
        history.sign()
        anchor = history.journal.anchor()
        found = verify(history.path, (history.key.public,), (anchor,))
        assert found.is_checked and found.head == anchor.hash and found.signed_to == found.last - 1
        history.violations()
        history.event()
        assert verify(history.path, (history.key.public,), (anchor,)).last == history.journal.last_seq()
    history.journal.close()


@pytest.mark.parametrize("evidence", [1], indirect=True)
def test_without_an_anchor_what_follows_the_last_signature_is_open_and_nothing_else(evidence: Evidence) -> None:
    """The limit that the threat model names: who also sets the accounts can write the newest records anew."""
    database = evidence.database
    newest, last_signature = evidence.rows[-1], max(row[0] for row in evidence.rows if row[2] == "signature")
    assert last_signature < newest[0]
    forged = chained([(newest[0], newest[1], newest[2], newest[3], '{"kind":"note","time_ns":5}')], newest[5])
    replace(database, {"records": evidence.rows[:-1] + forged})
    assert verify_database(database, evidence.keys).signed_to == last_signature - 1
    with pytest.raises(JournalError, match="not the record of the anchor"):
        verify_database(database, evidence.keys, (evidence.anchor,))
    replace(database, evidence.older[0])        # an older copy
    verify_database(database, evidence.keys)
    with pytest.raises(JournalError, match="cut off the end, or this is an older copy"):
        verify_database(database, evidence.keys, (evidence.anchor,))
