"""The daemon's part in an audit: it says what it knows, and takes down what is closed before it is closed."""

from __future__ import annotations

import os
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from .abi import Access
from .activation import Activation
from .audit.knowledge import clauses_of, facts_json, page, stamps_json
from .changes import said
from .control.peer import Peer
from .control.protocol import Reply, Request, WithDescriptor
from .errors import ControlError, HostError, UsageError
from .journal.record import Record
from .kernel.mounts import cgroup2_root
from .kernel.process import process_facts
from .paths import Settings
from .rules.plan import Address

if TYPE_CHECKING:
    from .programs.enforcer import Enforcer

OBJECTS_MAX = 5000      # a tenth of a second in which nothing else is answered
HOLDERS_SHOWN = 8
PROTOCOLS = {"tcp": 6, "udp": 17}


def knowledge(settings: Settings, activation: Activation, peer: Peer, request: Request) -> Reply:
    """Return some of the protected objects; before the first ones rules, checkpoints and stamps. Raises ControlError.

    With a limit of 0 the stamps are all that is wanted. `sockets`: the table of what sockets carry goes with the reply;
    whoever guards us against bpf(2) of others need make no exception so.
    """
    active, enforcer = activation.active, activation.enforcer
    if active is None or enforcer is None:
        raise ControlError("no generation is active, so nothing is protected", "see: nbsp status")
    if request.flag("sockets") and peer.uid != 0:
        raise ControlError("a table of the kernel is given to root alone", "sudo nbsp audit")
    limit = request.number("limit")
    offset = max(0, request.number("offset") or 0)
    objects, total = page(active.bound, offset, OBJECTS_MAX if limit is None else max(0, min(limit, OBJECTS_MAX)))
    facts = facts_json(active.bound) if offset == 0 and limit != 0 else {}
    stamps = stamps_json(enforcer.all_stamps()) if offset == 0 else []
    reply = {"generation": active.number, "tier": enforcer.report.tier, "pid": os.getpid(),
             "cgroup": guarded(settings), **facts, "stamps": stamps, "objects": objects, "offset": offset,
             "total": total}
    return WithDescriptor(reply, socket_table(enforcer)) if request.flag("sockets") else reply


def socket_table(enforcer: Enforcer) -> int:
    """Return a descriptor of the table of what sockets carry. Raises HostError."""
    try:
        return enforcer.open_sockets()
    except OSError as error:
        raise HostError(f"the kernel does not give the table of what sockets carry: {error.strerror}",
                        "restart nbspd: systemctl restart nbspd") from error


def guarded(settings: Settings) -> str:
    """Return the cgroup whose sockets are judged, from the root of the cgroup-v2 tree."""
    if settings.cgroup is None:
        return "/"
    path = os.path.realpath(settings.cgroup)
    return "/" + os.path.relpath(path, os.path.realpath(cgroup2_root())).removeprefix(".")


def closing(activation: Activation, peer: Peer, request: Request) -> Record:
    """Return the record of a connection that is about to be ended, or could not be.

    Raises UsageError when the request is wrong, ControlError when the connection is none to be ended.
    """
    active, enforcer = activation.active, activation.enforcer
    if active is None or enforcer is None:
        raise ControlError("no generation is active, so no connection is older than it", "see: nbsp status")
    proto, remote = request.text("proto") or "", request.text("remote") or ""
    local, holders = request.text("local") or "", request.numbers("holders")
    if proto not in PROTOCOLS:
        raise UsageError(f"unknown protocol {proto!r}", "it is tcp or udp")
    endpoint(local)
    clauses = [clause for clause in clauses_of(active.bound, PROTOCOLS[proto], *endpoint(remote))
               if clause.access & Access.CONNECT]
    if not clauses:
        raise UsageError(f"{proto} {remote} is not protected in generation {active.number}", "see: nbsp audit")
    names = [frozenset(enforcer.stamps_of(pid)) for pid in holders]
    for pid, stamps in zip(holders, names):
        if all(stamps & {active.plan.checkpoints[index].name for index in clause.accept} for clause in clauses):
            raise ControlError(f"process {pid} holds the connection and carries {', '.join(sorted(stamps))}",
                               "it came through a checkpoint and is left alone; see: nbsp audit")
    rules = ", ".join(active.plan.rules[clause.rule].id for clause in clauses)
    failed = request.text("failed")
    words = f"{proto} {local} -> {remote}, held by {holder_words(holders)}"
    text = (f"the audit closes {words}: no stamp that {rules} accepts" if failed is None
            else f"the audit could not close {words}: {failed}")
    return said("close", text, peer, active.number)


def endpoint(text: str) -> tuple[Address, int]:
    """Return an address and a port. Raises UsageError."""
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an address and a port", "write 127.0.0.1:5432 or [::1]:5432") from error
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped, number
    return address, number


def holder_words(pids: tuple[int, ...]) -> str:
    """Return processes in words."""
    words = []
    for pid in pids[:HOLDERS_SHOWN]:
        facts = process_facts(pid)
        words.append(f"{facts.comm if facts is not None else '?'}[{pid}]")
    rest = len(pids) - HOLDERS_SHOWN
    return ", ".join(words) + (f" and {rest} more" if rest > 0 else "") or "no process"
