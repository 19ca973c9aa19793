"""on-bypass: kill, where the kernel program could only refuse.

Programs on cgroups cannot send signals, so the daemon does, as soon as it reads of the refusal. The process is named by
its number and its start time, so that nobody else dies for it. Packets are left out: they leave in any context, and the
process in their record may be a bystander.
"""

from __future__ import annotations

import os
import signal

from .abi import Channel, VerdictCode
from .events.decode import Hit
from .events.describe import RuleWords
from .kernel.process import open_pidfd
from .rules.model import Rule

CHANNELS = frozenset({Channel.CONNECT, Channel.SEND, Channel.UNIX_CONNECT, Channel.UNIX_SEND})


def is_to_be_killed(hit: Hit, rule: RuleWords | None) -> bool:
    """Return whether a hit was refused by a rule that wants more than that."""
    return (isinstance(rule, Rule) and rule.on_bypass == "kill" and rule.mode == "enforce"
            and hit.verdict == VerdictCode.DENIED and hit.channel in CHANNELS and hit.tgid not in (0, 1, os.getpid()))


def kill(hit: Hit) -> bool:
    """Kill exactly the process of a hit; returns False when it is gone already."""
    try:
        descriptor = open_pidfd(hit.tgid, hit.start_ticks)
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True
