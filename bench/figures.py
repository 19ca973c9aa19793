"""One measured figure, and how figures are shown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Figure:
    """What was measured, with its budget in words ("" for none)."""

    what: str
    value: float
    unit: str
    budget: str = ""
    note: str = ""

    @classmethod
    def median(cls, what: str, unit: str, values: Sequence[float], budget: str, note: str) -> Figure:
        """Return the middle of several measurements, with the range in the note."""
        return cls(what, statistics.median(values), unit, budget, f"{note}; {min(values):.3g} to {max(values):.3g}")


def table(figures: Sequence[Figure]) -> str:
    """Return a Markdown table."""
    rows = [(one.what, f"{one.value:.3g} {one.unit}".strip(), one.budget, one.note) for one in figures]
    head = ("what", "measured", "budget", "how")
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(4)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in (head, *rows)]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
