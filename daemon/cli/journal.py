"""nbsp journal: what happened on this host, and whether the journal is untouched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

import click

from ..errors import EXIT_OK
from .verb import Entry, LazyGroup, Moment, shared_options

LIMIT = 100
CUT = "(older records were left out, as there are too many; use --since, --rule or --limit)"
SUBVERBS = {
    "verify": Entry(".proof", "verify", "check chain, signatures and accounts, name the first bad record"),
    "anchor": Entry(".proof", "anchor", "the head of the journal in a line, to be kept elsewhere"),
    "key": Entry(".proof", "key", "the public key with which the journal can be checked"),
}


def show(runtime: Path, since: float | None, rule: str | None, limit: int, is_following: bool, is_json: bool) -> int:
    """Print the records asked for, and with `is_following` all later ones until interrupted."""
    from ..control.client import Client
    with Client(runtime / "control.sock") as client:
        reply = client.ask("journal", since=since, rule=rule, limit=limit)
        if not is_following:
            reply.pop("ok", None)
            click.echo(json.dumps(reply) if is_json else words(reply))
            return EXIT_OK
        for record in reply["records"]:
            click.echo(json.dumps(record) if is_json else line(record))
        try:
            for record in client.follow(int(reply["last"]), rule):
                click.echo(json.dumps(record) if is_json else line(record))
        except KeyboardInterrupt:
            pass
    return EXIT_OK


def words(reply: Mapping[str, Any]) -> str:
    """Return the records, a line each, after a line that says so when older ones are missing."""
    head = [CUT] if reply["is_cut"] else []
    return "\n".join([*head, *map(line, reply["records"])]) or "no records"


def line(record: Mapping[str, Any]) -> str:
    """Return a record, as the daemon sent it, in one line."""
    from ..journal.record import Record
    return Record.from_json(json.dumps(record)).line()


@click.pass_context
def callback(ctx: click.Context, runtime: Path, since: float | None, rule: str | None, limit: int, is_following: bool,
             is_json: bool, is_debug: bool) -> int:
    """Show the journal unless another verb was named."""
    if ctx.invoked_subcommand is not None:
        return EXIT_OK
    return show(runtime, since, rule, limit, is_following, is_json)


journal = LazyGroup(
    SUBVERBS, name="journal", invoke_without_command=True, callback=callback,
    help="""Show the journal, the oldest of the records asked for first.

    A record says who did what by what path, which rule it violated and which checkpoint it should have passed.
    With --follow and --json each record is an object on a line of its own.""",
    epilog="\b\nExample:\n  nbsp journal --since 2h --rule db-through-pooler --follow",
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[click.Option(["--since"], type=Moment(), metavar="TIME", help="Not before: 2h (ago) or 2026-11-22T16:00."),
            click.Option(["--rule"], metavar="ID", help="Of this rule only."),
            click.Option(["--limit"], type=click.IntRange(1, 10_000), default=LIMIT, show_default=True,
                         help="The newest so many."),
            click.Option(["--follow", "-f", "is_following"], is_flag=True, help="Go on with new ones as they come."),
            *shared_options(is_remote=True)])
