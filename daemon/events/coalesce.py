"""Repeats of the same violation by the same process become a count.

The first hit of a window becomes a record, those that follow within the window are counted. Everything is done in
two steps, so that nothing is forgotten when the journal cannot be written: `take` looks at a batch and changes
nothing, `keep` remembers it once it is journaled.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Iterable, Sequence

from .. import abi
from .decode import SIZE

WINDOW_NS = 30 * 10**9
MAX_WINDOWS = 16384

Tally = tuple[int, int, int]    # count, boot clock of the first and of the last

# What makes two hits the same: generation and start time; executable, rule and process; uid and euid; channel, verdict,
# access, kind, object, address, port and protocol; the names. Not the time, the thread, the rest of the ancestry.
_A = abi.Violation.generation.offset
_B = abi.Violation.start_ticks.offset + 8
_C = abi.Violation.exe_ino.offset
_D = abi.Violation.tgid.offset + 4
_E = abi.Violation.uid.offset
_F = abi.Violation.euid.offset + 4
_G = abi.Violation.channel.offset
_H = abi.Violation.proto.offset + 1
_I = abi.Violation.path.offset
_J = abi.Violation.abstract.offset + abi.Violation.abstract.size
_RULE = struct.Struct("=I")
_RULE_AT = abi.Violation.rule.offset
_TIME = struct.Struct("=Q")
_TIME_AT = abi.Violation.time_ns.offset


@dataclass(slots=True)
class Window:
    """An open window: until when (boot clock), which record began it, and whether it has repeats."""

    deadline_ns: int
    of: int
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch comes to; `first` and `keys` belong together, `new_repeats` counts by index into them.

    The times of a tally are those of the first hit in the batch (a new window's own) and of the last.
    """

    first: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    repeats: dict[int, Tally] = field(default_factory=dict)         # by number of the record that began the window
    new_repeats: dict[int, Tally] = field(default_factory=dict)
    accounting: dict[int, tuple[int, int]] = field(default_factory=dict)    # rule number -> (journaled, coalesced)
    repeated: list[Window] = field(default_factory=list)
    malformed: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """Windows that are over, oldest first, and which of them have repeats to be written."""

    keys: list[bytes]
    closing: list[int]


class Coalescer:
    """The open windows, one for each (process, rule, object, channel)."""

    def __init__(self, window_ns: int = WINDOW_NS, max_windows: int = MAX_WINDOWS) -> None:
        self._window_ns = window_ns
        self._max_windows = max_windows
        self._windows: dict[bytes, Window] = {}     # the oldest first: all last equally long

    def take(self, records: Sequence[bytes], now_ns: int) -> Taken:
        """Sort a batch into first ones and repeats; changes nothing."""
        counts: dict[bytes, int] = {}
        ends: dict[bytes, bytes] = {}
        starts: dict[bytes, bytes] = {}
        malformed = 0
        for raw in records:
            if len(raw) != SIZE:
                malformed += 1
                continue
            key = raw[_A:_B] + raw[_C:_D] + raw[_E:_F] + raw[_G:_H] + raw[_I:_J]
            if key in counts:
                counts[key] += 1
            else:
                counts[key] = 1
                starts[key] = raw
            ends[key] = raw
        taken = Taken(malformed=malformed)
        for key, count in counts.items():
            self._sort_in(taken, key, count, starts[key], ends[key], now_ns)
        return taken

    def keep(self, taken: Taken, seqs: Sequence[int], now_ns: int) -> None:
        """Remember a batch that is journaled; `seqs` are the numbers that its first ones got."""
        for window in taken.repeated:
            window.is_repeated = True
        deadline_ns = now_ns + self._window_ns
        for index, (key, seq) in enumerate(zip(taken.keys, seqs, strict=True)):
            self._windows.pop(key, None)        # a new window goes to the end
            self._windows[key] = Window(deadline_ns, seq, index in taken.new_repeats)

    def due(self, now_ns: int) -> Due:
        """Return the windows that are over, or too many; changes nothing."""
        keys: list[bytes] = []
        closing: list[int] = []
        excess = len(self._windows) - self._max_windows
        for key, window in self._windows.items():
            if window.deadline_ns > now_ns and len(keys) >= excess:
                break
            keys.append(key)
            if window.is_repeated:
                closing.append(window.of)
        return Due(keys, closing)

    def forget(self, keys: Iterable[bytes]) -> None:
        """Drop windows whose repeats are journaled."""
        for key in keys:
            del self._windows[key]

    def reset(self) -> None:
        """Forget all windows: the journal that held their records is gone."""
        self._windows.clear()

    def next_deadline_ns(self) -> int | None:
        """Return when (boot clock) the next window with repeats is over; None when none is open."""
        return next((window.deadline_ns for window in self._windows.values() if window.is_repeated), None)

    def _sort_in(self, taken: Taken, key: bytes, count: int, start: bytes, end: bytes, now_ns: int) -> None:
        rule, = _RULE.unpack_from(start, _RULE_AT)
        journaled, coalesced = taken.accounting.get(rule, (0, 0))
        digest = blake2b(key, digest_size=16).digest()      # a tenth of the key's size
        window = self._windows.get(digest)
        if window is not None and window.deadline_ns > now_ns:
            taken.accounting[rule] = (journaled, coalesced + count)
            taken.repeated.append(window)
            taken.repeats[window.of] = (count, _time(start), _time(end))
            return
        taken.accounting[rule] = (journaled + 1, coalesced + count - 1)
        if count > 1:
            taken.new_repeats[len(taken.first)] = (count - 1, _time(start), _time(end))
        taken.first.append(start)
        taken.keys.append(digest)


def _time(raw: bytes) -> int:
    return int(_TIME.unpack_from(raw, _TIME_AT)[0])
