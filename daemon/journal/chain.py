"""The hash chain: every record's hash covers its content and the hash before it.

The chain finds any edit, removal, insertion or reordering of records between its two ends. What it cannot find by
itself is the removal of the newest records, or a whole journal rewritten by somebody who also computes all hashes
again: both need a copy of a later hash that the attacker cannot change, which is what signed checkpoints are for.
Accounting rows are not in the chain; they can be checked against the kernel's counters while these live.
"""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import JournalError
from .record import Record

GENESIS = bytes(32)     # what the first record of a journal has before it
_HEADER = struct.Struct(">QqHH")


@dataclass(frozen=True)
class Verified:
    """An untouched journal: how many records, the first and last numbers, and the last hash."""

    count: int
    first: int
    last: int
    head: str       # hex; of an empty journal, the genesis


class BrokenChain(JournalError):
    """The journal was tampered with or damaged; `seq` is the first bad record, `reason` says how."""

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(f"record {seq}: {reason}",
                         "keep a copy of the file as evidence and treat records from here on as doubtful")
        self.seq = seq
        self.reason = reason


def link(previous: bytes, seq: int, time_ns: int, kind: str, rule: str, body: str) -> bytes:
    """Return the hash of a record that follows the one whose hash is `previous`."""
    kind_bytes, rule_bytes = kind.encode(), rule.encode()
    digest = sha256(previous)
    digest.update(_HEADER.pack(seq, time_ns, len(kind_bytes), len(rule_bytes)))
    digest.update(kind_bytes + rule_bytes + body.encode())
    return digest.digest()


def verify(path: Path) -> Verified:
    """Read the whole journal, a record at a time, and return what it holds.

    Raises BrokenChain at the first record that was edited, removed, inserted or moved (`seq` is then the number that
    is bad or absent), JournalError when the file cannot be read at all.
    """
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            database.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            database.execute("BEGIN")
            return _walk(database)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise JournalError(f"the journal {path} cannot be read: {error}",
                           "check that it exists, that you may read it, and that the disk is sound") from None


def _walk(database: sqlite3.Connection) -> Verified:
    count = first = last = 0
    head = GENESIS
    rows = database.execute("SELECT seq, time_ns, kind, rule, body, prev, hash FROM records ORDER BY seq")
    for seq, *content, previous, stored in rows:
        if count == 0:
            first, head = seq, _before_first(database, seq)
        elif seq != last + 1:
            raise BrokenChain(last + 1, _absent(last + 1, seq - 1))
        _check(database, head, seq, content, previous, stored)
        count, last, head = count + 1, seq, stored
    return Verified(count, first, last, head.hex())


def _before_first(database: sqlite3.Connection, seq: int) -> bytes:
    """Return the hash that the oldest record must follow: the genesis, or what the newest anchor says was dropped."""
    if seq == 1:
        return GENESIS
    if seq < 1:
        raise BrokenChain(seq, "inserted: numbers begin at 1")
    row = database.execute("SELECT body FROM records WHERE kind = 'anchor' ORDER BY seq DESC LIMIT 1").fetchone()
    try:
        anchor = Record.from_json(row[0]) if row and isinstance(row[0], str) else None
        if anchor and anchor.dropped_to == seq - 1:
            return bytes.fromhex(anchor.dropped_hash)
    except (JournalError, ValueError):
        pass
    raise BrokenChain(seq - 1, "removed: older records are missing, and no anchor says that retention dropped them")


def _absent(first: int, last: int) -> str:
    return "removed" if first == last else f"removed, with all records up to {last}"


def _check(database: sqlite3.Connection, head: bytes, seq: int, content: list[Any], previous: Any, stored: Any) -> None:
    """Raise BrokenChain unless this record is intact and follows `head`."""
    if not _is_well_formed(content, previous, stored):
        raise BrokenChain(seq, "edited: a column has the wrong type")
    if link(head, seq, *content) == stored and previous == head:
        return
    if link(previous, seq, *content) == stored:
        raise BrokenChain(seq, "hash mismatch: intact in itself, but it does not follow the record before it, "
                               "which was replaced")
    origin = database.execute("SELECT seq FROM records WHERE hash = ? AND seq != ?", (previous, seq - 1)).fetchone()
    for place in (1, seq - 1, seq + 1, origin[0] + 1 if origin else 1):
        if 0 < place < 1 << 63 and link(previous, place, *content) == stored:
            raise BrokenChain(seq, f"reordered: this is record {place}")
    raise BrokenChain(seq, "edited: its content does not match its hash")


def _is_well_formed(content: list[Any], previous: Any, stored: Any) -> bool:
    time_ns, *texts = content
    return (isinstance(time_ns, int) and isinstance(previous, bytes) and isinstance(stored, bytes)
            and all(isinstance(text, str) and _is_utf8(text) for text in texts) and len(texts[0] + texts[1]) < 16384)


def _is_utf8(text: str) -> bool:
    try:
        return bool(text.encode()) or True
    except UnicodeEncodeError:
        return False
