"""What a drill found, as a table for people and as one object for machines."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from .attempt import CHANNELS
from .outcome import BROKEN, MEANINGS, OPEN, OUTCOMES, THROUGH, Result

CONTROL = "control"
EACH_MAX = 40           # so many that got through have a line each
WIDTH = 110


@dataclass(frozen=True)
class Report:
    """All results of a drill, under which rules, and what was left behind."""

    results: tuple[Result, ...]
    has_rules: bool
    tier: str = ""
    generation: int | None = None
    leftovers: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def attempts(self) -> tuple[Result, ...]:
        """Return the results of attempts."""
        return tuple(result for result in self.results if result.attempt.channel != CONTROL)

    @property
    def failed_controls(self) -> tuple[Result, ...]:
        """Return the legitimate accesses that did not succeed."""
        return tuple(result for result in self.results if result.attempt.channel == CONTROL
                     and result.outcome != THROUGH)

    @property
    def wrong(self) -> tuple[Result, ...]:
        """Return what should not be: what got through the rules, and what is broken."""
        return tuple(result for result in self.attempts if result.outcome == BROKEN
                     or result.outcome == THROUGH and self.has_rules)

    @property
    def known_open(self) -> tuple[Result, ...]:
        """Return what got through where coverage says that the channel is open."""
        return tuple(result for result in self.attempts if result.outcome == OPEN)

    @property
    def is_good(self) -> bool:
        """Return whether everything is as it should be: known to be open is not."""
        return not (self.wrong or self.known_open or self.failed_controls or self.leftovers)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Return the outcomes there can be: without rules there is no coverage that could call anything open."""
        return tuple(outcome for outcome in OUTCOMES if self.has_rules or outcome != OPEN)

    def counts(self) -> dict[str, int]:
        """Return how many attempts had each outcome."""
        counted = Counter(result.outcome for result in self.attempts)
        return {outcome: counted[outcome] for outcome in self.outcomes}

    def verdict(self) -> str:
        """Return the last line where anything got through the rules, else nothing."""
        through = sum(result.outcome == THROUGH for result in self.wrong)
        known = f"{len(self.known_open)} got through where coverage says open" if self.known_open else ""
        return ", ".join(part for part in (f"{through} got through" if through else "", known) if part)

    def families(self) -> list[tuple[str, Mapping[str, int]]]:
        """Return for each family how many of its attempts had each outcome."""
        return [(channel, Counter(result.outcome for result in self.attempts if result.attempt.channel == channel))
                for channel in CHANNELS if any(result.attempt.channel == channel for result in self.attempts)]

    def to_json(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
        return {"good": self.is_good, "rules": self.has_rules, "tier": self.tier or None, "generation": self.generation,
                "counts": self.counts(),
                "families": {channel: {outcome: counted[outcome] for outcome in self.outcomes}
                             for channel, counted in self.families()},
                "controls": {"total": len(self.results) - len(self.attempts), "failed": len(self.failed_controls)},
                "results": [result.to_json() for result in self.results], "leftovers": list(self.leftovers),
                "seconds": round(self.seconds, 1)}

    def rows(self) -> list[tuple[object, ...]]:
        """Return the table of families: id, attempts, then a column for each outcome."""
        return [(channel, sum(counted.values()), *(counted[outcome] for outcome in self.outcomes))
                for channel, counted in self.families()]

    def findings(self) -> list[str]:
        """Return in words everything that is not as it should be, each with what it means."""
        through = [result for result in self.wrong if result.outcome == THROUGH]
        if len(through) > EACH_MAX:
            lines = grouped(through)
        else:
            lines = [f"through: {result.attempt.id} as {result.who}: {result.attempt.title}: {result.reason}; "
                     f"{channels(result)}: {MEANINGS[result.attempt.channel]}" for result in through]
        lines += [f"broken: {result.attempt.id} as {result.who}: {result.attempt.title}: {result.reason}"
                  for result in self.wrong if result.outcome == BROKEN]
        lines += [f"denied though legitimate: {result.attempt.title}, as {result.who}: {result.reason}"
                  for result in self.failed_controls]
        lines += [f"left behind: {what}" for what in self.leftovers]
        return lines + known(self.known_open)

    def absences(self) -> list[str]:
        """Return each absence with its proof, the same ones together."""
        found: dict[str, list[str]] = {}
        for result in self.attempts:
            if result.outcome == "absent":
                found.setdefault(result.reason, []).append(result.attempt.id)
        return [f"absent: {reason} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
                for reason, names in found.items()]


def channels(result: Result) -> str:
    """Return in words which channels of `nbsp coverage` an attempt is made at."""
    covers = result.attempt.covers
    return f"channel{'s' if len(covers) > 1 else ''} {', '.join(covers)}"


def grouped(through: Sequence[Result]) -> list[str]:
    """Return what got through, too much for a line each: a paragraph for each family and channel with all the names."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in through:
        groups.setdefault((result.attempt.channel, result.attempt.family, channels(result)), []).append(result)
    lines = []
    for (family, part, where), results in groups.items():
        lines.append(f"through: {len(results)} of {family}, {part}, {where}: {MEANINGS[family]}")
        lines += names(results)
    return lines


def known(results: Sequence[Result]) -> list[str]:
    """Return what got through where coverage says open: a paragraph for each reason with all the names."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.coverage, []).append(result)
    lines = []
    for reason, group in groups.items():
        lines.append(f"open: {len(group)} where coverage says {reason}")
        lines += names(group)
    return lines


def names(results: Sequence[Result]) -> list[str]:
    """Return the ids of results in lines of a readable length."""
    text = ", ".join(result.attempt.id if result.who == "user" else f"{result.attempt.id} as root"
                     for result in results)
    return [f"    {line}" for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False)]


def summary(results: Sequence[Result], has_rules: bool) -> str:
    """Return one line for the journal."""
    report = Report(tuple(results), has_rules)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in report.counts().items())
    failed = f"; {len(report.failed_controls)} legitimate accesses denied" if report.failed_controls else ""
    return f"drill of {len(report.attempts)} attempts: {counted}{failed}"
