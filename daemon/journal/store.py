"""The journal's one writer: every change is one transaction, or nothing."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Iterable, Mapping, Sequence

from ..errors import JournalError
from . import recovery, retention, schema
from .anchors import Anchor
from .chain import GENESIS, link
from .reader import ALIVE, Account, Reader
from .record import Record
from .signatures import Sign, written

Tally = tuple[int, int, int]    # how many repeats, boot clock of the first and of the last


class JournalReplaced(JournalError):
    """The journal that held the open windows is gone and a new one was begun; nothing of this batch was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"the journal {path} was lost and begun anew", "forget the open windows and read again")


class Journal(Reader):
    """The journal, open for writing. Call `begin_epoch` as soon as the kernel's maps are known.

    Opening it turns repeats that an earlier run left pending into records. A damaged file is moved aside and a new one
    begun; a file deleted while open is restored from the open handle, or begun anew; each says so in a record.
    `lineage` grows whenever the records a caller may remember by number are gone.
    """

    def __init__(self, path: Path, epoch: str = "") -> None:
        self.lineage = 0
        self._notes: list[str] = []
        self._files: recovery.Identity = ()
        self._tail: tuple[int, bytes] | None = None     # the newest record as it was written, whatever the file says
        super().__init__(path)
        self.begin_epoch(epoch)
        self.append((), closing=self.pending())

    def begin_epoch(self, epoch: str) -> None:
        """Say which kernel counters and ring the accounts belong to: boot id and map id in one string."""
        self.epoch = epoch
        self._mirror = self.accounting()        # what a journal begun anew starts from
        self._mirror_ring = self.ring_position()

    def append(self, records: Sequence[Record], *, ring_position: int | None = None,
               accounting: Mapping[int, tuple[int, int]] | None = None, lost: Mapping[int, int] | None = None,
               gone: Mapping[int, int] | None = None, repeats: Mapping[int, Tally] | None = None,
               new_repeats: Mapping[int, Tally] | None = None, closing: Iterable[int] = (),
               sign: Sign | None = None) -> tuple[int, ...]:
        """Write a batch in one transaction and return the records' numbers.

        ring_position  position after the last ring record of this batch
        accounting     rule number -> how many more hits are (journaled, coalesced)
        lost           rule number -> what the kernel's counter of lost hits says now (cumulative)
        gone           rule number -> how many more hits were in a journal that is gone
        repeats        violation's number -> repeats of it; new_repeats: the same by index into `records`
        closing        violations whose windows close: their pending repeats become a `repeat` record each
        sign           makes a signature of all this and everything before, which is appended

        Raises JournalError and changes nothing when it cannot be written (full disk, ...): leave the records in the
        ring and try again later. JournalReplaced is one of these that needs no waiting.
        """
        lineage, closed = self.lineage, tuple(closing)
        self.ensure()
        for attempt in range(2):
            if lineage != self.lineage and repeats:
                raise JournalReplaced(self.path)
            try:
                return self._write(records, ring_position, accounting or {}, lost or {}, gone or {}, repeats or {},
                                   new_repeats or {}, closed, sign)
            except sqlite3.Error as error:
                if attempt or not schema.is_damage(error):
                    raise schema.in_words(error, self.path) from None
                self._begin_anew(f"the journal was found damaged ({error})")
            except OSError as error:
                raise schema.in_words(error, self.path) from None
        raise AssertionError("unreachable")

    def ensure(self) -> None:
        """Bring the file back if somebody deleted or replaced it; costs two stat calls when nobody did."""
        if not recovery.is_same(self.path, self._files):
            with self._trouble():
                try:
                    self._db, note = recovery.restore(self.path, self._db)
                    self._files = recovery.identify(self.path)
                    self._notes.append(note)
                except (sqlite3.Error, schema.DamagedJournal) as error:
                    if schema.is_full(error):
                        raise
                    self._begin_anew(f"the journal file was deleted while open and could not be read back ({error})")

    def heartbeat(self) -> None:
        """Note that the daemon is alive, so that a later gap record can say from when on it was not.

        Brings a deleted file back too, which an idle daemon would not notice otherwise.
        """
        self.ensure()
        self.remember(ALIVE, time.time_ns())

    def remember(self, name: str, value: int) -> None:
        """Keep a number with the journal under a name, outside the chain. Raises JournalError."""
        with self._trouble():
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def retain(self, max_bytes: int, max_age_s: float) -> int:
        """Drop the oldest records beyond a size or age and return how many; the newest always stays."""
        self.ensure()
        with self._trouble():
            count = retention.retain(self._db, self._insert, max_bytes, max_age_s)
            self._tail = self._newest()
        return count

    def _write(self, records: Sequence[Record], ring_position: int | None, accounting: Mapping[int, tuple[int, int]],
               lost: Mapping[int, int], gone: Mapping[int, int], repeats: Mapping[int, Tally],
               new_repeats: Mapping[int, Tally], closing: tuple[int, ...], sign: Sign | None) -> tuple[int, ...]:
        self._check_tail()
        changed, touched = dict(self._mirror), {*accounting, *lost, *gone}
        for rule in touched:
            account, (journaled, coalesced) = changed.get(rule, Account()), accounting.get(rule, (0, 0))
            changed[rule] = Account(account.journaled + journaled, account.coalesced + coalesced,
                                    lost.get(rule, account.kernel_lost), account.gone + gone.get(rule, 0))
        ring = self._mirror_ring if ring_position is None else ring_position
        carried = changed if self._notes else {rule: changed[rule] for rule in touched}
        with schema.transaction(self._db):
            self._insert(Record("note", time.time_ns(), text=text) for text in self._notes)
            self._insert(self._close(closing))
            seqs = self._insert(records)
            tallies = {**repeats, **{seqs[index]: tally for index, tally in new_repeats.items()}}
            self._db.executemany(
                "INSERT INTO bursts VALUES (?, ?, ?, ?) ON CONFLICT (of) DO UPDATE SET count = count + excluded.count, "
                "last_ns = excluded.last_ns", [(of, *tally) for of, tally in tallies.items()])
            self._db.executemany("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?)",
                                 [(self.epoch, rule, *account) for rule, account in carried.items()])
            if ring is not None:
                self._db.execute("INSERT OR REPLACE INTO rings VALUES (?, ?)", (self.epoch, ring))
            if sign is not None:
                seqs += self._insert([sign(*self._newest(), written(self._db))])
            tail = self._newest()
        self._tail = tail
        self._mirror, self._mirror_ring, self._notes = changed, ring, []
        return seqs

    def anchor(self) -> Anchor:
        """Return the newest record as it was written here, whatever the file says of it now."""
        return super().anchor() if self._tail is None else Anchor(self._tail[0], self._tail[1].hex(), self.last_key())

    def _newest(self) -> tuple[int, bytes]:
        return self._db.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone() or (0, GENESIS)

    def _check_tail(self) -> None:
        """Say so when the newest record is not the one that was written last."""
        if self._tail not in (None, found := self._newest()):
            self._notes.append(f"somebody changed the journal while nbspd had it open: the newest record was "
                               f"{self._tail and self._tail[0]} and is {found[0]}; see: nbsp journal verify")
            self._tail = None

    def _insert(self, records: Iterable[Record]) -> tuple[int, ...]:
        """Chain records to the newest one and insert them; to be called inside a transaction."""
        seq, head = self._newest()
        rows, seqs = [], []
        for record in records:
            seq, previous, body = seq + 1, head, record.to_json()
            head = link(previous, seq, record.time_ns, record.kind, record.rule, body)
            rows.append((seq, record.time_ns, record.kind, record.rule, body, previous, head))
            seqs.append(seq)
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        return tuple(seqs)

    def _close(self, closing: Iterable[int]) -> list[Record]:
        """Take pending repeats out of the file and return them as records."""
        records = []
        for of in closing:
            row = self._db.execute("SELECT count, first_ns, last_ns, body FROM bursts LEFT JOIN records ON seq = of "
                                   "WHERE of = ?", (of,)).fetchone()
            if row:
                records.append(_repeat(of, *row))
                self._db.execute("DELETE FROM bursts WHERE of = ?", (of,))
        return records

    def _begin_anew(self, why: str) -> None:
        with suppress(sqlite3.Error):
            self._db.close()
        with self._trouble():
            kept = recovery.move_aside(self.path, "corrupt")
            self._db = schema.connect(self.path)
            self._files = recovery.identify(self.path)
        self.lineage += 1
        self._tail = None
        journaled, coalesced = (sum(account[column] for account in self._mirror.values()) for column in (0, 1))
        self._notes.append(f"{why}; this one was begun{f', the old one is {kept}' if kept else ''}; the old one held "
                           f"{journaled} violations and counted {coalesced} repeats since the kernel began counting")

    def _connect(self) -> sqlite3.Connection:
        try:
            database = schema.connect(self.path)
        except schema.DamagedJournal as damage:
            kept = recovery.move_aside(self.path, "corrupt")
            self._notes.append(f"the journal was damaged ({damage}); it was moved to {kept} and this one was begun")
            database = schema.connect(self.path)
        self._files = recovery.identify(self.path)
        return database


def _repeat(of: int, count: int, first_ns: int, last_ns: int, body: str | None) -> Record:
    """Return the record of `count` repeats; boot clock times become wall clock times as in the first one."""
    try:
        first = Record.from_json(body or "")
    except JournalError:
        return Record("repeat", time.time_ns(), boot_ns=last_ns, of=of, count=count,
                      text="the record of the first one is gone")
    wall_ns = first.time_ns - first.boot_ns
    return replace(first, kind="repeat", of=of, count=count, boot_ns=last_ns, first_ns=first_ns + wall_ns,
                   time_ns=last_ns + wall_ns)
