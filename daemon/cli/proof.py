"""nbsp journal verify, anchor and key: whether the journal is untouched, and what to keep elsewhere to know it."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import click

from ..errors import ControlError, JournalError
from ..paths import STATE
from .status import moment
from .verb import FOLDER, Answer, verb

if TYPE_CHECKING:
    from ..journal.anchors import Anchor
    from ..journal.chain import Verified
    from ..journal.keys import PublicKey

STATE_OPTION = click.Option(["--state"], type=FOLDER, default=STATE, show_default=True, metavar="DIR",
                            help="Folder of the journal.")


@verb("verify", "sudo nbsp journal verify\n  nbsp journal verify copy.db --key host.pub --anchor nbsp-anchor:812:9f…",
      options=[click.Argument(["file"], required=False, type=FOLDER), STATE_OPTION,
               click.Option(["--key", "keys"], multiple=True, metavar="KEY",
                            help="Public key of the host: the line, or a file with it. More than one may be given."),
               click.Option(["--anchor", "anchors"], multiple=True, metavar="ANCHOR",
                            help="What nbsp journal anchor printed, or a file with such lines.")])
def verify(file: Path | None, state: Path, socket: Path, keys: Sequence[str], anchors: Sequence[str]) -> Answer:
    """Check the journal, or a copy of it: its chain, the host's signatures, its accounts, and anchors kept elsewhere.

    Finds any edit, removal or reordering and names the first bad record; then the exit code is 1. A copy (FILE) needs
    nothing but the public key. Without FILE it is this host's journal: the public key beside it is used, and what the
    daemon and the kernel's counters know is compared, if the daemon runs.
    """
    from ..journal.chain import verify as verify_chain
    from ..journal.keys import keys_beside, read_keys
    from .permission import require_journal
    path = file if file is not None else state / "journal.db"
    require_journal(path, ["journal", "verify", *where(file, state)])
    wanted = [anchor for text in anchors for anchor in read_anchors(text)]
    status = daemon_status(socket, path) if file is None else None
    if status is not None and status["journal"]["anchor"]:
        wanted += read_anchors(status["journal"]["anchor"])
    known: tuple[PublicKey, ...] = tuple(key for text in keys for key in read_keys(text))
    if not known and file is None and (status is None or status["journal"]["signed"] or has_signature(path)):
        known = keys_beside(state)      # else the daemon has signed nothing yet, and says itself what it wrote last
    found = verify_chain(path, known, wanted)
    if status is not None and status["unexplained"]:
        raise JournalError(f"the kernel counted {status['totals']['hits']} hits, and of {abs(status['unexplained'])} "
                           "of them nobody knows what became: records or accounts were taken from the journal",
                           "compare with a copy kept elsewhere; see: nbsp status")
    data = {**asdict(found), "strangers": list(found.strangers), "is_compared": status is not None}
    return Answer(data, words(found, file is None, status is not None))


def has_signature(path: Path) -> bool:
    """Return whether anything in a journal is signed. Raises JournalError."""
    from ..journal.reader import Reader
    reader = Reader(path)
    try:
        return bool(reader.last_key())
    finally:
        reader.close()


def where(file: Path | None, state: Path) -> list[str]:
    """Return the words that name the journal on a command line."""
    if file is not None:
        return [str(file)]
    return ["--state", str(state)] if state != STATE else []


def daemon_status(socket: Path, path: Path) -> Mapping[str, Any] | None:
    """Return what the daemon of this very journal knows, None when it does not answer."""
    from ..control.client import ask
    try:
        status = ask("status", socket)
    except ControlError:
        return None
    return status if Path(status["journal"]["path"]).resolve() == path.resolve() else None


def read_anchors(where: str) -> list[Anchor]:
    """Return the anchors in a text, or in a file. Raises JournalError."""
    from ..journal.anchors import FORM, parse_anchor
    if not FORM.search(where) and os.path.isfile(where):
        with open(where, encoding="utf-8", errors="replace") as file:
            lines = [line for line in file if FORM.search(line)]
        return [parse_anchor(line) for line in lines] or [parse_anchor(where)]
    return [parse_anchor(where)]


def words(found: Verified, is_host: bool, is_compared: bool) -> str:
    """Return what was found, and what was not looked at."""
    if not found.count:
        return "the journal is empty"
    lines = [f"{found.count} records, {found.first} to {found.last}, untouched; last hash {found.head}"]
    at = moment(found.signed_ns / 1e9)
    if not found.signatures:
        lines.append("nothing is signed yet: the chain and the records could have been written anew")
    elif found.is_checked:
        rest = found.last - found.signed_to - 1
        lines.append(f"signed by the host key {found.signed_by} up to record {found.signed_to}, at {at}"
                     + (f"; the {rest} records since then are chained, but not signed" if rest else ""))
        if found.strangers:
            lines.append(f"earlier signatures by {', '.join(found.strangers)} were not checked: give its key, too")
    else:
        lines.append(f"{found.signatures} signatures, the last by {found.signed_by} of record {found.signed_to}, were "
                     "NOT checked: give the host's public key with --key (nbsp journal key prints it)")
    lines.append(f"compared with {found.anchors} anchors" if found.anchors and not is_compared else "")
    if is_compared:
        lines.append("compared with what the daemon wrote, and with the kernel's counters")
    elif is_host:
        lines.append("the daemon does not answer: not compared with the kernel's counters")
    return "\n".join(filter(None, lines))


@verb("anchor", "nbsp journal anchor --syslog >> /mnt/elsewhere/anchors",
      options=[STATE_OPTION,
               click.Option(["--syslog", "is_logged"], is_flag=True, help="Write it to the system's log, too.")])
def anchor(state: Path, socket: Path, is_logged: bool) -> Answer:
    """Print the head of the journal in one line: number and hash of the newest record, and the host key's id.

    Keep it where nobody who may change this host can change it. With it, nbsp journal verify --anchor finds that the
    journal was cut off, replaced by an older copy, or written anew.
    """
    from ..journal.anchors import parse_anchor
    from ..journal.reader import Reader
    from .permission import require_journal
    path = state / "journal.db"
    status = daemon_status(socket, path)
    if status is not None and status["journal"]["anchor"]:
        found = parse_anchor(status["journal"]["anchor"])
    else:
        require_journal(path, ["journal", "anchor", *where(None, state)])
        reader = Reader(path)
        try:
            found = reader.anchor()
        finally:
            reader.close()
    if is_logged:
        import syslog
        syslog.openlog("nbsp", 0, syslog.LOG_AUTHPRIV)
        syslog.syslog(syslog.LOG_NOTICE, found.text)
    return Answer({"anchor": found.text, **found._asdict()}, found.text)


@verb("key", "nbsp journal key > host.pub", is_remote=False, options=[STATE_OPTION])
def key(state: Path) -> Answer:
    """Print the public key with which this host's journal can be checked: one line, to be kept elsewhere."""
    from ..journal.keys import read_keys
    found = read_keys(str(state / "host.pub"))[0]
    return Answer({"key": found.text, "id": found.id}, found.text)
