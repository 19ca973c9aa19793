"""The daemon's words become Knowledge: everything asked for, in pages, of one generation."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any, Callable, Mapping, Sequence

from ..abi import RDEV_DEV
from ..errors import ControlError
from ..rules.plan import address_bits
from .knowledge import CheckpointFacts, Demands, Knowledge, Protected, RuleFacts, Stamped

PAGE = 5000
ATTEMPTS = 3

Ask = Callable[..., Mapping[str, Any]]      # Client.ask


def learn(ask: Ask) -> Knowledge:
    """Return what the daemon knows. Raises ControlError: it is gone, refuses, or reloads all the time."""
    for _ in range(ATTEMPTS):
        first = ask("audit", offset=0, limit=PAGE)
        known = heard(first)
        read = len(first["objects"])
        while read < first["total"]:
            reply = ask("audit", offset=read, limit=PAGE)
            if (reply["generation"], reply["total"]) != (first["generation"], first["total"]) or not reply["objects"]:
                break
            take(known, reply["objects"])
            read += len(reply["objects"])
        else:
            return known
    raise ControlError("the rules changed while they were looked at, again and again", "wait a little: nbsp audit")


def refresh_stamps(known: Knowledge, ask: Ask) -> bool:
    """Ask for the stamps of this moment; return whether the generation is still the same. Raises ControlError."""
    reply = ask("audit", offset=0, limit=0)
    known.stamps = stamps_of(reply["stamps"])
    return bool(reply["generation"] == known.generation)


def heard(reply: Mapping[str, Any]) -> Knowledge:
    """Return a reply as typed objects."""
    known = Knowledge(
        int(reply["generation"]), str(reply["tier"]), int(reply["pid"]), str(reply["cgroup"]),
        tuple(RuleFacts(one["id"], one["resource"], tuple(one["only_through"]), one["mode"], one["owner"])
              for one in reply["rules"]),
        tuple(CheckpointFacts(one["name"], one["exe"], (one["dev"], one["ino"]), one["uid"], one["user"], one["unit"],
                              one["cgroup"], tuple(one["after"]), one["stamp"] == "self")
              for one in reply["checkpoints"]),
        {int(bit): str(name) for bit, name in reply["bits"].items()}, stamps=stamps_of(reply["stamps"]))
    take(known, reply["objects"])
    return known


def stamps_of(rows: Sequence[Mapping[str, Any]]) -> dict[int, Stamped]:
    """Return the stamps by process."""
    return {int(one["pid"]): Stamped(int(one["start_ticks"]), frozenset(one["names"])) for one in rows}


def take(known: Knowledge, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add protected objects."""
    for row in rows:
        own = demands_of(row["own"])
        if row["kind"] == "inode":
            protected = Protected(row["path"], own, demands_of(row["tree"]))
            if row["dev"] == RDEV_DEV:
                known.devices[row["ino"]] = protected
            else:
                known.objects[row["dev"], row["ino"]] = protected
        elif row["kind"] == "name":
            protected = Protected(os.path.join(row["path"], row["name"]), own, demands_of(row["tree"]))
            if protected.own or protected.tree:     # else a name that is only awaited
                known.names.append(((row["dev"], row["ino"]), row["path"], row["name"], protected))
        elif row["kind"] == "endpoint":
            network = row["length"], address_bits(ip_address(row["address"]))
            known.endpoints.setdefault((row["proto"], row["port"]), {})[network] = own
        elif row["kind"] == "unix":
            known.unix_names[unix_name(row["name"])] = own


def demands_of(pairs: Sequence[Sequence[int]]) -> Demands:
    """Return demands."""
    return tuple((int(rule), int(access)) for rule, access in pairs)


def unix_name(text: str) -> bytes:
    """Return a name as in sun_path."""
    name = os.fsencode(text)
    return b"\0" + name[1:] if name[:1] == b"@" else name
