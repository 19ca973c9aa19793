"""nbsp audit: what is older than the rules or held in spite of them, and the ending of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

import click

from ..audit.finding import Closing, Finding, Holder, Kind, Report
from ..errors import EXIT_OK, EXIT_TOLD, HostError
from .table import clean, table
from .verb import Answer, verb

ASK_TIMEOUT_S = 60.0


@verb("audit", "sudo nbsp audit",
      options=[click.Option(["--close", "is_closing"], is_flag=True,
                            help="End TCP and UDP connections that nobody with an accepted stamp holds; journaled.")])
def audit(socket: Path, is_closing: bool) -> Answer:
    """Find what is older than the rules or held in spite of them: descriptors, mappings, connections, programs.

    Nothing is ended without --close, and with it nothing but connections: processes are named, for you to end. The exit
    status is 1 when anything was found that reaches what is protected.
    """
    from ..audit.survey import Naming, Survey
    from ..control.client import Client
    from ..events.describe import unit_of
    from ..events.host import Host
    with Client(socket, timeout_s=ASK_TIMEOUT_S) as client:
        if os.geteuid() != 0:
            client.ask("ping")      # who may not ask either hears that first
            raise HostError("an audit looks into every process, and only root may", "sudo nbsp audit")
        client.ask("audit", limit=0, sockets=True)
        survey = Survey(client.ask, Naming(Host().user, unit_of), client.take_descriptor())
        report = survey.look()
        if is_closing:
            report = survey.close()
    is_done = report.is_clean and all(one.is_ended for one in report.closings)
    return Answer(report.to_json(), words(report, is_closing), EXIT_OK if is_done else EXIT_TOLD)


def words(report: Report, is_closing: bool) -> str:
    """Return the report for people."""
    parts = []
    serious = [one for one in report.findings if not one.harmless]
    harmless = [one for one in report.findings if one.harmless]
    if serious:
        parts.append(findings_table(serious))
    if report.closings:
        parts.append("\n".join(closing_words(one) for one in report.closings))
    if harmless:
        parts.append("Harmless, so that nobody wonders:\n" + "\n".join(f"  {line(one)}" for one in harmless))
    if report.not_looked_at:
        parts.append("Not looked at:\n" + "\n".join(f"  {clean(text)}" for text in report.not_looked_at))
    parts.append(next_words(report, serious, is_closing))
    return "\n\n".join(parts)


def findings_table(findings: Sequence[Finding]) -> str:
    """Return what was found as a table."""
    rows = [(one.holder.pid or "-", one.holder.user or ("" if one.holder.uid < 0 else one.holder.uid), one.holder.comm,
             one.holder.unit, one.what, one.access, ", ".join(one.rules), ", ".join(one.only_through) or "nobody",
             one.remedy) for one in findings]
    return table(("pid", "user", "name", "unit", "what", "may", "rule", "only through", "do"), rows, right=(0,))


def line(one: Finding) -> str:
    """Return a finding in one line."""
    return clean(f"{name(one.holder)}{one.what}; {one.remedy}")


def name(holder: Holder) -> str:
    """Return a process for the beginning of a line."""
    return f"{holder.comm}[{holder.pid}]: " if holder.pid else ""


def closing_words(one: Closing) -> str:
    """Return what became of a connection that was to be ended."""
    held = ", ".join(map(str, one.pids)) or "nobody"
    head = f"{one.protocol} {one.local} -> {one.remote}, held by {held}"
    if not one.closed:
        return clean(f"not closed: {head}: {one.reason}{f' ({one.errno})' if one.errno else ''}")
    return clean(f"closed: {head}{f'; its other end: {one.other_end}' if one.other_end else ''}")


def next_words(report: Report, serious: Sequence[Finding], is_closing: bool) -> str:
    """Return how much was looked at, and what to do next."""
    counts = report.counts
    looked = (f"generation {report.generation}, tier {report.tier}: {counts.processes:,} processes, "
              f"{counts.descriptors:,} descriptors, {counts.mappings:,} mappings, {counts.sockets:,} sockets in "
              f"{counts.namespaces} network namespaces; {report.seconds:.1f} s")
    if not serious:
        return f"{looked}\nNext  nothing: nothing that reaches what is protected is older than the rules"
    steps = []
    if any(one.kind is Kind.CONNECTION for one in serious) and not is_closing:
        steps.append("nbsp audit --close ends the connections")
    pids = sorted({one.holder.pid for one in serious if one.holder.pid and (
        one.kind is not Kind.CONNECTION or is_closing)})
    if pids:
        steps.append(f"end or restart {', '.join(map(str, pids))} as the last column says")
    steps += [] if pids or steps else ["as the last column says"]
    return f"{looked}\nNext  {'; '.join(steps)}; then once more: nbsp audit"
