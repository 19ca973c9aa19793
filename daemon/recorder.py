"""From the kernel's ring into the journal, so that every hit is accounted for once.

A batch goes: read from the ring, sort into first ones and repeats, write in one transaction, and only then give the
room back to the kernel and remember the windows. When the journal cannot be written, the records stay in the ring and
the daemon tries again later; the kernel counts what finds no room there.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections import Counter
from pathlib import Path

from typing import TYPE_CHECKING, Callable, Mapping

from . import abi
from .changes import said
from .control.loop import Loop
from .control.timer import Timer, boot_time_s
from .errors import JournalError
from .events.coalesce import Coalescer, Taken
from .events.decode import decode
from .events.describe import Describer
from .generations import boot_id
from .journal.gaps import note_gap, note_losses
from .journal.record import Record
from .journal.sinks import Feed, JsonLines, Sink, journald
from .journal.store import Journal, JournalReplaced
from .naming import Naming
from .paths import Settings

if TYPE_CHECKING:
    from .programs.enforcer import Enforcer

BATCH = 1024                # records a transaction
ROUNDS = 4                  # batches before others in the loop have their turn
DETAILED = 64               # violations a batch that are looked up in /proc
NOTES_MAX = 10_000
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
HEARTBEAT_S = 60.0
RETAIN_EVERY = 10_000       # records
RETAIN_BYTES = 1 << 30
RETAIN_AGE_S = 400 * 24 * 3600.0
FAR_FUTURE_NS = 1 << 62
LOSSES_EVERY_S = 1.0        # how often the kernel's counters are looked at while records come
JOURNALD = Path("/run/systemd/journal/socket")
JSON_LINES = "NBSPD_JSON_LINES"     # environment: the file of the sink
GAP_CAUSES = {"stop": "the daemon was stopped", "detach": "enforcement was detached"}
RULE = struct.Struct("=I")


class Recorder:
    """Owns the journal, the ring and the windows of repeats."""

    def __init__(self, settings: Settings, loop: Loop, naming: Naming) -> None:
        self.settings = settings
        self.loop = loop
        self.naming = naming
        self.describer = Describer(Record, naming.latest)
        self.coalescer = Coalescer()
        self.journal: Journal | None = None
        self.feed: Feed | None = None
        self.enforcer: Enforcer | None = None
        self.notes: list[Record] = []
        self.notes_dropped = 0
        self.trouble = ""
        self.failures = 0           # how often the journal could not be written
        self.delay_s = 0.0
        self.beat_at_s = 0.0
        self.written = 0
        self.is_gap_due = False
        self.looked_ns = time.time_ns()     # at the counters of losses
        self.on_written: Callable[[], None] = lambda: None
        self.windows, self.retry, self.losses = Timer("boot"), Timer(), Timer()
        loop.watch(self.losses, self.on_losses)
        loop.watch(self.windows, self.on_windows)
        loop.watch(self.retry, self.on_retry)

    # -- beginnings

    def open(self) -> None:
        """Open the journal. When that fails, it is tried again later."""
        try:
            self.journal = Journal(self.settings.journal)
            self.feed = Feed(self.journal, sinks())
            if self.enforcer is not None:
                self.journal.epoch = self.epoch(self.enforcer)
        except JournalError as error:
            self.fail(error)

    def attach(self, enforcer: Enforcer) -> None:
        """Listen to an enforcer's ring; what happened while nobody did becomes a gap record."""
        self.enforcer = enforcer
        self.coalescer.reset()
        self.is_gap_due = True
        self.loop.watch(enforcer.ring, self.on_ring)
        if self.journal is not None:
            self.journal.epoch = self.epoch(enforcer)

    def detach(self) -> None:
        """Read what is left and stop listening; the enforcer is about to be closed."""
        self.drain(last=True)
        if self.enforcer is not None:
            self.loop.forget(self.enforcer.ring)
            self.enforcer = None
        self.write()

    @staticmethod
    def epoch(enforcer: Enforcer) -> str:
        """Return what the kernel's counters belong to: this boot and these maps."""
        return f"{boot_id()}:{enforcer.epoch}"

    # -- what wakes it

    def on_ring(self, _events: int) -> None:
        """Records wait."""
        self.drain()
        if not self.losses.is_armed:
            self.losses.after(LOSSES_EVERY_S)

    def on_losses(self, _events: int) -> None:
        """A moment after records came: see whether the kernel had room for all of them."""
        self.losses.read()
        self.losses.cancel()
        self.notice_lost()

    def on_windows(self, _events: int) -> None:
        """A window of repeats is over."""
        self.windows.read()
        self.windows.cancel()
        self.write()

    def on_retry(self, _events: int) -> None:
        """Try the journal again."""
        self.retry.read()
        self.retry.cancel()
        if self.journal is None:
            self.open()
        self.drain()
        self.write()

    def beat(self) -> None:
        """Note that the daemon lives, at most once a minute; to be called when it is awake anyway."""
        now_s = boot_time_s()
        if self.journal is None or self.trouble or now_s < self.beat_at_s:
            return
        self.beat_at_s = now_s + HEARTBEAT_S
        try:
            self.journal.heartbeat()
        except JournalError as error:
            self.fail(error)

    # -- writing

    def note(self, record: Record) -> None:
        """Take a record of the daemon's own; it is written with the next batch."""
        if len(self.notes) >= NOTES_MAX:
            self.notes_dropped += 1
        else:
            self.notes.append(record)

    def drain(self, last: bool = False) -> None:
        """Move what is in the ring to the journal: some batches, or with `last` all there is."""
        if self.enforcer is None:
            return
        for _ in range(1 << 30 if last else ROUNDS):
            if not self.prepare_gap():
                return
            raw = self.enforcer.ring.records(BATCH)
            if not raw or not self.write(raw):
                return

    def write(self, raw: list[bytes] | None = None) -> bool:
        """Write a batch of ring records, the notes and the windows that are over; returns whether that succeeded."""
        if self.journal is None:
            return False
        if raw is None and not self.prepare_gap():
            return False
        try:
            self.append(self.journal, raw or [])
        except JournalReplaced:
            self.coalescer.reset()
            return self.again(raw)
        except JournalError as error:
            self.rewind()
            self.fail(error)
            return False
        self.recovered()
        self.on_written()
        return True

    def again(self, raw: list[bytes] | None) -> bool:
        """Write a batch once more, after the journal was begun anew."""
        assert self.journal is not None
        try:
            self.append(self.journal, raw or [])
        except JournalError as error:
            self.rewind()
            self.fail(error)
            return False
        self.recovered()
        self.on_written()
        return True

    def append(self, journal: Journal, raw: list[bytes], until_ns: int | None = None) -> None:
        """Write one transaction and, once it is on disk, remember it. Raises JournalError, and nothing changed."""
        now_ns = int(boot_time_s() * 1e9)
        taken = self.coalescer.take(raw, now_ns) if raw else Taken()
        due = self.coalescer.due(now_ns if until_ns is None else until_ns)
        notes = self.notes[:]
        if taken.malformed:
            notes.append(said("degraded", f"{taken.malformed} records of the kernel have a strange size and cannot be "
                                          "read: the pinned programs are another version's"))
        records = notes + self.describe(taken.first)
        if not (records or taken.repeats or due.closing or raw):
            self.coalescer.forget(due.keys)
            return
        ring = self.enforcer.ring if self.enforcer is not None else None
        position = ring.position if ring is not None else None
        shifted = {index + len(notes): tally for index, tally in taken.new_repeats.items()}
        seqs = journal.append(records, ring_position=position, accounting=taken.accounting, repeats=taken.repeats,
                              new_repeats=shifted, closing=due.closing)
        self.notes = []
        self.coalescer.forget(due.keys)
        self.coalescer.keep(taken, seqs[len(notes):], now_ns)
        if ring is not None and position is not None:
            ring.advance(position)
        self.written += len(records)
        self.arm_windows()
        if self.feed is not None:
            self.feed.run()
        if self.written >= RETAIN_EVERY:
            self.written = 0
            journal.retain(RETAIN_BYTES, RETAIN_AGE_S)

    def describe(self, raw: list[bytes]) -> list[Record]:
        """Return violations in words; in a flood only the first of a batch are looked up in /proc."""
        records = []
        for index, record in enumerate(raw):
            hit = decode(record)
            self.describer.names = self.naming.of(hit.generation)
            records.append(self.describer.describe(hit, is_brief=index >= DETAILED))
        return records

    def arm_windows(self) -> None:
        """Wake when the next window with repeats is over."""
        deadline_ns = self.coalescer.next_deadline_ns()
        if deadline_ns is None:
            self.windows.cancel()
        else:
            self.windows.at(deadline_ns / 1e9)

    # -- gaps and losses

    def prepare_gap(self) -> bool:
        """After an attach: account for what happened while nobody was reading. Returns False when that must wait."""
        if not self.is_gap_due:
            return True
        if self.journal is None or self.enforcer is None:
            return False
        try:
            self.write_gap(self.journal, self.enforcer)
        except JournalError as error:
            self.rewind()
            self.fail(error)
            return False
        self.is_gap_due = False
        return True

    def write_gap(self, journal: Journal, enforcer: Enforcer) -> None:
        """Journal what was counted in the meantime, or that nothing was enforced. Raises JournalError."""
        self.skip_journaled(journal, enforcer)
        since_ns, now_ns, cause = journal.last_alive_ns(), time.time_ns(), self.gap_cause(journal)
        if enforcer.report.adopted:
            counters, unread = enforcer.counters(), self.count_unread(enforcer)
            note_gap(journal, counters, self.naming.rules(), cause, unread)
        elif since_ns:
            journal.append([Record("gap", now_ns, text="nothing was enforced", cause=cause, from_ns=since_ns,
                                   to_ns=now_ns)])

    def gap_cause(self, journal: Journal) -> str:
        """Return why nobody was reading: the last thing that the daemon before said."""
        last = [record.kind for record in journal.query(kinds=("start", "stop", "detach"), limit=1)]
        return GAP_CAUSES.get(last[-1] if last else "", "the daemon before did not stop in an orderly way")

    @staticmethod
    def skip_journaled(journal: Journal, enforcer: Enforcer) -> None:
        """Pass over what a daemon journaled that died before it could give the room back."""
        position = journal.ring_position()
        ring = enforcer.ring
        while position is not None and ring.position < position and ring.records(1):
            pass
        ring.advance(ring.position)

    @staticmethod
    def count_unread(enforcer: Enforcer) -> Mapping[int, int]:
        """Return how many records of each rule wait in the ring, without taking them."""
        count: Counter[int] = Counter()
        offset = abi.Violation.rule.offset
        while batch := enforcer.ring.records(BATCH):
            count.update(RULE.unpack_from(record, offset)[0] for record in batch if len(record) > offset + 4)
        enforcer.ring.rewind()
        return count

    def notice_lost(self) -> None:
        """Journal what the kernel lost since the last look because the ring was full."""
        if self.journal is None or self.enforcer is None or self.trouble or self.is_gap_due:
            return
        since_ns, self.looked_ns = self.looked_ns, time.time_ns()
        try:
            note_losses(self.journal, self.enforcer.counters(), self.naming.rules(), since_ns)
        except JournalError as error:
            self.fail(error)

    # -- trouble

    def fail(self, error: JournalError) -> None:
        """The journal cannot be written: leave everything where it is, say so, try again later."""
        self.failures += 1
        if not self.trouble:
            print(f"nbspd: {error}; records wait in the kernel", file=sys.stderr, flush=True)
        self.trouble = str(error)
        self.delay_s = min(self.delay_s * 2 or RETRY_FIRST_S, RETRY_MAX_S)
        if self.enforcer is not None:
            self.loop.forget(self.enforcer.ring)
        self.retry.after(self.delay_s)

    def recovered(self) -> None:
        """The journal can be written again."""
        if self.trouble:
            self.note(said("degraded", f"the journal could not be written for a while: {self.trouble}"))
            self.trouble, self.delay_s = "", 0.0
            if self.enforcer is not None:
                self.loop.watch(self.enforcer.ring, self.on_ring)

    def rewind(self) -> None:
        """Read again what was not written."""
        if self.enforcer is not None:
            self.enforcer.ring.rewind()

    # -- end

    def close(self, last: Record) -> None:
        """Write everything down, with a last record, and close the journal."""
        self.drain(last=True)
        self.notice_lost()
        self.note(last)
        if self.journal is not None:
            try:
                self.append(self.journal, [], FAR_FUTURE_NS)
            except JournalError as error:
                print(f"nbspd: {error}; the end of the journal is missing", file=sys.stderr, flush=True)
            self.journal.close()
            self.journal = None
        for timer in (self.windows, self.retry, self.losses):
            self.loop.forget(timer)
            timer.close()
        if self.enforcer is not None:
            self.loop.forget(self.enforcer.ring)
            self.enforcer = None


def sinks() -> list[Sink]:
    """Return where records go besides the journal: journald where it runs, a file where the environment names one."""
    found: list[Sink] = []
    systems = journald() if JOURNALD.exists() else None
    if systems is not None:
        found.append(systems)
    if os.environ.get(JSON_LINES):
        found.append(JsonLines(Path(os.environ[JSON_LINES])))
    return found
