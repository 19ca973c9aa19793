"""The catalogue of channels, as data: which hooks close a channel for which kind of target, or why it is open.

`hooks` name the programs that must all be attached; "a|b" means a, or b on kernels that have no a. Tier `socket` has
its own column, because it has other hooks; where that is None the channel is open there. A channel without hooks is
open everywhere. `why` says why the hooks are enough, and what they cannot see; the reason in a row is that of its
being open. Nothing may be claimed here that no hook does: a new row starts as open. It also needs an attempt: its id
goes into daemon/drill/covers.py, or `no_attempt` says why there can be none.

The rows stand in one file for each group of families.
"""

from __future__ import annotations

from typing import Iterable

from .channel import Channel
from .channels_calls import CALLS
from .channels_files import MOUNTS, NAMES
from .channels_handles import HANDLES
from .channels_host import HOST_CHANNELS, PENDING, TELLING
from .channels_identity import IDENTITY
from .channels_network import NETWORK

__all__ = ["CHANNELS", "CLOSES_NOTHING", "HOST_CHANNELS", "PENDING", "TELLING", "Channel", "every_channel", "whys"]

# What is asked for each rule; the order is that of `nbsp coverage`.
CHANNELS: tuple[Channel, ...] = (*NAMES, *CALLS, *NETWORK, *HANDLES, *IDENTITY, *MOUNTS)

# Hooks that close no channel, and what they are there for.
CLOSES_NOTHING = {
    "cgroup_mkdir": "tells which cgroup is a declared unit's, so that `unit:` can be asked at exec",
    "cgroup_rmdir": "forgets a declared unit's cgroup when it goes",
    "inode_getattr": "tells the daemon how the kernel calls an inode; it judges nothing",
    "inode_rename_again": "asks in tier lsm what inode_rename asks, which is a tracing program and can be skipped",
}


def every_channel() -> tuple[Channel, ...]:
    """Return all rows: those of rules, of a path that is pending, and of the host."""
    return (*CHANNELS, PENDING, *HOST_CHANNELS)


WHY = {channel.id: channel.why for channel in every_channel() if channel.why}


def whys(ids: Iterable[str]) -> dict[str, str]:
    """Return why the hooks of some channels are enough; channels that no hook closes are left out."""
    return {name: WHY[name] for name in dict.fromkeys(ids) if name in WHY}
