"""What the writer does about a journal file that was damaged, deleted or replaced under its hands."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from . import schema

Identity = tuple[tuple[int, int], ...]
SUFFIXES = ("", "-wal", "-shm")


def identify(path: Path) -> Identity:
    """Return device and inode of the journal and of its write-ahead log."""
    return tuple((found.st_dev, found.st_ino) for found in (os.stat(f"{path}{suffix}") for suffix in SUFFIXES[:2]))


def is_same(path: Path, identity: Identity) -> bool:
    """Return whether the files that were opened are still the ones of that name."""
    try:
        return identify(path) == identity
    except OSError:
        return False


def restore(path: Path, database: sqlite3.Connection) -> tuple[sqlite3.Connection, str]:
    """Write a deleted journal out again from its open handle; return the new handle and a note for the journal.

    A file that somebody put in its place is kept under another name. Raises sqlite3.Error or OSError, the old handle
    then being as good as before, or DamagedJournal.
    """
    copy = path.with_name(f"{path.name}.restored")
    _remove(copy)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    try:
        target = sqlite3.connect(copy)
        try:
            database.backup(target)
        finally:
            target.close()
        os.chmod(copy, 0o640)
        kept = move_aside(path, "replaced", ("",))
        os.rename(copy, path)
    except (sqlite3.Error, OSError):
        _remove(copy)
        raise
    database.close()            # deletes the old log by name, so before the new one is made
    for suffix in SUFFIXES[1:]:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    restored = schema.connect(path)
    newest, = restored.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
    what = f"another file in its place was moved to {kept}" if kept else "it is whole again"
    return restored, (f"the journal file was deleted or replaced while nbspd had it open; restored from the open "
                      f"handle up to record {newest}; {what}")


def move_aside(path: Path, word: str, suffixes: tuple[str, ...] = SUFFIXES) -> Path | None:
    """Rename a journal and its log to NAME.WORD-TIME and return the new path; None when there was none."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target, count = path.with_name(f"{path.name}.{word}-{stamp}"), 1
    while target.exists():
        count += 1
        target = path.with_name(f"{path.name}.{word}-{stamp}-{count}")
    existed = path.exists()
    for suffix in suffixes:
        if os.path.lexists(f"{path}{suffix}"):
            os.rename(f"{path}{suffix}", f"{target}{suffix}")
    return target if existed else None


def _remove(path: Path) -> None:
    for suffix in (*SUFFIXES, "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
