"""nbsp explain: why an access was or would be denied, and how to do it right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping

import click

from ..errors import UsageError
from .table import clean, facts
from .verb import Answer, verb

PATH = click.Path(readable=False)       # it is the daemon that looks at it
HOW = "nbsp explain 17, or nbsp explain --exe /usr/bin/psql --connect 127.0.0.1:5432"


@verb("explain", "nbsp explain 17\n  nbsp explain --exe /usr/bin/psql --connect 127.0.0.1:5432",
      options=[click.Argument(["seq"], required=False, type=click.IntRange(1)),
               click.Option(["--exe"], type=PATH, metavar="PROGRAM", help="The program that would do it."),
               click.Option(["--pid"], type=click.IntRange(1), help="The process that would do it."),
               click.Option(["--read"], type=PATH, metavar="PATH", help="It would read this."),
               click.Option(["--write"], type=PATH, metavar="PATH", help="It would write this."),
               click.Option(["--exec"], type=PATH, metavar="PATH", help="It would execute this."),
               click.Option(["--move"], type=PATH, metavar="PATH", help="It would rename, replace or remove this."),
               click.Option(["--connect"], metavar="ADDRESS",
                            help="It would connect there: HOST:PORT, [HOST]:PORT, a unix socket's path, or @NAME."),
               click.Option(["--udp", "is_udp"], is_flag=True, help="With --connect: by UDP.")])
def explain(socket: Path, seq: int | None, exe: str | None, pid: int | None, connect: str | None, is_udp: bool,
            **paths: str | None) -> Answer:
    """Say why the access in record SEQ was denied, or whether another one would be, and how to do it right.

    Without --exe and --pid the question is about a program that is no checkpoint.
    """
    from ..control.client import ask
    wanted = {name: os.path.abspath(path) for name, path in paths.items() if path} | (
        {"connect": connect} if connect else {})
    if seq is not None:
        if wanted or exe or pid:
            raise UsageError("a record's number and an access were given", f"one of them: {HOW}")
        reply = ask("explain", socket, seq=seq)
        return Answer({"record": reply["record"], "story": reply["story"]}, reply["story"])
    if len(wanted) != 1 or (exe and pid):
        raise UsageError("explain needs a record's number, or one access by one program or process", f"write: {HOW}")
    fields: dict[str, Any] = {**wanted, "exe": os.path.abspath(exe) if exe else None, "pid": pid,
                              "proto": "udp" if is_udp else None}
    reply = ask("explain", socket, **fields)
    reply.pop("ok", None)
    return Answer(reply, words(reply))


def words(reply: Mapping[str, Any]) -> str:
    """Return the verdict, its grounds, and the way that is open."""
    subject = reply["exe"] or (f"process {reply['pid']}" if reply["pid"] else "a program that is no checkpoint")
    rules = [(f"rule {rule['id']}", rule_words(rule)) for rule in reply["rules"]]
    ways = [("go through", way_words(way)) for way in reply["missing"]]
    if not reply["allowed"] and not ways:
        ways = [("go through", "nobody may do this: the rule names no checkpoint")]
    return facts([
        ("verdict", verdict(reply)),
        ("access", f"{subject} would {reply['action']} {reply['object']}"),
        ("stamps", ", ".join(reply["stamps"]) or "none: it comes through no checkpoint"),
        *(("provided", condition) for condition in reply["conditions"]), *rules, *ways])


def verdict(reply: Mapping[str, Any]) -> str:
    """Return the verdict in a word, or a few where one would mislead."""
    if not reply["allowed"]:
        return "killed" if reply["is_killed"] else "denied"
    if any(rule["mode"] == "audit" for rule in reply["rules"]):
        return "allowed, and recorded: the rule is in audit mode"
    return "allowed"


def rule_words(rule: Mapping[str, Any]) -> str:
    """Return whom a rule lets through, why, and whom to ask."""
    text = f"only through {', '.join(rule['only_through']) or 'nobody'}"
    if rule["reason"]:
        text += f"; {rule['reason']}"
    return text + (f" (owner: {rule['owner']})" if rule["owner"] else "")


def way_words(way: Mapping[str, Any]) -> str:
    """Return a checkpoint that would do."""
    conditions = "".join(f"; {clean(condition)}" for condition in way["conditions"])
    return f"{way['name']}, which is {way['exe']}{conditions}"
