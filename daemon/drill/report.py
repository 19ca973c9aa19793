"""What a drill found, as a table for people and as one object for machines."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from .attempt import CHANNELS
from .outcome import BROKEN, MEANINGS, OUTCOMES, THROUGH, Result

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
    def is_good(self) -> bool:
        """Return whether everything is as it should be."""
        return not self.wrong and not self.failed_controls and not self.leftovers

    def counts(self) -> dict[str, int]:
        """Return how many attempts had each outcome."""
        counted = Counter(result.outcome for result in self.attempts)
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    def families(self) -> list[tuple[str, Mapping[str, int]]]:
        """Return for each family how many of its attempts had each outcome."""
        return [(channel, Counter(result.outcome for result in self.attempts if result.attempt.channel == channel))
                for channel in CHANNELS if any(result.attempt.channel == channel for result in self.attempts)]

    def to_json(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
        return {"good": self.is_good, "rules": self.has_rules, "tier": self.tier or None, "generation": self.generation,
                "counts": self.counts(),
                "families": {channel: {outcome: counted[outcome] for outcome in OUTCOMES}
                             for channel, counted in self.families()},
                "controls": {"total": len(self.results) - len(self.attempts), "failed": len(self.failed_controls)},
                "results": [result.to_json() for result in self.results], "leftovers": list(self.leftovers),
                "seconds": round(self.seconds, 1)}

    def rows(self) -> list[tuple[object, ...]]:
        """Return the table of families: id, attempts, then a column for each outcome."""
        return [(channel, sum(counted.values()), *(counted[outcome] for outcome in OUTCOMES))
                for channel, counted in self.families()]

    def findings(self) -> list[str]:
        """Return in words everything that is not as it should be, each with what it means."""
        through = [result for result in self.wrong if result.outcome == THROUGH]
        if len(through) > EACH_MAX:
            lines = grouped(through)
        else:
            lines = [f"through: {result.attempt.id} as {result.who}: {result.attempt.title}: {result.reason}; "
                     f"{MEANINGS[result.attempt.channel]}" for result in through]
        lines += [f"broken: {result.attempt.id} as {result.who}: {result.attempt.title}: {result.reason}"
                  for result in self.wrong if result.outcome == BROKEN]
        lines += [f"denied though legitimate: {result.attempt.title}, as {result.who}: {result.reason}"
                  for result in self.failed_controls]
        lines += [f"left behind: {what}" for what in self.leftovers]
        return lines

    def absences(self) -> list[str]:
        """Return each absence with its proof, the same ones together."""
        found: dict[str, list[str]] = {}
        for result in self.attempts:
            if result.outcome == "absent":
                found.setdefault(result.reason, []).append(result.attempt.id)
        return [f"absent: {reason} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
                for reason, names in found.items()]


def grouped(through: Sequence[Result]) -> list[str]:
    """Return what got through, too much for a line each: a paragraph for each family with all the names."""
    families: dict[tuple[str, str], list[str]] = {}
    for result in through:
        families.setdefault((result.attempt.channel, result.attempt.family), []).append(
            result.attempt.id if result.who == "user" else f"{result.attempt.id} as root")
    lines = []
    for (channel, family), names in families.items():
        lines.append(f"through: {len(names)} of {channel}, {family}: {MEANINGS[channel]}")
        lines += [f"    {line}" for line in textwrap.wrap(", ".join(names), WIDTH, break_on_hyphens=False)]
    return lines


def summary(results: Sequence[Result], has_rules: bool) -> str:
    """Return one line for the journal."""
    report = Report(tuple(results), has_rules)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in report.counts().items())
    failed = f"; {len(report.failed_controls)} legitimate accesses denied" if report.failed_controls else ""
    return f"drill of {len(report.attempts)} attempts: {counted}{failed}"
