"""Reading the journal, from the daemon or from any program that may read the file."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterable, Iterator, NamedTuple

from ..errors import JournalError
from . import schema
from .anchors import Anchor
from .chain import GENESIS
from .record import Record

ALIVE = "alive_ns"
COMMON = frozenset(("violation", "repeat"))


class Account(NamedTuple):
    """What became of one rule's kernel hits; cumulative for an epoch (one set of kernel counters)."""

    journaled: int = 0
    coalesced: int = 0
    kernel_lost: int = 0    # the kernel found no room for the details
    gone: int = 0           # were in a journal that has been deleted or damaged

    @property
    def lost(self) -> int:
        """Return the hits of which no details exist any more."""
        return self.kernel_lost + self.gone

    @property
    def total(self) -> int:
        """Return the hits that are accounted for; the kernel's count minus this is what still waits in the ring."""
        return self.journaled + self.coalesced + self.lost


class Reader:
    """A journal open for reading. Every method raises JournalError when the file cannot be read."""

    def __init__(self, path: Path, epoch: str = "") -> None:
        self.path = path
        self.epoch = epoch      # boot id and map id: what the accounts and the ring position belong to
        with self._trouble():
            self._db = self._connect()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def query(self, *, since_ns: int | None = None, rule: str | None = None, kinds: Iterable[str] = (),
              after_seq: int | None = None, limit: int = 1000) -> tuple[Record, ...]:
        """Return up to `limit` records, oldest first: those following `after_seq`, or without it the newest ones."""
        terms: list[str] = []
        values: list[Any] = []
        for term, value in (("time_ns >= ?", since_ns), ("rule = ?", rule), ("seq > ?", after_seq)):
            if value is not None:
                terms.append(term)
                values.append(value)
        if wanted := tuple(kinds):
            terms.append(f"kind IN ({', '.join('?' * len(wanted))})")
            if not COMMON & set(wanted):
                terms.append(schema.RARE)       # SQLite then finds them by their index
            values += wanted
        order = "DESC" if after_seq is None else "ASC"
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        with self._trouble():
            rows = self._db.execute(f"SELECT seq, body FROM records {where} ORDER BY seq {order} LIMIT ?",
                                    (*values, limit)).fetchall()
        records = [replace(Record.from_json(body), seq=seq) for seq, body in rows]
        return tuple(reversed(records) if after_seq is None else records)

    def get(self, seq: int) -> Record:
        """Return one record. Raises JournalError when there is none of that number."""
        with self._trouble():
            row = self._db.execute("SELECT body FROM records WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise JournalError(f"there is no record {seq}", "list those there are with: nbsp journal")
        return replace(Record.from_json(row[0]), seq=seq)

    def last_seq(self) -> int:
        """Return the number of the newest record, 0 of an empty journal."""
        with self._trouble():
            return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])

    def anchor(self) -> Anchor:
        """Return the newest record's number and hash, with the key that signed last; the genesis of an empty one."""
        with self._trouble():
            row = self._db.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        return Anchor(*(row[0], row[1].hex()) if row else (0, GENESIS.hex()), self.last_key())

    def last_key(self) -> str:
        """Return the id of the key that signed the journal last, "" when none did."""
        newest = self.query(kinds=("signature",), limit=1)
        return newest[0].signed.key if newest and newest[0].signed else ""

    def pending(self) -> dict[int, int]:
        """Return how often violations have been repeated without a repeat record yet: number of the first -> count."""
        with self._trouble():
            return dict(self._db.execute("SELECT of, count FROM bursts"))

    def accounting(self, epoch: str | None = None) -> dict[int, Account]:
        """Return what is accounted for by rule number, in this epoch or another one."""
        with self._trouble():
            rows = self._db.execute("SELECT rule, journaled, coalesced, kernel_lost, gone FROM accounts "
                                    "WHERE epoch = ?", (self.epoch if epoch is None else epoch,))
            return {rule: Account(*numbers) for rule, *numbers in rows}

    def ring_position(self, epoch: str | None = None) -> int | None:
        """Return the ring position up to which everything is journaled; None when nothing of this epoch is."""
        with self._trouble():
            row = self._db.execute("SELECT position FROM rings WHERE epoch = ?",
                                   (self.epoch if epoch is None else epoch,)).fetchone()
        return None if row is None else int(row[0])

    def recall(self, name: str) -> int:
        """Return a number kept with the journal under a name, 0 when there is none."""
        with self._trouble():
            row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def last_alive_ns(self) -> int:
        """Return the last wall clock time at which the daemon is known to have run; 0 when it never did."""
        alive_ns = self.recall(ALIVE)
        with self._trouble():
            newest = self._db.execute("SELECT time_ns FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        return max(alive_ns, int(newest[0]) if newest else 0)

    def _connect(self) -> sqlite3.Connection:
        return schema.connect_read_only(self.path)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise schema.in_words(error, self.path) from None
