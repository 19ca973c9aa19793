"""Would an access be allowed? Answered by the pure model of the verdict, with the words an operator needs."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Mapping, Union

from .errors import UsageError
from .rules.judge import Access, Judge, Peer, Subject, Wanted
from .rules.model import Checkpoint
from .rules.plan import Plan

PROTOCOLS = {"tcp": 6, "udp": 17}
FILE_ACTIONS = {"read": Wanted.READ, "write": Wanted.WRITE, "exec": Wanted.EXEC,
                "move": Wanted.WRITE | Wanted.MOVE}


def explain_access(plan: Plan, fields: Mapping[str, Any], stamps: frozenset[str] | None) -> dict[str, Any]:
    """Return the verdict on the access that a request describes; `stamps` are those of a running process, if named.

    Raises UsageError when the request names no access, or more than one.
    """
    action, access, words = wanted_access(fields)
    conditions: list[str] = []
    exe = fields.get("exe")
    if stamps is None:
        earned = [checkpoint for checkpoint in plan.checkpoints if exe and is_same_file(checkpoint.exe, exe)]
        stamps = frozenset(checkpoint.name for checkpoint in earned)
        conditions = [text for checkpoint in earned for text in conditions_of(checkpoint)]
    verdict = Judge(plan).verdict(Subject(stamps), access)
    rules = {rule.id: rule for rule in plan.rules}
    checkpoints = {checkpoint.name: checkpoint for checkpoint in plan.checkpoints}
    concerned = [rules[name] for name in (*verdict.rules, *verdict.audited)]
    return {
        "action": action, "object": words, "exe": exe or "", "pid": fields.get("pid"), "stamps": sorted(stamps),
        "conditions": conditions, "allowed": verdict.allowed, "is_killed": verdict.is_killed,
        "rules": [{"id": rule.id, "mode": rule.mode, "owner": rule.owner, "reason": rule.reason,
                   "only_through": list(rule.only_through)} for rule in concerned],
        "missing": [checkpoint_json(checkpoints[name]) for name in verdict.missing],
    }


def wanted_access(fields: Mapping[str, Any]) -> tuple[str, Access, str]:
    """Return what is wanted: its verb, the access, and the object in words. Raises UsageError."""
    given = [name for name in (*FILE_ACTIONS, "connect") if fields.get(name)]
    if len(given) != 1:
        raise UsageError("explain needs a record's number, or one access",
                         "for example: nbsp explain 17, or nbsp explain --exe /usr/bin/psql --connect 127.0.0.1:5432")
    action = given[0]
    if action == "connect":
        return (action, *connect_access(str(fields["connect"]), str(fields.get("proto") or "tcp")))
    path = str(fields[action])
    if not path.startswith("/"):
        raise UsageError(f"the path {path!r} is relative", "write it from the root: /...")
    real = os.path.realpath(path)
    return action, Access(real, int(FILE_ACTIONS[action])), real


def connect_access(where: str, proto: str) -> tuple[Access, str]:
    """Return the access and the object in words of "ADDRESS:PORT", "[ADDRESS]:PORT", "/path" or "@name"."""
    wanted = int(Wanted.CONNECT)
    where = where.removeprefix("unix:")
    if where.startswith("@"):
        return Access(os.fsencode(where[1:]), wanted), f"unix {where}"
    if where.startswith("/"):
        return Access(os.path.realpath(where), wanted), f"unix {os.path.realpath(where)}"
    if proto not in PROTOCOLS:
        raise UsageError(f"unknown protocol {proto!r}", "it is tcp or udp")
    host, _, port = where.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise UsageError(f"{where!r} is not an address and a port",
                         "write 127.0.0.1:5432, [::1]:5432, /run/a.sock or @name; names are not looked up") from error
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{port!r} is not a port", "a port is between 1 and 65535")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    shown = f"[{address}]" if address.version == 6 else str(address)
    peer = Peer(PROTOCOLS[proto], address, int(port), is_our_address(address))
    return Access(peer, wanted), f"{proto} {shown}:{port}"


def is_our_address(address: Union[IPv4Address, IPv6Address]) -> bool:
    """Return whether the host itself has an address: the kernel lets us bind to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def is_same_file(one: str, other: str) -> bool:
    """Return whether two paths lead to the same program."""
    return os.path.realpath(one) == os.path.realpath(other)


def conditions_of(checkpoint: Checkpoint) -> list[str]:
    """Return what else must hold before a program earns the stamp."""
    texts = []
    if checkpoint.unit:
        texts.append(f"{checkpoint.name}: only in the unit {checkpoint.unit}")
    if checkpoint.user:
        texts.append(f"{checkpoint.name}: only as the user {checkpoint.user}")
    if checkpoint.after:
        texts.append(f"{checkpoint.name}: only started by a process that came through {' and '.join(checkpoint.after)}")
    return texts


def checkpoint_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint as JSON, for those who must go through it."""
    return {"name": checkpoint.name, "exe": checkpoint.exe, "conditions": conditions_of(checkpoint)}
