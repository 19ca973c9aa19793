"""nbsp coverage: which channels to which resources are closed on this host, and why the others are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Mapping, Sequence

import click

from .table import table
from .verb import Answer, verb

STATES = ("enforced", "observed", "absent", "open")
PAGE = 20_000


@verb("coverage", "nbsp coverage --rule db-through-pooler",
      options=[click.Option(["--rule"], metavar="ID", help="Of this rule only.")])
def coverage(socket: Path, rule: str | None) -> Answer:
    """Show for each rule, resource and channel whether it is enforced, observed, absent or open on this host.

    Each that is not enforced has its reason. Rows with an asterisk for the rule are the same for all rules.
    """
    data = fetch(socket, rule)
    return Answer(data, words(data["rows"], data))


def fetch(socket: Path, rule: str | None) -> dict[str, Any]:
    """Return what the daemon says of one rule or all: generation, tier, rows, counts, and why each channel's hooks do.

    Raises ControlError: no daemon, no such rule, or nothing is active.
    """
    from ..control.client import Client
    rows: list[Mapping[str, Any]] = []
    why: dict[str, str] = {}
    with Client(socket) as client:
        while True:
            reply = client.ask("coverage", rule=rule, offset=len(rows), limit=PAGE)
            rows += reply["rows"]
            why |= reply.get("why", {})     # a daemon that is older than this command has none
            if not reply["rows"] or len(rows) >= reply["total"]:
                break
    counts = Counter(row["state"] for row in rows)
    return {"generation": reply["generation"], "tier": reply["tier"], "rows": rows, "why": why,
            "counts": {state: counts[state] for state in STATES}}


def words(rows: Sequence[Mapping[str, Any]], data: Mapping[str, Any]) -> str:
    """Return the rows as a table, and below it how many there are of each state."""
    cells = [(row["rule"], row["resource"], row["family"], row["words"] or row["channel"], row["state"], row["reason"])
             for row in rows]
    counts = ", ".join(f"{count} {state}" for state, count in data["counts"].items())
    return (table(("rule", "resource", "id", "channel", "state", "because"), cells)
            + f"\n\ngeneration {data['generation']}, tier {data['tier']}: {counts}")
