"""nbsp status: what is enforced now, how often it was needed, and what is not as it should be."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any, Mapping, Sequence

import click

from ..errors import EXIT_OK, EXIT_TOLD
from .table import clean, facts, paint, table
from .verb import Answer, Duration, verb

ACTIVE_STATES = ("enforcing", "idle")
PATHS_SHOWN = 5
ROLLING_BACK = "goes back in {remaining_s:g} s unless confirmed (applied by {by}): nbsp confirm"


@verb("status", "nbsp status --wait 30",
      options=[click.Option(["--wait", "wait_s"], type=Duration(), metavar="SECONDS", default=None,
                            help="Wait so long for a daemon with active rules; 1 when there is none in time.")])
def status(socket: Path, wait_s: float | None) -> Answer:
    """Show generation, tier, the state of each rule, counters and gaps.

    For each rule hits = journaled + coalesced + lost + waiting, exactly: hits is the kernel's own count, coalesced are
    repeats counted in one record, lost found no room in the kernel, waiting are not read yet.
    """
    from ..control.client import ask
    reply = ask("status", socket, wait_s=wait_s or 0.0)
    reply.pop("ok", None)
    is_active = reply["generation"] > 0 and reply["detached"] is None
    return Answer(reply, words(reply), EXIT_OK if is_active or wait_s is None else EXIT_TOLD)


def words(reply: Mapping[str, Any]) -> str:
    """Return the reply in words: the daemon, its rules, what is wrong."""
    parts = [head(reply)]
    if reply["rules"]:
        parts.append(rules_table(reply["rules"], reply["totals"]))
    else:
        parts.append("no rules: nothing is enforced")
    if reply["unexplained"]:
        count = abs(reply["unexplained"])
        parts.append(paint(f"! nobody knows what became of {count} hits: see nbsp journal verify", "open"))
    parts += [paint(f"! {clean(trouble)}", "open") for trouble in reply["troubles"]]
    parts += [gap_words(gap) for gap in reply["gaps"]]
    return "\n\n".join(parts)


def head(reply: Mapping[str, Any]) -> str:
    """Return what is true of all rules."""
    pending, detached = reply["pending"], reply["detached"]
    programs = reply["programs"]
    attached = sum(program["attached"] for program in programs)
    return facts([
        ("state", reply["state"]),
        ("generation", generation_words(reply)),
        ("tier", f"{reply['tier']}, {attached} of {len(programs)} programs attached" if reply["tier"] else ""),
        ("loaded", reply["loaded"]),
        *(("not in tier", text) for text in reply["tried"]),
        ("pending", ROLLING_BACK.format_map(pending) if pending else ""),
        ("detached", f"by {detached['by']}: {detached['reason']}" if detached else ""),
        ("maintenance", f"nbspd may be changed for {reply['maintained_s']:g} s more; nbsp maintain --end"
         if reply["maintained_s"] else ""),
        ("rules", reply["rules_folder"]),
        ("pending paths", pending_paths(reply)),
        ("journal", journal_words(reply["journal"])),
        ("daemon", f"nbspd {reply['version']}, pid {reply['pid']}, since {moment(reply['started'])}"),
        ("bugs", reply["bugs"] or "")])


def pending_paths(reply: Mapping[str, Any]) -> str:
    """Return the declared paths that cannot be protected yet, why, and what to do."""
    if not reply["missing_paths"]:
        return ""
    from ..coverage.rows import why_pending
    reason = why_pending(program["hook"] for program in reply["programs"] if program["attached"])
    return f"{some(reply['missing_paths'])}; {reason}"


def generation_words(reply: Mapping[str, Any]) -> str:
    """Return the active generation, since when, and what comes before it."""
    if not reply["generation"]:
        return "none"
    origin = {"rules": "", "last-good": ", the last good one and not what is in the folder",
              "previous": ", rolled back to"}.get(reply["origin"], "")
    taken_over = ", taken over from the daemon before" if reply["adopted"] else ""
    return f"{reply['generation']} since {moment(reply['since'])}{origin}{taken_over}"


def journal_words(journal: Mapping[str, Any]) -> str:
    """Return where the journal is and how it does."""
    parts = [f"{journal['path']}, last record {journal['last']}"]
    if journal["trouble"]:
        parts.append(journal["trouble"])
    if journal["ring_waiting_bytes"]:
        parts.append(f"{journal['ring_waiting_bytes']} bytes wait in the kernel")
    if journal["signed"]:
        parts.append(f"signed up to {journal['signed']['to']}")
    if journal["notes_dropped"]:
        parts.append(f"{journal['notes_dropped']} notes were dropped")
    return "; ".join(parts)


def rules_table(rules: Sequence[Mapping[str, Any]], totals: Mapping[str, int]) -> str:
    """Return the rules with their accounts, and below them the sum, which also counts rules that are gone."""
    names = ("hits", "journaled", "coalesced", "lost", "waiting")
    rows: list[list[object]] = [
        [rule["id"], rule["resource"], ", ".join(rule["only_through"]) or "nobody",
         *(rule["counters"][name] for name in names), rule["state"]] for rule in rules]
    rows.append(["all", "", "", *(totals[name] for name in names), ""])
    return table(("rule", "protects", "only through", *names, "state"), rows, right=range(3, 8))


def some(paths: Sequence[str]) -> str:
    """Return the first few of many paths."""
    rest = len(paths) - PATHS_SHOWN
    return ", ".join(paths[:PATHS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def gap_words(gap: Mapping[str, Any]) -> str:
    """Return a time in which nobody read, in one line."""
    from .journal import line
    return line(gap)


def moment(seconds: float) -> str:
    """Return a time since 1970 in local time."""
    shown = datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    return shown if time.time() - seconds > 86400 else shown[11:]
