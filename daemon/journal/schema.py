"""The journal's SQLite file: its tables, how it is opened, and SQLite's errors in words."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from ..errors import JournalError

APPLICATION = 0x6E627370    # "nbsp"
VERSION = 1
QUICK_CHECK_BYTES = 16 << 20    # files up to this size are checked whole when opened; takes about 20 ms

# the daemon's own records, which are few among many violations
RARE = "kind NOT IN ('violation', 'repeat')"
BY_KIND = f"CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind, seq) WHERE {RARE}"

TABLES = f"""
CREATE TABLE records (
    seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, kind TEXT NOT NULL, rule TEXT NOT NULL, body TEXT NOT NULL,
    prev BLOB NOT NULL, hash BLOB NOT NULL);
CREATE INDEX records_by_time ON records (time_ns);
CREATE INDEX records_by_rule ON records (rule, seq) WHERE rule != '';
{BY_KIND};
CREATE TABLE accounts (
    epoch TEXT NOT NULL, rule INTEGER NOT NULL, journaled INTEGER NOT NULL, coalesced INTEGER NOT NULL,
    kernel_lost INTEGER NOT NULL, gone INTEGER NOT NULL, PRIMARY KEY (epoch, rule)) WITHOUT ROWID;
CREATE TABLE rings (epoch TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE bursts (of INTEGER PRIMARY KEY, count INTEGER NOT NULL, first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class DamagedJournal(Exception):
    """The file is not a journal, or is damaged; the text says how."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal for writing, making it when it does not exist.

    Raises DamagedJournal when the file is there but no sound journal, JournalError when a newer nbspd wrote it,
    sqlite3.Error or OSError when it cannot be opened.
    """
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640))
    database = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        _prepare(database, path)
    except sqlite3.DatabaseError as error:
        database.close()
        if is_damage(error):
            raise DamagedJournal(str(error)) from None
        raise
    except BaseException:
        database.close()
        raise
    return database


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open an existing journal for reading. Raises sqlite3.Error."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5)


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the file's content is wrong."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: Exception) -> bool:
    """Return whether an error means that the file system has no space left."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            or isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))


def in_words(error: Exception, path: Path) -> JournalError:
    """Return what an error of SQLite or the file system means for the operator."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    folder = path.parent
    if is_full(error):
        return JournalError(f"no space left for the journal in {folder}",
                            "free some space there; until then violations wait in the kernel and are counted")
    if (code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
            or isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS)):
        return JournalError(f"the journal {path} is read-only",
                            f"remount {folder} writable, or check the owner and mode of the file")
    if code == sqlite3.SQLITE_BUSY:
        return JournalError(f"the journal {path} is locked by another program",
                            f"find it with: fuser -v {path}")
    if code == sqlite3.SQLITE_CANTOPEN or isinstance(error, OSError):
        return JournalError(f"the journal {path} cannot be opened: {error}",
                            f"check that {folder} is a directory that root may write and {path.name} a plain file")
    if isinstance(error, sqlite3.Error) and is_damage(error):
        return JournalError(f"the journal {path} is damaged: {error}",
                            "restart nbspd: it moves the file aside and starts a new one")
    return JournalError(f"the journal {path} failed: {error}", f"check the disk under {folder} (dmesg, df)")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Do everything inside in one write transaction, or nothing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:     # SQLite has rolled back by itself after some errors
            database.execute("ROLLBACK")
        raise


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    tables = {name for name, in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    application, = database.execute("PRAGMA application_id").fetchone()
    version, = database.execute("PRAGMA user_version").fetchone()
    if not tables:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION};"
                               f"PRAGMA user_version = {VERSION}; COMMIT;")
    elif application != APPLICATION:
        raise DamagedJournal("it is a database of another program")
    elif version > VERSION:
        raise JournalError(f"the journal {path} was written by a newer nbspd",
                           f"install that version again, or move {path} away")
    elif path.stat().st_size <= QUICK_CHECK_BYTES:
        finding, = database.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise DamagedJournal(finding)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")     # survives our death; power loss also ends the kernel's counters
    database.execute("PRAGMA cache_size = -2048")
    with suppress(sqlite3.OperationalError):        # of an older version, on a full disk: looking takes longer, no more
        database.execute(BY_KIND)
    database.execute("SELECT max(seq) FROM records").fetchone()
