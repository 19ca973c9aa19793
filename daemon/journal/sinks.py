"""Where records go besides the journal: journald and a file of JSON lines.

The journal is what counts. A sink that fails keeps its place and catches up later; it stops nothing.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Protocol, Sequence

from ..errors import NbspdError
from .record import Record
from .store import Journal

CHUNK = 1000
MESSAGE_ID = "6e62737064764c1f9d1e5f0a7b3c2d10"
PRIORITIES = {"violation": 4, "repeat": 4, "gap": 4, "degraded": 3, "reload-failed": 3, "detach": 4}   # as syslog's
PRIORITY_NOTICE = 5


class Sink(Protocol):
    """Takes records in order; raises when it could not take all of them."""

    name: str

    def write(self, records: Sequence[Record]) -> None: ...     # noqa: E704


@dataclass
class Delivery:
    """How far a sink is, and what is the matter with it ("" for nothing)."""

    sink: Sink
    seq: int
    trouble: str = ""


class Feed:
    """Hands every record of the journal to every sink, in order, from where an earlier run left off."""

    def __init__(self, journal: Journal, sinks: Sequence[Sink]) -> None:
        self._journal = journal
        newest = journal.last_seq()
        self.deliveries = tuple(Delivery(sink, journal.recall(f"sink {sink.name}") or newest) for sink in sinks)

    def run(self) -> None:
        """Deliver what is new; call it after each change of the journal. Raises nothing that it expects."""
        for delivery in self.deliveries:
            try:
                self._deliver(delivery)
                delivery.trouble = ""
            except (OSError, sqlite3.Error, NbspdError) as error:
                delivery.trouble = f"sink {delivery.sink.name} is behind since record {delivery.seq}: {error}"

    def _deliver(self, delivery: Delivery) -> None:
        newest = self._journal.last_seq()
        if delivery.seq > newest:       # the journal was begun anew
            delivery.seq = 0
        while delivery.seq < newest:
            records = self._journal.query(after_seq=delivery.seq, limit=CHUNK)
            if not records:
                break
            delivery.sink.write(records)
            delivery.seq = records[-1].seq
            self._journal.remember(f"sink {delivery.sink.name}", delivery.seq)


class JsonLines:
    """A file with a JSON object a line; made anew when it was rotated away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"jsonl:{path}"

    def write(self, records: Sequence[Record]) -> None:
        """Append all of the records or none. Raises OSError."""
        text = "".join(record.to_json() + "\n" for record in records).encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            try:
                while text:
                    text = text[os.write(descriptor, text):]
            except OSError:
                os.ftruncate(descriptor, size)      # no half lines
                raise
        finally:
            os.close(descriptor)


class Journald:
    """The system's journal; `journalctl -t nbspd`, fields NBSPD_*."""

    name = "journald"

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send

    def write(self, records: Sequence[Record]) -> None:
        """Send each record as a message with structured fields. Raises OSError."""
        for record in records:
            self._send(record.line(), **journald_fields(record))


def journald() -> Journald | None:
    """Return the sink, None where python3-systemd is not installed."""
    try:
        from systemd.journal import send
    except ImportError:
        return None
    return Journald(send)


def journald_fields(record: Record) -> dict[str, str]:
    """Return the fields of a record as journald wants them: names of capitals, values of text."""
    fields = {"MESSAGE_ID": MESSAGE_ID, "SYSLOG_IDENTIFIER": "nbspd", "NBSPD_SEQ": str(record.seq),
              "PRIORITY": str(PRIORITIES.get(record.kind, PRIORITY_NOTICE)), "NBSPD_KIND": record.kind,
              "NBSPD_RULE": record.rule, "NBSPD_VERDICT": record.verdict, "NBSPD_CHANNEL": record.channel,
              "NBSPD_ACTION": record.action, "NBSPD_OBJECT": record.object, "NBSPD_OPERATOR": record.operator,
              "NBSPD_MISSING": " ".join(record.missing), "NBSPD_EXE": record.exe, "NBSPD_UNIT": record.unit,
              "NBSPD_RECORD": record.to_json()}
    if record.pid:
        fields |= {"OBJECT_PID": str(record.pid), "NBSPD_UID": str(record.uid), "NBSPD_COUNT": str(record.count)}
    if record.generation:
        fields["NBSPD_GENERATION"] = str(record.generation)
    return {name: value for name, value in fields.items() if value}
