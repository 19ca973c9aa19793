"""The hash chain: every record's hash covers its content and the hash before it.

The chain finds any edit, removal, insertion or reordering of records between its two ends. The host's signatures among
the records (signatures.py) find a chain that was written anew with all its hashes, and another host's journal; the
tables of accounts, which the signatures cover, find records that were cut off the end; and an anchor that was kept
elsewhere (anchors.py) finds all of that and an older copy, too. What follows the last signature can be written anew by
whoever also sets the accounts, unless an anchor is of that time.
"""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

from ..errors import JournalError
from .anchors import Anchor
from .copies import opened
from .record import Record
from .signatures import Flaw, Signatures, Written, written

if TYPE_CHECKING:
    from .keys import PublicKey

GENESIS = bytes(32)     # what the first record of a journal has before it
_HEADER = struct.Struct(">QqHH")


@dataclass(frozen=True)
class Verified:
    """An untouched journal: how many records, the first and last numbers, the last hash, and who vouches for it."""

    count: int
    first: int
    last: int
    head: str           # hex; of an empty journal, the genesis
    signatures: int = 0
    signed_to: int = 0  # everything up to this record is covered by a signature
    signed_ns: int = 0
    signed_by: str = ""     # id of the key
    is_checked: bool = False        # by a public key; else nobody knows whether the signatures are true
    strangers: tuple[str, ...] = ()     # keys that nobody named; they signed before the last signature that was checked
    anchors: int = 0


class BrokenChain(JournalError):
    """The journal was tampered with or damaged; `seq` is the first bad record, `reason` says how."""

    def __init__(self, seq: int, reason: str, where: str = "") -> None:
        super().__init__(f"{where or f'record {seq}'}: {reason}",
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


def verify(path: Path, keys: Sequence[PublicKey] = (), anchors: Sequence[Anchor] = ()) -> Verified:
    """Read the whole journal, a record at a time, and return what it holds.

    Raises BrokenChain at the first record that was edited, removed, inserted or moved (`seq` is then the number that
    is bad or absent) or that contradicts a signature, the accounts or an anchor; JournalError when the file cannot be
    read at all.
    """
    with opened(path) as database:
        return verify_database(database, keys, anchors)


def verify_database(database: sqlite3.Connection, keys: Sequence[PublicKey] = (),
                    anchors: Sequence[Anchor] = ()) -> Verified:
    """Do it with a journal that is open. Raises BrokenChain, sqlite3.Error."""
    signatures = Signatures(keys)
    count = first = last = 0
    head = GENESIS
    wanted = {anchor.seq: anchor for anchor in anchors}
    if len(wanted) != len(set(anchors)):
        raise JournalError("two anchors are of one record and differ", "one of them is of another journal")
    rows = database.execute("SELECT seq, time_ns, kind, rule, body, prev, hash FROM records ORDER BY seq")
    for seq, *content, previous, stored in rows:
        if count == 0:
            first, head = seq, _before_first(database, seq)
        elif seq != last + 1:
            raise BrokenChain(last + 1, _absent(last + 1, seq - 1))
        _check(database, head, seq, content, previous, stored)
        try:
            signatures.take(seq, content[1], content[3], head)
        except Flaw as flaw:
            raise BrokenChain(seq, str(flaw)) from None
        if seq in wanted:
            _compare(wanted.pop(seq), stored.hex())
        count, last, head = count + 1, seq, stored
    _check_missing(database, wanted, first, last)
    _check_end(database, signatures, last)
    signed = signatures.last
    return Verified(count, first, last, head.hex(), signatures.count, signed.to if signed else 0, signatures.last_ns,
                    signed.key if signed else "", bool(keys), tuple(signatures.strangers), len(set(anchors)))


def _check_end(database: sqlite3.Connection, signatures: Signatures, last: int) -> None:
    """Compare the end of the journal with the keys and the tables. Raises BrokenChain."""
    try:
        signatures.check_end(_written(database) if signatures.newest is not None else None)
    except Flaw as flaw:
        raise BrokenChain(last + 1, str(flaw), "the end of the journal") from None


def _written(database: sqlite3.Connection) -> Written:
    """Return what the tables say that the journal has written. Raises Flaw."""
    try:
        return written(database)
    except (sqlite3.DatabaseError, TypeError, ValueError) as error:
        raise Flaw(f"the tables of accounts cannot be read: {error}") from None


def _compare(anchor: Anchor, found: str) -> None:
    if anchor.hash != found:
        raise BrokenChain(anchor.seq, f"it is not the record of the anchor (hash {found[:16]}… instead of "
                                      f"{anchor.hash[:16]}…): another journal, or one written anew")


def _check_missing(database: sqlite3.Connection, wanted: dict[int, Anchor], first: int, last: int) -> None:
    """Say what became of anchors whose records are not there. Raises BrokenChain, JournalError."""
    for anchor in sorted(wanted.values()):
        if anchor.seq > last:
            raise BrokenChain(last + 1, f"the anchor was taken at record {anchor.seq}: records were cut off the end, "
                                        "or this is an older copy", "the end of the journal")
        if anchor.seq == first - 1:
            _compare(anchor, _before_first(database, first).hex())
        else:
            raise JournalError(f"record {anchor.seq}, of which the anchor is, was dropped by retention: the journal "
                               f"begins at record {first}", "compare with a newer anchor: nbsp journal anchor")


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
