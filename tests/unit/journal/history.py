"""Journals with a past: violations, repeats, losses, retention, signatures, in an order that dice choose."""

from __future__ import annotations

import random
import time
from pathlib import Path

from nbspd.journal import hostkey
from nbspd.journal.gaps import note_gap, note_losses
from nbspd.journal.record import Record
from nbspd.journal.store import Journal
from nbspd.signing import Signing

from .records import violation

RULES = {3: "db-through-pooler", 4: "files"}


class History:
    """A daemon's life as its journal sees it."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.dice = random.Random(seed)
        self.key = hostkey.load(folder)
        self.journal = Journal(folder / "journal.db", "boot:1")
        self.counters = {3: (0, 0), 4: (0, 0)}
        self.number = 0

    @property
    def path(self) -> Path:
        return self.journal.path

    def hit(self, rule: int, hits: int, lost: int = 0) -> None:
        before, before_lost = self.counters[rule]
        self.counters[rule] = (before + hits, before_lost + lost)

    def sign(self) -> None:
        totals = {"hits": 0, "journaled": 0, "coalesced": 0, "lost": 0, "waiting": 0}
        self.journal.append((), sign=Signing.signer(self.key, time.time_ns(), totals, "boot:1"))

    def violations(self) -> None:
        """A batch from the ring, some of it repeated, some of it repeating what is open."""
        count, more, again = self.dice.randrange(1, 4), self.dice.randrange(3), self.dice.randrange(2)
        rule = self.dice.choice((3, 4))
        open_windows = list(self.journal.pending())
        repeats = {self.dice.choice(open_windows): (2, 5, 6)} if open_windows and again else {}
        coalesced = more + (2 if repeats else 0)
        self.hit(rule, count + coalesced)
        records = [violation(self.number + index, rule=RULES[rule], rule_number=rule, time_ns=time.time_ns())
                   for index in range(count)]
        self.number += count
        self.journal.append(records, accounting={rule: (count, coalesced)}, repeats=repeats,
                            new_repeats={0: (more, 1, 2)} if more else None)

    def close_windows(self) -> None:
        self.journal.append((), closing=list(self.journal.pending()))

    def losses(self) -> None:
        self.hit(3, 5, 5)
        note_losses(self.journal, self.counters, RULES, 1)

    def gap(self) -> None:
        self.hit(4, 3, 2)
        self.journal.append([], accounting={4: (0, 0)})
        note_gap(self.journal, self.counters, RULES, "the daemon was killed")
        self.journal.append([violation(self.number, rule_number=4)], accounting={4: (1, 0)})
        self.number += 1

    def event(self) -> None:
        self.journal.append([Record(self.dice.choice(("reload", "note", "degraded")), time.time_ns(), text="é" * 3)])

    def reboot(self) -> None:
        self.journal.begin_epoch(f"boot:{self.dice.randrange(2, 1000)}")
        self.counters = {3: (0, 0), 4: (0, 0)}

    def restart(self) -> None:
        epoch = self.journal.epoch
        self.journal.close()
        self.journal = Journal(self.journal.path, epoch)

    def retain(self) -> None:
        self.journal.retain(1 << 30, self.dice.choice((0.001, 0.01, 1e9)))

    def live(self, steps: int) -> None:
        acts = (self.violations, self.violations, self.violations, self.close_windows, self.losses, self.gap,
                self.event, self.sign, self.sign, self.reboot, self.restart, self.retain)
        for _ in range(steps):
            self.dice.choice(acts)()
