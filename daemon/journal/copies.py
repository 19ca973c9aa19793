"""A journal's file that may be a copy, somebody else's, or broken: opened for reading, and its troubles in words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..errors import JournalError
from .schema import is_damage

MAGIC = b"SQLite format 3\0"
TIMEOUT_S = 5
HOW_TO_COPY = "copy it again, journal.db together with journal.db-wal, or while nbspd is stopped"


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a journal as it is at one moment. Raises JournalError for whatever is wrong with the file."""
    before = _state(path)
    try:
        database = _connect(path)
        try:
            database.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("BEGIN")
            yield database
        finally:
            database.close()
    except (sqlite3.Error, OSError) as error:
        raise _in_words(error, path, before != _state(path)) from None


def _connect(path: Path) -> sqlite3.Connection:
    """Open it; a copy on a disk that cannot be written has no room for SQLite's shared memory, and needs none."""
    with open(path, "rb"):      # SQLite's own words for a missing or unreadable file say less
        pass
    uri = path.absolute().as_uri()
    database = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=TIMEOUT_S)
    try:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return database
    except sqlite3.OperationalError as error:
        database.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or (
                Path(f"{path}-wal").exists()):
            raise
    return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)


def _state(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
        return found.st_size, found.st_mtime_ns
    except OSError:
        return 0, 0


def _in_words(error: Exception, path: Path, is_changing: bool) -> JournalError:
    """Return what an error means for whoever wants to check the file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, OSError):
        return JournalError(f"the journal {path} cannot be read: {error.strerror}",
                            "check that it exists, that you may read it, and that the disk is sound")
    if code == sqlite3.SQLITE_BUSY or code == sqlite3.SQLITE_LOCKED:
        return JournalError(f"the journal {path} is locked by another program", f"find it with: fuser -v {path}")
    if is_changing and is_damage(error):    # type: ignore[arg-type]
        return JournalError(f"the file {path} changed while it was read: a copy that is not finished?",
                            "wait until it is, then verify again")
    expected, size = _expected_bytes(path), _state(path)[0]
    if expected > size:
        return JournalError(f"the journal {path} is cut off: it has {size:,} of {expected:,} bytes", HOW_TO_COPY)
    if "no such table" in str(error) or code == sqlite3.SQLITE_NOTADB:
        return JournalError(f"{path} is not a journal of nbspd: {error}", "name the file journal.db or a copy of it")
    if is_damage(error):                    # type: ignore[arg-type]
        return JournalError(f"the journal {path} is damaged: {error}",
                            f"keep it as evidence; if it is a copy: {HOW_TO_COPY}")
    return JournalError(f"the journal {path} cannot be read: {error}",
                        "check that it exists, that you may read it, and that the disk is sound")


def _expected_bytes(path: Path) -> int:
    """Return how long the file says that it is (SQLite's file format, 1.3), 0 where it does not."""
    try:
        with open(path, "rb") as file:
            head = file.read(100)
    except OSError:
        return 0
    if head[:16] != MAGIC or len(head) < 100 or head[24:28] != head[92:96]:
        return len(head) + 1 if 0 < len(head) < 100 and head[:16] == MAGIC[:len(head)] else 0
    page_bytes = int.from_bytes(head[16:18], "big")
    return int.from_bytes(head[28:32], "big") * (65536 if page_bytes == 1 else page_bytes)
