"""Gap records: what the kernel counted while nobody read, and what it had no room for."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Mapping

from .reader import Account
from .record import GapRow, Record
from .store import Journal

Counters = Mapping[int, tuple[int, int]]    # rule number -> what the kernel says: (hits, lost)


def gap_rows(accounts: Mapping[int, Account], counters: Counters, rules: Mapping[int, str],
             unread: Mapping[int, int] | None = None) -> tuple[GapRow, ...]:
    """Return what happened, by rule, between the last commit and the moment at which `counters` were read.

    `rules` names the numbers. `unread` is how many records of each rule lie in the ring; without it every hit that
    was not lost is taken to be there, which is exact as long as the journal itself survived.
    """
    rows = []
    for rule, (hits, lost) in sorted(counters.items()):
        account = accounts.get(rule, Account())
        missed, newly_lost = hits - account.total, lost - account.kernel_lost
        waiting = missed - newly_lost
        if unread is not None:
            waiting = min(waiting, unread.get(rule, 0))
        if missed > 0:
            rows.append(GapRow(_name(rules, rule), missed, waiting, newly_lost, missed - newly_lost - waiting))
    return tuple(rows)


def note_gap(journal: Journal, counters: Counters, rules: Mapping[int, str], cause: str,
             unread: Mapping[int, int] | None = None) -> Record | None:
    """Write the gap record of a start with adopted maps, before the ring is read; None when nothing was missed.

    `unread` is used only when this journal knows nothing of the epoch, that is when the one that did is gone.
    Raises JournalError.
    """
    accounts = journal.accounting()
    is_known = bool(accounts) or journal.ring_position() is not None
    rows = gap_rows(accounts, counters, rules, None if is_known else unread)
    gone = {rule: row.gone for rule, row in zip(_missed(accounts, counters), rows, strict=True) if row.gone}
    return _write(journal, rows, cause, journal.last_alive_ns(), counters, gone)


def note_losses(journal: Journal, counters: Counters, rules: Mapping[int, str], since_ns: int) -> Record | None:
    """Write down, while running, what the ring had no room for since `since_ns` (wall clock); None when nothing."""
    accounts = journal.accounting()
    grown = {rule: lost - accounts.get(rule, Account()).kernel_lost for rule, (_, lost) in sorted(counters.items())}
    rows = tuple(GapRow(_name(rules, rule), more, 0, more) for rule, more in grown.items() if more > 0)
    return _write(journal, rows, "violations came faster than they could be read", since_ns, counters, {})


def _missed(accounts: Mapping[int, Account], counters: Counters) -> list[int]:
    return [rule for rule, (hits, _) in sorted(counters.items()) if hits > accounts.get(rule, Account()).total]


def _write(journal: Journal, rows: tuple[GapRow, ...], cause: str, from_ns: int, counters: Counters,
           gone: Mapping[int, int]) -> Record | None:
    if not rows:
        return None
    now = time.time_ns()
    record = Record("gap", now, cause=cause, from_ns=from_ns or now, to_ns=now, gaps=rows)
    known = journal.accounting()
    lost = {rule: lost for rule, (_, lost) in counters.items() if lost != known.get(rule, Account()).kernel_lost}
    seq, = journal.append([record], lost=lost, gone=gone)
    return replace(record, seq=seq)


def _name(rules: Mapping[int, str], rule: int) -> str:
    return rules.get(rule) or ("(undecided)" if rule == 0 else f"rule number {rule}")
