"""Retention: the oldest records go, always a whole prefix, and an anchor record remembers the last one's hash."""

from __future__ import annotations

import sqlite3
import time
from typing import Callable, Iterable

from .record import Record
from .schema import transaction

KEEP_SHARE = 0.9    # a journal over its size is cut down to this share of it, so that cuts are few


def retain(database: sqlite3.Connection, insert: Callable[[Iterable[Record]], tuple[int, ...]], max_bytes: int,
           max_age_s: float) -> int:
    """Drop what is beyond the size or age, append an anchor, give the space back; return how many were dropped.

    Records with an open window, and the newest, stay. Raises sqlite3.Error.
    """
    now = time.time_ns()
    with transaction(database):
        first, last = database.execute("SELECT min(seq), max(seq) FROM records").fetchone()
        if first is None:
            return 0
        by_age = _last_before(database, now - int(max_age_s * 1e9), last)
        by_size = _last_beyond(database, max_bytes, first, last)
        held, = database.execute("SELECT min(of) FROM bursts").fetchone()
        drop_to = min(max(by_age, by_size), last - 1, last if held is None else held - 1)
        if drop_to < first:
            return 0
        row = database.execute("SELECT hash FROM records WHERE seq = ?", (drop_to,)).fetchone()
        if row is None:     # somebody removed records: keep the evidence
            return 0
        database.execute("DELETE FROM records WHERE seq <= ?", (drop_to,))
        count: int = drop_to - first + 1
        why = "older than allowed" if by_age >= by_size else "to stay within the allowed size"
        insert([Record("anchor", now, dropped_to=drop_to, dropped_hash=row[0].hex(),
                       text=f"dropped {count} records up to record {drop_to}, {why}")])
    database.executescript("PRAGMA incremental_vacuum")     # execute() would step it once, which frees one page
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return count


def _last_before(database: sqlite3.Connection, cutoff_ns: int, last: int) -> int:
    """Return the number of the last record of the prefix in which all are older than the cutoff."""
    seq, = database.execute("SELECT min(seq) FROM records WHERE time_ns >= ?", (cutoff_ns,)).fetchone()
    return last if seq is None else int(seq) - 1


def _last_beyond(database: sqlite3.Connection, max_bytes: int, first: int, last: int) -> int:
    """Return the number of the last record that must go for the file to fit, all being taken as equally big."""
    pages, free, page_bytes = (database.execute(f"PRAGMA {name}").fetchone()[0]
                               for name in ("page_count", "freelist_count", "page_size"))
    size = (pages - free) * page_bytes
    if size <= max_bytes:
        return first - 1
    return first + int((last - first + 1) * (1 - KEEP_SHARE * max_bytes / size))
