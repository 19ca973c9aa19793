"""nbsp journal: what happened on this host, and whether the journal is untouched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

import click

from ..errors import EXIT_OK
from ..paths import STATE
from .verb import FOLDER, Answer, Entry, LazyGroup, Moment, shared_options, verb

LIMIT = 100
CUT = "(older records were left out, as there are too many; use --since, --rule or --limit)"
SUBVERBS = {"verify": Entry(".journal", "verify", "check the hash chain, name the first bad record")}


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


@verb("verify", "sudo nbsp journal verify", is_remote=False,
      options=[click.Option(["--state"], type=FOLDER, default=STATE, show_default=True, metavar="DIR",
                            help="Folder of the journal.")])
def verify(state: Path) -> Answer:
    """Check the hash chain of the journal file.

    Finds any edit, removal or reordering and names the first bad record; then the exit code is 1. The daemon need
    not run.
    """
    from ..journal.chain import verify as verify_chain
    from .permission import require_journal
    words = ["journal", "verify", *(["--state", str(state)] if state != STATE else [])]
    require_journal(state / "journal.db", words)
    found = verify_chain(state / "journal.db")
    data = {"count": found.count, "first": found.first, "last": found.last, "head": found.head}
    if not found.count:
        return Answer(data, "the journal is empty")
    return Answer(data, f"{found.count} records, {found.first} to {found.last}, untouched; last hash {found.head}")
