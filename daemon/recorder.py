"""From the kernel's ring into the journal, beside the daemon's own records.

The journal may be in trouble (full disk) without hurting anybody: violations stay in the ring, where the kernel counts
what finds no more room, the daemon's own records wait in memory, and both are tried again later.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Sequence

from .bypassers import is_to_be_killed, kill
from .changes import said
from .control.loop import Loop
from .control.timer import Timer, boot_time_s
from .errors import JournalError
from .events.decode import Hit
from .events.describe import Describer
from .events.intake import Intake
from .journal.gaps import note_gap, note_losses
from .journal.record import Record
from .journal.sinks import Feed, JsonLines, Sink, journald
from .journal.store import Journal
from .naming import Naming
from .paths import Settings
from .signing import Signing

if TYPE_CHECKING:
    from .programs.enforcer import Enforcer

ROUNDS = 2                  # batches before others in the loop have their turn
DETAILED = 64               # violations of a batch that are looked up in /proc
NOTES_MAX = 10_000
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
HEARTBEAT_S = 60.0
LOSSES_FIRST_S, LOSSES_MAX_S = 1.0, 60.0    # between looks at the kernel's counters while records come
RETAIN_EVERY = 10_000       # records
RETAIN_BYTES = 1 << 30
RETAIN_AGE_S = 400 * 24 * 3600.0
JOURNALD = Path("/run/systemd/journal/socket")
JSON_LINES = "NBSPD_JSON_LINES"     # environment: the file of the sink
GAP_CAUSES = {"stop": "the daemon was stopped", "detach": "enforcement was detached"}


class Words:
    """Describes each hit with the names of its own generation, and kills where the rule says so."""

    def __init__(self, naming: Naming) -> None:
        self.naming = naming
        self.describer: Describer[Record] = Describer(Record, naming.latest)

    def describe_all(self, hits: Sequence[Hit]) -> list[Record]:
        """Return the records of a batch; in a flood only the first ones are looked up in /proc."""
        records = []
        for index, hit in enumerate(hits):
            self.describer.names = names = self.naming.of(hit.generation)
            record = self.describer.describe(hit, is_brief=index >= DETAILED)
            if is_to_be_killed(hit, names.rules.get(hit.rule)) and kill(hit):
                record = replace(record, verdict="killed")
            records.append(record)
        return records


class Recorder:
    """Owns the journal and its sinks, and the reading of the ring."""

    def __init__(self, settings: Settings, loop: Loop, naming: Naming) -> None:
        self.settings = settings
        self.loop = loop
        self.naming = naming
        self.words = Words(naming)
        self.journal: Journal | None = None
        self.feed: Feed | None = None
        self.enforcer: Enforcer | None = None
        self.was_enforced = self.has_others = False     # when the enforcer started
        self.intake: Intake[Record] | None = None       # None: not begun, or not yet accounted for the gap before
        self.notes: list[Record] = []
        self.notes_dropped = 0
        self.trouble = ""
        self.failures = 0           # how often the journal could not be written
        self.delay_s = 0.0
        self.beat_at_s = 0.0
        self.since_retain = 0
        self.losses_delay_s = LOSSES_FIRST_S
        self.looked_ns = time.time_ns()     # at the counters of losses
        self.on_written: Callable[[], None] = lambda: None
        self.windows, self.retry, self.losses = Timer("boot"), Timer(), Timer()
        self.signing = Signing(settings.state, self.note)
        for timer, handler in ((self.windows, self.on_windows), (self.retry, self.on_retry),
                               (self.losses, self.on_losses), (self.signing.timer, self.on_sign)):
            loop.watch(timer, handler)

    # -- beginnings and ends

    def open(self) -> None:
        """Open the journal. When that fails, it is tried again later."""
        try:
            self.journal = Journal(self.settings.journal)
            self.feed = Feed(self.journal, sinks())
        except JournalError as error:
            self.fail(error)

    def attach(self, enforcer: Enforcer) -> None:
        """Listen to an enforcer's ring; to be called before it applies anything."""
        self.enforcer = enforcer
        self.was_enforced = enforcer.active_generation() != 0
        self.has_others = len(list(self.settings.pins.glob("links-*"))) > 1
        if not self.trouble:
            self.loop.watch(enforcer.ring, self.on_ring)

    def detach(self) -> None:
        """Read what is left and stop listening; the enforcer is about to be closed."""
        self.write(is_last=True)
        self.sign()
        if self.enforcer is not None:
            self.loop.forget(self.enforcer.ring)
        self.enforcer = self.intake = None

    def close(self, last: Record) -> None:
        """Write everything down, with a last record, sign it, and close the journal."""
        self.write(is_last=True)
        self.note(last)
        self.write()
        self.sign()
        if self.trouble:
            print(f"nbspd: {self.trouble}; the end of the journal is missing", file=sys.stderr, flush=True)
        if self.enforcer is not None:
            self.loop.forget(self.enforcer.ring)
        self.enforcer = self.intake = None
        if self.journal is not None:
            self.journal.close()
            self.journal = self.feed = None
        for timer in (self.windows, self.retry, self.losses, self.signing.timer):
            self.loop.forget(timer)
            timer.close()

    # -- what wakes it

    def on_ring(self, _events: int) -> None:
        """Records wait."""
        self.write()
        if not self.losses.is_armed:
            self.losses.after(self.losses_delay_s)

    def on_windows(self, _events: int) -> None:
        """A window of repeats is over."""
        self.windows.read()
        self.write()

    def on_losses(self, _events: int) -> None:
        """A moment after records came: see whether the kernel had room for all of them."""
        self.losses.read()
        self.losses.cancel()
        self.notice_losses()

    def on_sign(self, _events: int) -> None:
        """Records have been unsigned for long enough."""
        self.signing.timer.read()
        self.sign()

    def on_retry(self, _events: int) -> None:
        """Try the journal again."""
        self.retry.read()
        self.retry.cancel()
        if self.journal is None:
            self.open()
        self.write()

    def beat(self) -> None:
        """Note that the daemon lives, at most once a minute; to be called when it is awake anyway."""
        if self.journal is None or self.trouble or boot_time_s() < self.beat_at_s:
            return
        self.beat_at_s = boot_time_s() + HEARTBEAT_S
        try:
            self.journal.heartbeat()
        except JournalError as error:
            self.fail(error)

    # -- writing

    def note(self, record: Record) -> None:
        """Take a record of the daemon's own; it is written with the next write()."""
        if len(self.notes) >= NOTES_MAX:
            self.notes_dropped += 1
        else:
            self.notes.append(record)

    def write(self, is_last: bool = False) -> None:
        """Write what waits: notes, and some batches from the ring or, with `is_last`, all there is of it."""
        if self.journal is None:
            return
        try:
            before = self.journal.last_seq()
            self.write_all(self.journal, is_last)
            count = self.journal.last_seq() - before
        except JournalError as error:
            self.fail(error)
            return
        self.recovered()
        self.arm_windows()
        if count:
            self.deliver(self.journal, count)
        if self.signing.is_due(self.journal):
            self.sign()

    def load_key(self) -> None:
        """Have the host's key ready, made at the first start; what is to be said of it goes with the next signature."""
        if self.journal is not None and not self.trouble:
            self.signing.load(self.journal)

    def sign(self) -> None:
        """Sign the journal as it is now. When it cannot be written, that is tried again later with everything else."""
        if self.journal is None or self.trouble:
            return
        try:
            count = self.signing.sign(self.journal, self.enforcer.counters() if self.enforcer is not None else {})
        except JournalError as error:
            self.fail(error)
            return
        if count:
            self.deliver(self.journal, count)

    def write_all(self, journal: Journal, is_last: bool) -> None:
        """Do it. Raises JournalError; what is not written stays where it is."""
        if self.intake is None and self.enforcer is not None:
            self.intake = self.begin_intake(journal, self.enforcer)
        if self.notes:
            count = len(self.notes)
            journal.append(self.notes)
            del self.notes[:count]
        if self.intake is None:
            return
        rounds = 0
        while self.intake.step().hits and (is_last or rounds < ROUNDS):
            rounds += 1
        if is_last:
            self.intake.close_windows()
            self.notice_losses()

    def begin_intake(self, journal: Journal, enforcer: Enforcer) -> Intake[Record]:
        """Account for what happened while nobody was reading, then begin to read. Raises JournalError."""
        journal.begin_epoch(enforcer.epoch)
        cause, since_ns, now_ns = self.gap_cause(journal), journal.last_alive_ns(), time.time_ns()
        intake = Intake(enforcer.ring, journal, self.words, lambda text: said("degraded", text))
        if self.was_enforced:
            intake.resume()
            note_gap(journal, enforcer.counters(), self.naming.rules(), cause, intake.unread())
        elif since_ns:
            text = ("programs of another version enforced; what they counted since is not known"
                    if self.has_others else "nothing was enforced")
            journal.append([Record("gap", now_ns, text=text, cause=cause, from_ns=since_ns, to_ns=now_ns)])
        self.looked_ns = now_ns
        return intake

    @staticmethod
    def gap_cause(journal: Journal) -> str:
        """Return why nobody was reading: the last thing that the daemon before said."""
        last = [record.kind for record in journal.query(kinds=("start", "stop", "detach"), limit=1)]
        return GAP_CAUSES.get(last[-1] if last else "", "the daemon before did not stop in an orderly way")

    def notice_losses(self) -> None:
        """Journal what the kernel lost since the last look because the ring was full."""
        if self.journal is None or self.enforcer is None or self.intake is None:
            return
        since_ns, self.looked_ns = self.looked_ns, time.time_ns()
        try:
            lost = note_losses(self.journal, self.enforcer.counters(), self.naming.rules(), since_ns)
        except JournalError as error:
            self.fail(error)
            return
        if lost is None:
            self.losses_delay_s = LOSSES_FIRST_S
        else:                       # a flood that lasts is not told of every second
            self.losses_delay_s = min(2 * self.losses_delay_s, LOSSES_MAX_S)
            self.deliver(self.journal, 1)

    def deliver(self, journal: Journal, count: int) -> None:
        """Hand on what is new: to the sinks, and to those who follow the journal; and keep the journal in bounds."""
        if self.feed is not None:
            self.feed.run()
        self.since_retain += max(count, 0)
        if self.since_retain >= RETAIN_EVERY:
            self.since_retain = 0
            try:
                journal.retain(RETAIN_BYTES, RETAIN_AGE_S)
            except JournalError as error:
                self.fail(error)
        self.on_written()

    def arm_windows(self) -> None:
        """Wake when the next window with repeats is over."""
        deadline_ns = self.intake.next_deadline_ns() if self.intake is not None else None
        if deadline_ns is None:
            self.windows.cancel()
        else:
            self.windows.at(deadline_ns / 1e9)

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
        self.windows.cancel()
        self.retry.after(self.delay_s)

    def recovered(self) -> None:
        """The journal can be written again: listen to the ring again, and say what was the matter."""
        if not self.trouble:
            return
        self.note(said("degraded", f"the journal could not be written for a while: {self.trouble}"))
        self.trouble, self.delay_s = "", 0.0
        self.retry.after(RETRY_FIRST_S)     # writes that note
        if self.enforcer is not None:
            self.loop.watch(self.enforcer.ring, self.on_ring)


def sinks() -> list[Sink]:
    """Return where records go besides the journal: journald where it runs, a file where the environment names one."""
    found: list[Sink] = []
    systems = journald() if JOURNALD.exists() else None
    if systems is not None:
        found.append(systems)
    if os.environ.get(JSON_LINES):
        found.append(JsonLines(Path(os.environ[JSON_LINES])))
    return found
