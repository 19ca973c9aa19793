"""Signatures of the journal: what is signed, and what a journal that is read through must agree with.

A signature is a record. It covers every record before it, by the hash of the last one, and the accounts as they were:
how many violations, repeats and losses the journal had written by then. So whoever cuts records off the end must also
set the accounts back, and whoever rewrites the chain needs the host's key.
"""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, NamedTuple, Sequence

from ..errors import JournalError
from .record import Record, Signed

if TYPE_CHECKING:
    from .keys import PublicKey     # brings cryptography along, which only those need who check

DOMAIN = b"nbspd journal signature 1\n"
COUNTED = frozenset(("violation",))     # records of which the accounts count each one as journaled


class Written(NamedTuple):
    """How much the accounts say that the journal has written, in all epochs."""

    violations: int
    repeats: int
    losses: int


Sign = Callable[[int, bytes, Written], Record]      # the last record's number and hash, and the accounts -> a signature


class Flaw(Exception):
    """A record that contradicts the signatures; the text says how."""


def written(database: sqlite3.Connection) -> Written:
    """Return what the tables of a journal say that it has written. Raises sqlite3.Error, TypeError."""
    journaled, coalesced, lost = database.execute(
        "SELECT coalesce(sum(journaled), 0), coalesce(sum(coalesced), 0), coalesce(sum(kernel_lost + gone), 0) "
        "FROM accounts").fetchone()
    pending, = database.execute("SELECT coalesce(sum(count), 0) FROM bursts").fetchone()
    if not all(isinstance(number, int) for number in (journaled, coalesced, lost, pending)):
        raise TypeError("not all of it are whole numbers")
    return Written(journaled, coalesced - pending, lost)


def message(signed: Signed, time_ns: int) -> bytes:
    """Return the bytes that are signed."""
    statement = {**signed._asdict(), "time_ns": time_ns}
    del statement["signature"]
    return DOMAIN + json.dumps(statement, sort_keys=True, separators=(",", ":")).encode("ascii")


@dataclass
class Signatures:
    """Looks at each record of a journal, in order, after the chain has found it intact."""

    keys: Sequence[PublicKey] = ()
    count: int = 0                                      # of signatures by one of the keys; without keys, of all
    last: Signed | None = None                          # the newest of them
    last_ns: int = 0
    strangers: dict[str, int] = field(default_factory=dict)     # keys that nobody named -> their newest record
    newest: Signed | None = None                        # the newest signature, by whoever
    since: Written = Written(0, 0, 0)                   # written since then

    def take(self, seq: int, kind: str, body: str, head: bytes) -> None:
        """Look at a record; `head` is the hash of the one before. Raises Flaw."""
        if kind in COUNTED:
            self.since = self.since._replace(violations=self.since.violations + 1)
        elif kind in ("repeat", "gap", "signature"):
            record = _read(body)
            if kind == "repeat":
                self.since = self.since._replace(repeats=self.since.repeats + record.count)
            elif kind == "gap":
                lost = sum(row.lost + row.gone for row in record.gaps)
                self.since = self.since._replace(losses=self.since.losses + lost)
            else:
                self._take_signature(seq, record, head)

    def _take_signature(self, seq: int, record: Record, head: bytes) -> None:
        signed = record.signed
        if signed is None:
            raise Flaw("a signature without a signature")
        if signed.to != seq - 1 or signed.head != head.hex():
            raise Flaw(f"a signature of other records: of record {signed.to} with the hash {signed.head[:16]}…")
        key = next((key for key in self.keys if key.id == signed.key), None)
        if key is not None and not _is_valid(key, signed, record.time_ns):
            raise Flaw(f"the signature by {signed.key} is false")
        if key is None and self.keys:
            self.strangers[signed.key] = seq
        else:
            self.count, self.last, self.last_ns = self.count + 1, signed, record.time_ns
        self.newest, self.since = signed, Written(0, 0, 0)

    def check_end(self, written: Written | None) -> None:
        """Compare the end of the journal with the keys and with its tables of accounts. Raises Flaw."""
        if self.keys and self.last is None:
            names = " or ".join(key.id for key in self.keys)
            others = f"; it is signed by {', '.join(self.strangers)}" if self.strangers else ""
            raise Flaw(f"nothing in it is signed by {names}{others}: another host's journal, or one written anew")
        late = {key: seq for key, seq in self.strangers.items() if self.last is None or seq > self.last.to + 1}
        if late:
            key, seq = next(iter(late.items()))
            raise Flaw(f"up to record {seq} it is signed by {key}, which is no key that you named: the host's key was "
                       "replaced (records of the kind key say so), or somebody else wrote these records")
        if self.newest is not None and written is not None:
            self._compare(self.newest, written)

    def _compare(self, signed: Signed, written: Written) -> None:
        for name, then, more, now in zip(Written._fields, signed[-4:-1], self.since, written):
            if then + more != now:
                fate = "records were cut off the end" if now > then + more else "the accounts were set back"
                raise Flaw(f"the accounts count {now} {name}, but there were {then} at the last signature and there "
                           f"are {more} since: {fate}, or the accounts were changed")


def _read(body: str) -> Record:
    try:
        return Record.from_json(body)
    except JournalError as error:
        raise Flaw(error.cause) from None


def _is_valid(key: PublicKey, signed: Signed, time_ns: int) -> bool:
    try:
        signature = base64.b64decode(signed.signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return key.is_signature(signature, message(signed, time_ns))
