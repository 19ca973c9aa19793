"""nbsp lineage: where a process comes from, for whom it acts, and which stamps it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import click

from .table import clean, facts, table
from .verb import Answer, verb


@verb("lineage", "nbsp lineage 4711", options=[click.Argument(["pid"], type=click.IntRange(1))])
def lineage(socket: Path, pid: int) -> Answer:
    """Show a process's ancestry up to the first one, its operator and its stamps."""
    from ..control.client import ask
    reply = ask("lineage", socket, pid=pid)
    reply.pop("ok", None)
    return Answer(reply, words(reply))


def words(reply: Mapping[str, Any]) -> str:
    """Return the reply in words, the process itself first."""
    processes = reply["processes"]
    first = processes[0]
    rows = [(each["pid"], each["user"] or each["uid"], each["comm"], each["exe"] or "?", each["unit"],
             ", ".join(each["stamps"]) or "-") for each in processes]
    login = "" if first["login_uid"] is None else f"uid {first['login_uid']}, session {first['session']}"
    return facts([
        ("operator", reply["operator"]), ("login", login), ("unit", first["unit"]),
        ("stamps", ", ".join(first["stamps"]) or "none: it came through no checkpoint"),
        ("command", " ".join(map(clean, first["argv"])))]) + "\n\n" + table(
            ("pid", "user", "name", "program", "unit", "stamps"), rows, right=(0,))
