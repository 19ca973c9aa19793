"""The catalogue of channels as a document: docs/channels.md, of which a test demands that it is up to date."""

from __future__ import annotations

from typing import Iterator, Mapping, Sequence

from ..programs.catalogue import HOOKS
from .channel import Channel
from .channels import CLOSES_NOTHING, every_channel

FAMILIES = {
    "H1": "name aliasing", "H2": "other submission paths", "H3": "other ABIs", "H4": "other network paths",
    "H5": "handles", "H6": "borrowed identity", "H7": "code without exec", "H8": "lineage laundering",
    "H9": "namespaces and mounts", "H10": "time", "H11": "capacity", "H12": "the monitor", "H13": "the kernel",
    "H14": "races"}
NAMED = 3       # so many attempts of a channel are named

HEAD = """# The channels

Every way of reaching a protected resource that we know of, the kernel hook that closes it, why that hook is enough,
and the attempts of `nbsp drill` at it. This file is generated (`make channels`) from the tables in `daemon/coverage/`,
`daemon/programs/` and `daemon/drill/` ([0013](decisions/0013-one-catalogue.md)); `nbsp coverage` says the same of a
running host, where a program may be missing, and `nbsp drill` tries it there.

Tiers `lsm` and `fmod_ret` have the same hooks; tier `socket` has fewer. *Open* means that nothing closes the channel;
for files in tier `socket` because there is no hook that could refuse it. *Asked for* is what nbspd asks the kernel or
host for, where not every one of them has it: the hook, or the feature that the channel is made of. It is found out by
trying, never by the kernel's version.
"""
COLUMNS = ("channel", "what", "targets", "tiers lsm, fmod_ret", "tier socket", "why that is enough, or why it is open",
           "asked for", "attempts")
SINCE = {hook.name: hook.since for hook in HOOKS if hook.since}

Attempts = Mapping[str, Sequence[str]]          # channel -> ids of attempts at it


def markdown(attempts: Attempts) -> str:
    """Return the document."""
    channels = every_channel()
    return "\n".join([HEAD, *tables(channels, attempts), *not_attempted(channels), *other_hooks()]) + "\n"


def tables(channels: Sequence[Channel], attempts: Attempts) -> Iterator[str]:
    """Yield the lines of a table for each family."""
    for family, title in FAMILIES.items():
        yield f"## {family}: {title}\n"
        yield row(COLUMNS)
        yield "|---" * len(COLUMNS) + "|"
        for channel in channels:
            if channel.family == family:
                yield row((channel.id, channel.words, targets(channel), closed_by(channel, channel.hooks),
                           closed_by(channel, channel.socket or ()), reasons(channel), since(channel),
                           attempted(channel, attempts.get(channel.id, ()))))
        yield ""


def not_attempted(channels: Sequence[Channel]) -> Iterator[str]:
    """Yield the channels that no attempt of the drill is made at, each with the reason."""
    yield "## Not attempted\n"
    for channel in channels:
        if channel.no_attempt:
            yield f"- {channel.id} ({channel.family}, {channel.words}): {channel.no_attempt}"
    yield ""


def other_hooks() -> Iterator[str]:
    """Yield the hooks that close nothing, with what they are there for."""
    yield "## Hooks that close no channel\n"
    yield from (f"- `{name}` {words}" for name, words in CLOSES_NOTHING.items())


def row(cells: Sequence[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def targets(channel: Channel) -> str:
    """Return the kinds of target that a channel leads to."""
    kinds = ("file", "tree", "exec", "device", "tcp", "udp", "unix", "abstract")
    if channel.kinds.issuperset(kinds):
        return "all"
    return ", ".join(kind for kind in (*kinds, "pseudo") if kind in channel.kinds)


def closed_by(channel: Channel, hooks: tuple[str, ...]) -> str:
    """Return what closes a channel."""
    if not hooks:
        return "*open*"
    note = f" ({channel.in_socket})" if hooks is channel.socket and channel.in_socket else ""
    return ", ".join(f"`{hook.replace('|', '` or `')}`" for hook in hooks) + note


def reasons(channel: Channel) -> str:
    """Return why the hooks are enough, and why the channel is open where it has none."""
    if not channel.hooks:
        return f"*open*: {channel.reason}"
    return f"{channel.why}. *Tier socket*: {channel.reason}" if channel.reason else channel.why


def since(channel: Channel) -> str:
    """Return what the kernel or host is asked for."""
    names = [name for hook in channel.hooks + (channel.socket or ()) for name in hook.split("|")]
    found = [SINCE[name] for name in names if name in SINCE] + ([channel.since] if channel.since else [])
    return ", ".join(f"`{name}`" for name in dict.fromkeys(found))


def attempted(channel: Channel, names: Sequence[str]) -> str:
    """Return how many attempts there are at a channel, with the first of them, or why there is none."""
    if not names:
        return f"none: {channel.no_attempt}"
    return f"{len(names)}: {', '.join(names[:NAMED])}{' …' if len(names) > NAMED else ''}"
