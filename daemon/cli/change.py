"""nbsp reload, confirm, rollback and detach: the verbs that change what is enforced."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import click

from ..errors import UsageError
from .table import clean
from .verb import Answer, Duration, verb

CHANGE_TIMEOUT_S = 660.0    # a reload after detach compiles first
SIGNS = (("added", "+"), ("removed", "-"), ("changed", "~"))


@verb("reload", "sudo nbsp reload --confirm-within 60s",
      options=[click.Option(["--confirm-within", "confirm_within_s"], type=Duration(), metavar="TIME",
                            help="Go back by itself unless nbsp confirm comes in time: 60s, 5m.")])
def reload(socket: Path, confirm_within_s: float | None) -> Answer:
    """Apply the rules as they are now, all or nothing, and say what changed.

    When the rules have a problem, every problem is shown and the active generation stays.
    """
    reply = change(socket, "reload", confirm_within_s=confirm_within_s)
    text = change_words(reply)
    if confirm_within_s is not None:
        text += f"\nto be kept, it must be confirmed within {confirm_within_s:g} s: nbsp confirm"
    return Answer(reply, text)


@verb("confirm", "sudo nbsp confirm")
def confirm(socket: Path) -> Answer:
    """Keep what reload --confirm-within applied."""
    reply = change(socket, "confirm")
    return Answer(reply, f"generation {reply.get('generation')} is kept")


@verb("rollback", "sudo nbsp rollback")
def rollback(socket: Path) -> Answer:
    """Go back to the generation before.

    The rule folder stays as it is; what is in it is applied by the next nbsp reload.
    """
    reply = change(socket, "rollback")
    return Answer(reply, change_words(reply))


@verb("detach", 'sudo nbsp detach --reason "moving the database, change 4711"',
      options=[click.Option(["--reason"], required=True, metavar="TEXT", help="Why; it is journaled with who asked.")])
def detach(socket: Path, reason: str) -> Answer:
    """End enforcement: remove every program and pin. Nothing is protected until nbsp reload."""
    if not reason.strip():
        raise UsageError("the reason is empty", 'say why: nbsp detach --reason "..."')
    reply = change(socket, "detach", reason=reason)
    return Answer(reply, "nothing is enforced any more; to enforce again: nbsp reload")


@verb("maintain", 'sudo nbsp maintain --for 10m --reason "nbspd.service gets a drop-in"',
      options=[click.Option(["--for", "for_s"], type=Duration(), metavar="TIME", help="How long: 90s, 10m."),
               click.Option(["--reason"], metavar="TEXT", help="Why; it is journaled with who asked."),
               click.Option(["--end", "is_end"], is_flag=True, help="End it now.")])
def maintain(socket: Path, for_s: float | None, reason: str | None, is_end: bool) -> Answer:
    """Let nbspd itself be changed for a while: its programs, state and unit, and what the rule self guards besides.

    Everything that the rule would have denied is journaled meanwhile. Other rules go on as always.
    """
    if is_end:
        return Answer(change(socket, "maintain", for_s=0.0), "nbspd guards itself again")
    if not for_s or not (reason or "").strip():
        raise UsageError("--for and --reason are needed, or --end", 'nbsp maintain --for 10m --reason "..."')
    reply = change(socket, "maintain", for_s=for_s, reason=reason)
    return Answer(reply, f"for {for_s:g} s nbspd may be changed; to end it before: nbsp maintain --end")


def change(socket: Path, name: str, **fields: Any) -> dict[str, Any]:
    """Ask the daemon for a change and return its reply without the envelope."""
    from ..control.client import ask
    reply = ask(name, socket, timeout_s=CHANGE_TIMEOUT_S, **fields)
    reply.pop("ok", None)
    return reply


def change_words(reply: Mapping[str, Any]) -> str:
    """Return what a change did: one line, and one for each thing that is declared otherwise."""
    before, after = reply.get("before"), reply.get("generation")
    lines = [f"generation {before} -> {after}" if before != after else f"generation {after}: nothing changed"]
    for verb_name, sign in SIGNS:
        for section, names in reply.get(verb_name, {}).items():
            lines += [f"  {sign} {section[:-1]} {clean(name)}" for name in names]
    return "\n".join(lines)
