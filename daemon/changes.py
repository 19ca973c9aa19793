"""What a change of generations comes to, in words and records. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence

from .control.peer import Peer
from .errors import NbspdError, Problem, RulesError
from .generations import Pending
from .journal.record import Record
from .rules.plan import Plan

PROBLEMS_IN_RECORD = 20


@dataclass(frozen=True)
class Change:
    """What a reload or rollback did: names by section, and the generations before and now."""

    before: int
    generation: int
    added: Mapping[str, tuple[str, ...]]
    removed: Mapping[str, tuple[str, ...]]
    changed: Mapping[str, tuple[str, ...]]

    def words(self) -> str:
        """Return it in one line, for people."""
        parts = [f"{len(names)} {section} {verb}"
                 for verb, sections in (("added", self.added), ("removed", self.removed), ("changed", self.changed))
                 for section, names in sections.items() if names]
        return f"generation {self.before} -> {self.generation}: {', '.join(parts) or 'nothing declared otherwise'}"


def difference(old: Plan | None, new: Plan, before: int, number: int) -> Change:
    """Return what another plan declares otherwise, by name."""
    added: dict[str, tuple[str, ...]] = {}
    removed: dict[str, tuple[str, ...]] = {}
    changed: dict[str, tuple[str, ...]] = {}
    for section in ("rules", "checkpoints", "resources"):
        was = by_name(getattr(old, section) if old else ())
        now = by_name(getattr(new, section))
        added[section] = tuple(sorted(now.keys() - was.keys()))
        removed[section] = tuple(sorted(was.keys() - now.keys()))
        changed[section] = tuple(sorted(name for name in now.keys() & was.keys() if now[name] != was[name]))
    return Change(before, number, added, removed, changed)


def by_name(things: Iterable[object]) -> dict[str, object]:
    """Return declared things by the name or id they go by."""
    return {str(getattr(thing, "name", None) or getattr(thing, "id")): thing for thing in things}


def said(kind: str, text: str, by: Peer | None = None, generation: int = 0) -> Record:
    """Return a record of the daemon's own doing."""
    return Record(kind, time.time_ns(), text=text, by=by.words() if by else "", generation=generation)


def failure_words(error: NbspdError) -> str:
    """Return a failure in one line; of many problems the first ones."""
    return first_problems(error.problems) if isinstance(error, RulesError) else str(error)


def first_problems(problems: Sequence[Problem]) -> str:
    """Return some problems in one line, and how many more there are."""
    rest = len(problems) - PROBLEMS_IN_RECORD
    return "; ".join(map(str, problems[:PROBLEMS_IN_RECORD])) + (f"; and {rest} more" if rest > 0 else "")


def not_confirmed(pending: Pending) -> str:
    """Return why a generation is taken back."""
    return f"generation {pending.generation}, applied by {pending.by}, was not confirmed in time"
