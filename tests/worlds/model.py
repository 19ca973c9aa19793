"""What the kernel must do about an act, as daemon/rules/judge.py has it: the outcome, and a hit for each rule violated.

That is all that the judge does not say: which questions the kernel asks about an act, and how often it tells.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Sequence, Union

from nbspd.abi import Access as Wanted
from nbspd.rules.judge import Access, Judge, Peer, Subject
from nbspd.rules.plan import Plan

from .declare import OURS
from .layout import Layout

READ, WRITE, EXEC, CONNECT = (int(one) for one in (Wanted.READ, Wanted.WRITE, Wanted.EXEC, Wanted.CONNECT))
# What the kernel asks, in its order, of the names of an act: (which name, what is wanted). A refusal ends the asking.
QUESTIONS: dict[str, tuple[tuple[int, int], ...]] = {
    "read": ((0, READ),), "write": ((0, WRITE),), "rdwr": ((0, READ | WRITE),), "list": ((0, READ),),
    "create": ((0, WRITE), (0, WRITE)),                     # the new name, then the file that is opened
    "map": ((0, READ), (0, EXEC)), "exec": ((0, EXEC),),
    "unlink": ((0, WRITE),), "mkdir": ((0, WRITE),), "rmdir": ((0, WRITE),), "chmod": ((0, WRITE),),
    "truncate": ((0, WRITE),), "setxattr": ((0, WRITE),), "symlink": ((1, WRITE),),
    "rename": ((0, READ | WRITE), (1, WRITE)), "link": ((0, READ | WRITE), (1, WRITE)),
    "exchange": ((0, READ | WRITE), (1, READ | WRITE)),
    "stream": ((0, CONNECT),), "dgram": ((0, CONNECT),), "post": ((0, CONNECT),)}
OPENS = ("read", "write", "rdwr")
PROTOCOLS = {"tcp": 6, "udp": 17, "say": 17, "send": 17}
# Of a datagram that is let through in audit mode each layer tells once more: the socket's cgroup, the device.
PACKETS = {"tcp": 0, "udp": 0, "say": 2, "send": 2}
DONE, DENIED, KILLED = "0", "1", "killed"                   # as the actor says it: EPERM is 1
Target = Union[str, bytes, Peer]


@dataclass(frozen=True)
class Outcome:
    """What must become of an act."""

    result: str                     # DONE, DENIED or KILLED
    hits: Counter[str]              # by rule id
    more: frozenset[str]            # rules that count more than that: in audit mode, each packet of a TCP connection

    @property
    def is_done(self) -> bool:
        """Return whether the act has its effect."""
        return self.result == DONE


def peer(verb: str, address: str, port: str) -> Peer:
    """Return the far end that an act names; a mapped address is the one that it stands for."""
    found = ip_address(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return Peer(PROTOCOLS[verb], found, int(port), str(found) in OURS)


class Model:
    """Foretells outcomes under one plan, over a layout that it does not change."""

    def __init__(self, plan: Plan, layout: Layout, tier: str) -> None:
        self.layout, self.tier = layout, tier
        self.judge = Judge(plan)
        self._devices = [one.path for one in plan.paths if one.kind == "device"]

    def outcome(self, subject: Subject, verb: str, names: Sequence[str]) -> Outcome:
        """Return what becomes of an act."""
        hits: Counter[str] = Counter()
        for target, wanted in self._questions(verb, names):
            verdict = self.judge.verdict(subject, Access(target, wanted))
            hits.update((*verdict.rules, *verdict.audited))
            if not verdict.allowed:
                # in tier socket nothing can refuse an exec: whoever tries ends
                is_killed = verdict.is_killed or verb == "exec" and self.tier == "socket"
                return Outcome(KILLED if is_killed else DENIED, hits, frozenset())
        more = frozenset(hits) if verb == "tcp" else frozenset()
        told = 1 + PACKETS.get(verb, 0)
        if verb == "say" and names[0].startswith("::ffff:"):
            told += 1       # to the kernel, sending over an IPv6 socket that is connected to IPv4 names an address
        for rule in hits:
            hits[rule] *= told
        return Outcome(DONE, hits, more)

    def _questions(self, verb: str, names: Sequence[str]) -> list[tuple[Target, int]]:
        if verb in PROTOCOLS:
            return [(peer(verb, *names), CONNECT)]
        asked: list[tuple[Target, int]] = []
        for index, wanted in QUESTIONS[verb]:
            target = self._target(names[index])
            asked.append((target, wanted))
            if verb in OPENS:
                asked += [(path, wanted) for path in self._numbers(names[index])
                          if self.judge.clauses(path) != self.judge.clauses(target)]
        return asked

    def _numbers(self, name: str) -> list[str]:
        """Return the declared path of the device that a name leads to: its number is protected, by whatever node."""
        node = self.layout.at(name)
        return [path for path in self._devices if node is not None and node.kind == "device"
                and self.layout.places[path].minor == node.minor]

    def _target(self, name: str) -> Target:
        if name.startswith("@"):
            return name[1:].encode()
        node = self.layout.at(name)
        return node.declared or name if node is not None else name
