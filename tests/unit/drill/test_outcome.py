"""What became of an attempt is decided from proof first, and never in our favour."""

from __future__ import annotations

import pytest

from nbspd.drill.attempt import Attempt, row
from nbspd.drill.outcome import ABSENT, BLOCKED, BROKEN, THROUGH, Ending, decide

READ = row("H1", "names", "plain", "read", "read a file")
WRITE = row("H1", "names", "plain", "write", "change a file")
SEND = row("H4", "udp", "udp-sendto", "send", "send", target="", is_silent=True)
ACT = row("H12", "signals", "monitor-signal", "act", "a signal")


@pytest.mark.parametrize("attempt, ending, outcome", [
    (READ, Ending(0, b"nothing\n\ndone as far as it can tell\n"), BROKEN),
    (READ, Ending(0, b"x", has_secret=True), THROUGH),
    (READ, Ending(10, b"x", has_secret=True), THROUGH),                 # whatever it says of itself
    (READ, Ending(None, b"x", has_secret=True), THROUGH),
    (READ, Ending(-9, b"", is_heard=True, is_changed=True), BLOCKED),   # that is no proof of reading
    (READ, Ending(10, b"\nblocked open: EPERM\n"), BLOCKED),
    (READ, Ending(-9, b""), BLOCKED),
    (READ, Ending(-11, b""), BROKEN),
    (READ, Ending(11, b"\nsilent open: EAGAIN\n"), BROKEN),             # a file does not answer with silence
    (READ, Ending(20, b"\nabsent x32 calls: ENOSYS\n"), ABSENT),
    (READ, Ending(30, b"\nbroken open: ENOENT\n"), BROKEN),
    (READ, Ending(None, b""), BROKEN),
    (READ, Ending(2, b"usage\n"), BROKEN),
    (WRITE, Ending(10, b"", is_changed=True), THROUGH),
    (WRITE, Ending(0, b""), BROKEN),
    (SEND, Ending(0, b""), BLOCKED),                                    # sent, and dropped at the packet
    (SEND, Ending(0, b"", is_heard=True), THROUGH),
    (SEND, Ending(11, b"\nsilent sendto: ENOBUFS\n"), BLOCKED),
    (ACT, Ending(0, b""), THROUGH),
    (ACT, Ending(10, b""), BLOCKED),
])
def test_with_rules(attempt: Attempt, ending: Ending, outcome: str) -> None:
    assert decide(attempt, ending, True)[0] == outcome


@pytest.mark.parametrize("attempt, ending, outcome", [
    (READ, Ending(10, b"\nblocked open: EPERM\n"), BROKEN),
    (READ, Ending(-9, b""), BROKEN),
    (SEND, Ending(0, b""), BROKEN),
    (SEND, Ending(11, b""), BROKEN),
    (READ, Ending(20, b"\nabsent no\n"), ABSENT),
    (READ, Ending(0, b"", has_secret=True), THROUGH),
])
def test_without_rules_nothing_is_blocked(attempt: Attempt, ending: Ending, outcome: str) -> None:
    assert decide(attempt, ending, False)[0] == outcome


def test_the_reason_is_what_it_said_last() -> None:
    output = b"noise\n\nblocked open: EPERM (Operation not permitted)\n"
    assert decide(READ, Ending(10, output), True) == (BLOCKED, "open: EPERM (Operation not permitted)")
    assert decide(READ, Ending(20, b"\nabsent uselib: ENOSYS\n"), True) == (ABSENT, "uselib: ENOSYS")
    assert "no rule guards it: open: EPERM" in decide(READ, Ending(10, output), False)[1]
