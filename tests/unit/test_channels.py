"""One catalogue: hooks, channels and attempts name one another, and what is missing on one side stops the build."""

from __future__ import annotations

from collections import Counter

import pytest

from nbspd.coverage.channel import NET, UNIX, Channel
from nbspd.coverage.channels import CLOSES_NOTHING, every_channel
from nbspd.coverage.document import SINCE, attempted, since
from nbspd.drill import covers
from nbspd.drill.attempt import Attempt, row
from nbspd.drill.catalogue import ATTEMPTS, attempts_at
from nbspd.drill.controls import CONTROLS
from nbspd.programs.catalogue import HOOKS

CHANNELS = {channel.id: channel for channel in every_channel()}
AT = attempts_at(ATTEMPTS)
ENDPOINTS = NET | UNIX


def hooks_named() -> set[str]:
    return {name for channel in CHANNELS.values() for hook in channel.hooks + (channel.socket or ())
            for name in hook.split("|")}


def test_ids_are_unique() -> None:
    assert [name for name, count in Counter(channel.id for channel in every_channel()).items() if count > 1] == []


def test_every_hook_closes_a_channel_or_says_what_it_is_for() -> None:
    """Each function of bpf/ has a row in HOOKS: programs/test_catalogue.py."""
    known = {hook.name for hook in HOOKS}
    assert known - hooks_named() == set(CLOSES_NOTHING), "give the hook a channel, or a line in CLOSES_NOTHING"
    assert hooks_named() <= known
    assert all(CLOSES_NOTHING.values())


@pytest.mark.parametrize("channel", CHANNELS.values(), ids=lambda channel: channel.id)
def test_channel(channel: Channel) -> None:
    assert bool(channel.why) == bool(channel.hooks), "why the hooks are enough, and what they cannot see"
    assert channel.hooks or channel.reason, "why it is open"
    assert not channel.hooks or channel.socket or channel.socket is None
    if channel.id in AT:
        assert not channel.no_attempt, f"it has attempts: {AT[channel.id]}"
    else:
        assert channel.no_attempt, "no attempt names it: daemon/drill/covers.py, or no_attempt with a sentence"


def test_few_channels_go_without_an_attempt() -> None:
    assert sum(bool(channel.no_attempt) for channel in CHANNELS.values()) <= 20


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.id)
def test_attempt(attempt: Attempt) -> None:
    assert attempt.covers, "name its channel in daemon/drill/covers.py"
    assert set(attempt.covers) <= CHANNELS.keys()
    assert len(set(attempt.covers)) == len(attempt.covers)
    for name in attempt.covers:
        kinds = CHANNELS[name].kinds
        if attempt.goal in ("connect", "send"):
            assert kinds & ENDPOINTS, f"{name} leads to no endpoint"
        elif attempt.goal != "act":
            assert kinds - ENDPOINTS, f"{name} leads to no file"


def test_whatever_covers_says_is_of_use() -> None:
    """A line for a technique that there is not would go unnoticed."""
    techniques = {attempt.technique for attempt in ATTEMPTS}
    assert set(covers.ALIASES) | set(covers.TECHNIQUES) <= techniques
    assert not set(covers.ALIASES) & set(covers.TECHNIQUES)
    assert {name.partition(" ")[0] for name in covers.SPECIAL} <= techniques
    said = {(attempt.technique, word) for attempt in (*ATTEMPTS, *(control.attempt for control in CONTROLS))
            for word in (*attempt.command[1:], attempt.goal)}
    assert [name for name in covers.SPECIAL if tuple(name.split(" ")) not in said] == []


def test_a_row_may_name_its_channels_by_itself() -> None:
    assert row("H1", "names", "symlink", "read", "x").covers == ("symlink",)
    assert row("H1", "names", "symlink", "exec", "x").covers == ("symlink", "exec")
    assert row("H1", "names", "symlink", "connect", "x").covers == ("unix-alias",)
    assert row("H1", "names", "symlink", "read", "x", covers=["open"]).covers == ("open",)
    assert row("H6", "x", "chmod", "write", "x", target="{own}").covers == ("replaced-program",)
    assert row("H1", "x", "a-new-technique", "read", "x").covers == ()


def test_what_a_host_may_not_have_is_said_to_be_asked_for() -> None:
    assert SINCE.keys() <= {hook.name for hook in HOOKS if not hook.is_required}
    assert since(CHANNELS["acl"]) == "`bpf_lsm_inode_set_acl`, `bpf_lsm_inode_remove_acl`"
    assert since(CHANNELS["unix-connect"]) == "`BPF_CGROUP_UNIX_CONNECT`"
    assert since(CHANNELS["open"]) == ""
    assert {name for name, channel in CHANNELS.items() if channel.since} == {
        "mptcp", "fast-open", "io-uring-file", "io-uring-change", "io-uring-socket", "uring-file"}


def test_the_document_names_the_first_attempts_and_the_reason_for_none() -> None:
    assert attempted(CHANNELS["symlink"], ["a", "b", "c", "d"]) == "4: a, b, c …"
    assert attempted(CHANNELS["symlink"], ["a"]) == "1: a"
    assert attempted(CHANNELS["errand"], ()).startswith("none: a checkpoint")
