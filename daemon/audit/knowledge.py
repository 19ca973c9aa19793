"""What the daemon knows and an audit needs: rules, what they protect as the kernel knows it, checkpoints, stamps.

The daemon writes it (`page`), the audit reads it (`Knowledge`); docs/control-protocol.md describes what lies between.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from itertools import chain, islice
from typing import Any, Iterable, Iterator, Mapping

from ..kernel.process import ProcessFacts
from ..programs.bound import Binding, Bound
from ..rules.plan import Address, Clauses, address_bits
from ..rules.reserved import FIRST

Demands = tuple[tuple[int, int], ...]       # index of the rule, abi.Access bits
Object = tuple[int, int]                    # superblock device in the kernel's encoding, inode number
BITS = 128


@dataclass(frozen=True)
class RuleFacts:
    """A rule of the active generation."""

    id: str
    resource: str
    only_through: tuple[str, ...]
    mode: str
    owner: str


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint on this host."""

    name: str
    exe: str
    object: Object
    uid: int | None
    user: str
    unit: str
    cgroup: str                 # of its unit; "" for none
    after: tuple[str, ...]
    is_self: bool               # its stamp counts only while a process runs this very program


@dataclass(frozen=True)
class Protected:
    """What the rules demand of an object, and of what lies below it."""

    path: str
    own: Demands = ()
    tree: Demands = ()


@dataclass(frozen=True)
class Stamped:
    """The stamps that the kernel holds for a process."""

    start_ticks: int
    names: frozenset[str]


@dataclass
class Knowledge:
    """One generation, as the daemon told of it."""

    generation: int = 0
    tier: str = ""
    pid: int = 0                # of the daemon
    cgroup: str = "/"           # whose sockets are judged, from the root of the cgroup-v2 tree
    rules: tuple[RuleFacts, ...] = ()
    checkpoints: tuple[CheckpointFacts, ...] = ()
    bits: Mapping[int, str] = field(default_factory=dict)
    objects: dict[Object, Protected] = field(default_factory=dict)
    devices: dict[int, Protected] = field(default_factory=dict)
    names: list[tuple[Object, str, str, Protected]] = field(default_factory=list)   # folder, its path, name
    endpoints: dict[tuple[int, int], dict[tuple[int, int], Demands]] = field(default_factory=dict)
    unix_names: dict[bytes, Demands] = field(default_factory=dict)
    stamps: dict[int, Stamped] = field(default_factory=dict)

    def endpoint(self, protocol: int, address: Address, port: int) -> Demands:
        """Return what the rules demand of whoever talks to an address: those of the smallest network around it."""
        networks = self.endpoints.get((protocol, port), {})
        bits = address_bits(address)
        for length in sorted({length for length, _ in networks}, reverse=True):
            found = networks.get((length, bits >> (BITS - length) << (BITS - length)))
            if found is not None:
                return found
        return ()

    def unmet(self, demands: Demands, wanted: int, stamps: Iterable[str]) -> tuple[RuleFacts, ...]:
        """Return the rules that an access violates."""
        held = frozenset(stamps)
        return tuple(self.rules[rule] for rule, access in demands
                     if access & wanted and not held & frozenset(self.rules[rule].only_through))

    def held(self, facts: ProcessFacts) -> frozenset[str]:
        """Return the stamps that the kernel holds for exactly this process, whether or not they count now."""
        stamped = self.stamps.get(facts.pid)
        return stamped.names if stamped is not None and stamped.start_ticks == facts.start_ticks else frozenset()

    def counting(self, facts: ProcessFacts, exe: Iterable[Object]) -> frozenset[str]:
        """Return those of its stamps that count now; `exe` is what its program may be called.

        As bpf/subject.h: `user:` is looked at each time, and a stamp of kind self ends with the program.
        """
        names, programs = self.held(facts), frozenset(exe)
        return frozenset(one.name for one in self.checkpoints if one.name in names
                         and one.uid in (None, facts.euid) and (not one.is_self or one.object in programs))

    def socket_stamps(self, storage: bytes | None) -> frozenset[str]:
        """Return the checkpoints whose stamps a socket carries, of the bytes that the kernel keeps with it."""
        if storage is None:
            return frozenset()
        value = int.from_bytes(storage, "little")
        return frozenset(name for bit, name in self.bits.items() if value >> bit & 1)


# -- the daemon's side

def clauses_of(bound: Bound, protocol: int, address: Address, port: int) -> Clauses:
    """Return the clauses on an endpoint as the kernel finds them: those of the smallest network around it."""
    bits = address_bits(address)
    for length in range(BITS, -1, -1):
        found = bound.endpoints.get((protocol, port, (length, bits >> (BITS - length) << (BITS - length))))
        if found is not None:
            return found
    return ()


def page(bound: Bound, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Return some of the protected objects as JSON, and how many there are."""
    total = len(bound.inodes) + len(bound.slots) + len(bound.endpoints) + len(bound.sun_names)
    return list(islice(rows(bound), offset, offset + limit)), total


def rows(bound: Bound) -> Iterator[dict[str, Any]]:
    """Yield every protected object as JSON."""
    return chain[dict[str, Any]](
        ({"kind": "inode", "dev": key[0], "ino": key[1], "gen": key[2],
          "path": bound.names.objects.get(key, ""), **binding_json(binding)} for key, binding in bound.inodes.items()),
        ({"kind": "name", "dev": key[0], "ino": key[1], "gen": key[2], "path": bound.names.objects.get(key, ""),
          "name": os.fsdecode(name), **binding_json(binding)} for (key, name), binding in bound.slots.items()),
        ({"kind": "endpoint", "proto": proto, "port": port, "length": length, "address": str(IPv6Address(address)),
          "own": demands_json(clauses)} for (proto, port, (length, address)), clauses in bound.endpoints.items()),
        ({"kind": "unix", "name": os.fsdecode(name.replace(b"\0", b"@", 1) if name[:1] == b"\0" else name),
          "own": demands_json(clauses)} for name, clauses in bound.sun_names.items()))


def binding_json(binding: Binding) -> dict[str, list[list[int]]]:
    """Return the demands on an object as JSON."""
    return {"own": demands_json(binding.own), "tree": demands_json(binding.tree)}


def demands_json(clauses: Clauses) -> list[list[int]]:
    """Return the demands of declared rules as JSON; nbspd's own are about what comes, not about what was."""
    return [[clause.rule, int(clause.access)] for clause in clauses if clause.rule < FIRST]


def stamps_json(stamps: Mapping[int, tuple[int, tuple[str, ...]]]) -> list[dict[str, Any]]:
    """Return the stamps of processes as JSON."""
    return [{"pid": pid, "start_ticks": ticks, "names": list(names)} for pid, (ticks, names) in stamps.items()]


def facts_json(bound: Bound) -> dict[str, Any]:
    """Return rules and checkpoints as JSON."""
    return {
        "rules": [{"id": rule.id, "resource": rule.protect, "only_through": list(rule.only_through), "mode": rule.mode,
                   "owner": rule.owner} for rule in bound.plan.rules],
        "checkpoints": [{"name": one.checkpoint.name, "exe": one.checkpoint.exe, "dev": one.exe[0], "ino": one.exe[1],
                         "uid": one.uid, "user": one.checkpoint.user or "", "unit": one.checkpoint.unit or "",
                         "cgroup": one.cgroup or "", "after": list(one.checkpoint.after),
                         "stamp": one.checkpoint.stamp} for one in bound.checkpoints],
        "bits": {str(bit): name for bit, name in bound.names.stamps.items()}}
