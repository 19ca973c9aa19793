"""What the routing socket says of the packet filters of interfaces."""

from __future__ import annotations

import pytest

from nbspd.control.netlink import (ATTRIBUTE, CLSACT, EGRESS, HEADER, PRIORITY, RTM_DELQDISC, RTM_DELTFILTER,
                                   RTM_NEWTFILTER, TCA_BPF_ID, TCA_OPTIONS, TCMSG, filter_changes)
from nbspd.programs import interfaces

INGRESS = 0xFFFFFFF2


def attribute(kind: int, content: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(content), kind) + content + bytes(-len(content) % 4)


def message(kind: int, index: int, parent: int, priority: int = PRIORITY, program: int = 0) -> bytes:
    options = attribute(TCA_OPTIONS, attribute(1, b"x") + attribute(TCA_BPF_ID, program.to_bytes(4, "little")))
    body = TCMSG.pack(0, index, 0, parent, priority << 16) + attribute(1, b"bpf\0") + (options if program else b"")
    return HEADER.pack(HEADER.size + len(body), kind, 0, 0, 0) + body


def test_our_filter_is_meant() -> None:
    assert (PRIORITY, EGRESS) == (interfaces.PRIORITY, interfaces.EGRESS_NUMBER)


@pytest.mark.parametrize("data, found", [
    (message(RTM_DELTFILTER, 3, EGRESS), [(3, 0)]),
    (message(RTM_DELTFILTER, 3, EGRESS, priority=0), [(3, 0)]),
    (message(RTM_DELTFILTER, 3, EGRESS, priority=1), []),
    (message(RTM_DELTFILTER, 3, INGRESS), []),
    (message(RTM_DELQDISC, 4, CLSACT), [(4, 0)]),
    (message(RTM_DELQDISC, 4, EGRESS), []),
    (message(RTM_NEWTFILTER, 5, EGRESS, program=77), [(5, 77)]),
    (message(RTM_NEWTFILTER, 5, EGRESS, priority=1, program=77), []),
    (message(RTM_DELQDISC, 4, CLSACT) + message(RTM_NEWTFILTER, 4, EGRESS, program=7), [(4, 0), (4, 7)])])
def test_changes_in_our_place(data: bytes, found: list[tuple[int, int]]) -> None:
    assert list(filter_changes(data)) == found


def test_what_is_cut_short_is_left_out() -> None:
    whole = message(RTM_DELTFILTER, 3, EGRESS)
    assert all(not list(filter_changes(whole[:length])) for length in range(len(whole)))
