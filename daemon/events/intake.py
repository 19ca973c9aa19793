"""The way of a violation: ring, coalescer, words, one transaction of the journal, and only then the ring's room back.

Whatever fails on the way, the records are still in the ring and nothing is counted. Killed between the transaction
and giving the room back, the next run finds the ring position in the journal and skips what is there already.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Generic, Mapping, Protocol, Sequence, TypeVar

from ..errors import NbspdError
from .coalesce import Coalescer, Due, Taken
from .decode import Hit, decode

BATCH = 1024     # a batch of as many different hits takes about 5 MB

R = TypeVar("R")


class Ring(Protocol):
    """The reading end of the kernel's ring buffer."""

    @property
    def position(self) -> int: ...                                  # noqa: E704

    def records(self, max_records: int) -> list[bytes]: ...         # noqa: E704

    def advance(self, position: int) -> None: ...                   # noqa: E704

    def rewind(self) -> None: ...                                   # noqa: E704


class Journal(Protocol):
    """Where records go."""

    lineage: int

    def append(self, records: Sequence[Any], *, ring_position: int | None = None,       # noqa: E704
               accounting: Mapping[int, tuple[int, int]] | None = None,
               repeats: Mapping[int, tuple[int, int, int]] | None = None,
               new_repeats: Mapping[int, tuple[int, int, int]] | None = None,
               closing: Sequence[int] = ()) -> tuple[int, ...]: ...

    def ring_position(self) -> int | None: ...                      # noqa: E704


class Describer(Protocol[R]):
    """What turns hits into records."""

    def describe_all(self, hits: Sequence[Hit]) -> list[R]: ...     # noqa: E704


@dataclass(frozen=True)
class Batch(Generic[R]):
    """What one step did: how many hits left the ring, and the records written, with their numbers."""

    hits: int
    records: tuple[tuple[int, R], ...]


class Intake(Generic[R]):
    """Brings hits from the ring into the journal.

    `degraded` makes the record that says, in words, that the kernel's records could not all be understood.
    """

    def __init__(self, ring: Ring, journal: Journal, describer: Describer[R], degraded: Callable[[str], R],
                 coalescer: Coalescer | None = None) -> None:
        self._ring = ring
        self._journal = journal
        self._describer = describer
        self._degraded = degraded
        self._coalescer = coalescer or Coalescer()
        self._lineage = journal.lineage

    def resume(self) -> int:
        """Skip what an earlier run has journaled already and return how many hits that were; call once at start."""
        done, count = self._journal.ring_position(), 0
        start = self._ring.position
        if done is None or done <= start:
            return 0
        while self._ring.position < done:
            before = self._ring.position
            count += len(self._ring.records(1))
            if self._ring.position == before:
                break
        if self._ring.position != done:
            at = self._ring.position
            self._ring.rewind()
            self._journal.append([self._degraded(
                f"the journal ends at position {done} of the ring, which has {start} to {at}: "
                "records up to there may be journaled twice")])
            return 0
        self._ring.advance(done)
        return count

    def step(self, max_hits: int = BATCH) -> Batch[R]:
        """Journal one batch, and the repeats of windows that are over. Without either it writes nothing.

        Raises JournalError when the journal cannot be written; try again after a while: everything is still there
        (the ring's descriptor stays readable meanwhile, so do not wait on it).
        """
        for attempt in range(3):
            if self._lineage != self._journal.lineage:
                self._coalescer.reset()
                self._lineage = self._journal.lineage
            try:
                return self._step(max_hits)
            except BaseException as error:
                self._ring.rewind()
                if attempt == 2 or self._lineage == self._journal.lineage or not isinstance(error, NbspdError):
                    raise
        raise AssertionError("unreachable")

    def close_windows(self) -> None:
        """Journal the repeats of all windows, over or not; for the end of a run. Raises JournalError."""
        due = self._coalescer.due(1 << 63)
        if due.closing:
            self._journal.append((), closing=due.closing)
        self._coalescer.forget(due.keys)

    def unread(self) -> dict[int, int]:
        """Return how many hits of each rule lie in the ring, without taking any."""
        counts: dict[int, int] = {}
        while records := self._ring.records(BATCH):
            for rule, (journaled, coalesced) in Coalescer().take(records, 0).accounting.items():
                counts[rule] = counts.get(rule, 0) + journaled + coalesced
        self._ring.rewind()
        return counts

    def next_deadline_ns(self) -> int | None:
        """Return when (boot clock) to call step() again even if the ring stays empty; None: no need."""
        return self._coalescer.next_deadline_ns()

    def _step(self, max_hits: int) -> Batch[R]:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        due = self._coalescer.due(now_ns)
        raw = self._ring.records(max_hits)
        if not raw and not due.closing:
            self._coalescer.forget(due.keys)
            return Batch(0, ())
        taken = self._coalescer.take(raw, now_ns)
        records = self._describer.describe_all([decode(first) for first in taken.first])
        seqs = self._append(records, taken, due)
        self._coalescer.forget(due.keys)
        self._coalescer.keep(taken, seqs[:len(taken.first)], now_ns)
        self._ring.advance(self._ring.position)
        return Batch(len(raw), tuple(zip(seqs, records)))

    def _append(self, records: list[R], taken: Taken, due: Due) -> tuple[int, ...]:
        if taken.malformed:
            records.append(self._degraded(f"{taken.malformed} records of the kernel have a size that this version "
                                          "does not know; restart nbspd"))
        return self._journal.append(
            records, ring_position=self._ring.position, accounting=taken.accounting, repeats=taken.repeats,
            new_repeats=taken.new_repeats, closing=due.closing)
