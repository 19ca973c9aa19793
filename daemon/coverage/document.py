"""The catalogue of channels as a document: docs/channels.md, of which a test demands that it is up to date."""

from __future__ import annotations

from typing import Iterator, Sequence

from .channels import CHANNELS, HOST_CHANNELS, NO_FILE_HOOKS, PENDING, Channel

FAMILIES = {
    "H1": "name aliasing", "H2": "other submission paths", "H3": "other ABIs", "H4": "other network paths",
    "H5": "handles", "H6": "borrowed identity", "H7": "code without exec", "H8": "lineage laundering",
    "H9": "namespaces and mounts", "H10": "time", "H11": "capacity", "H12": "the monitor", "H13": "the kernel",
    "H14": "races"}

HEAD = """# The channels

Every way of reaching a protected resource that we know of, and the kernel hook that closes it. This file is generated
from `daemon/coverage/channels.py` (`python3 -m nbspd.coverage.document > docs/channels.md`); `nbsp coverage` says the
same of a running host, where a program may be missing.

Tiers `lsm` and `fmod_ret` have the same hooks; tier `socket` has fewer. *Open* means that nothing closes the channel.
"""


def markdown() -> str:
    """Return the document."""
    return "\n".join([HEAD, *lines((*CHANNELS, PENDING, *HOST_CHANNELS))]) + "\n"


def lines(channels: Sequence[Channel]) -> Iterator[str]:
    """Yield the lines of a table for each family."""
    for family, title in FAMILIES.items():
        yield f"## {family}: {title}\n"
        yield "| channel | what | targets | tiers lsm, fmod_ret | tier socket |"
        yield "|---|---|---|---|---|"
        for channel in channels:
            if channel.family == family:
                yield (f"| {channel.id} | {channel.words} | {targets(channel)} | {closed_by(channel, channel.hooks)} "
                       f"| {closed_by(channel, channel.socket or ())} |")
        yield ""


def targets(channel: Channel) -> str:
    """Return the kinds of target that a channel leads to."""
    kinds = ("file", "tree", "exec", "device", "tcp", "udp", "unix", "abstract")
    if channel.kinds.issuperset(kinds):
        return "all"
    return ", ".join(kind for kind in (*kinds, "pseudo") if kind in channel.kinds)


def closed_by(channel: Channel, hooks: tuple[str, ...]) -> str:
    """Return what closes a channel, or why it is open."""
    if not hooks:
        return f"*open*: {channel.reason or NO_FILE_HOOKS}"
    note = f" ({channel.in_socket})" if hooks is channel.socket and channel.in_socket else ""
    return ", ".join(f"`{hook.replace('|', '` or `')}`" for hook in hooks) + note


if __name__ == "__main__":
    print(markdown(), end="")
