"""From what is held to findings: who carries which stamp now, which rules that leaves unmet, and what to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Iterator, Sequence

from ..abi import Access
from ..kernel.mounts import kernel_dev
from ..kernel.process import ProcessFacts, process_facts
from ..kernel.sock_diag import PROTOCOLS, Address
from .connections import Connection, plain
from .finding import Finding, Holder, Kind
from .holdings import Hold, Holdings, access_words
from .knowledge import Knowledge, Object, RuleFacts

CONNECT = int(Access.CONNECT)
TICKS_PER_S = 100
ANCESTRY_MAX = 64

Now = Callable[[int], ProcessFacts | None]


@dataclass(frozen=True)
class Naming:
    """What this host calls users and units."""

    user: Callable[[int], str]
    unit: Callable[[str], str]


@dataclass(frozen=True)
class Closable:
    """A connection that may be ended: nobody who holds it carries a stamp that would do."""

    connection: Connection
    pids: tuple[int, ...]
    rules: tuple[str, ...]


class Verdicts:
    """Judges what was found, with the stamps of this moment."""

    def __init__(self, known: Knowledge, holdings: Holdings, naming: Naming, now: Now = process_facts) -> None:
        self.known = known
        self.holdings = holdings
        self.naming = naming
        self.boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._now = now
        self._current: dict[tuple[int, int], ProcessFacts | None] = {}

    # -- processes

    def current(self, facts: ProcessFacts) -> ProcessFacts | None:
        """Return a process as it is now, None when it is gone."""
        key = facts.pid, facts.start_ticks
        if key not in self._current:
            try:
                found = self._now(facts.pid)
            except (OSError, ValueError, KeyError, IndexError):
                found = None
            self._current[key] = found if found is not None and found.start_ticks == facts.start_ticks else None
        return self._current[key]

    def programs(self, facts: ProcessFacts) -> tuple[Object, ...]:
        """Return what a process's program may be called."""
        before = self.holdings.processes.get(facts.pid)
        own = ((kernel_dev(facts.exe_dev), facts.exe_ino),)
        if before is not None and (before.exe_dev, before.exe_ino) == (facts.exe_dev, facts.exe_ino):
            return self.holdings.exes.get(facts.pid, (own, None))[0]
        return own

    def stamps(self, facts: ProcessFacts) -> frozenset[str]:
        """Return the stamps of a process that count now."""
        return self.known.counting(facts, self.programs(facts))

    def ancestry(self, facts: ProcessFacts) -> Iterator[ProcessFacts]:
        """Yield a process, its parent, and so on."""
        one: ProcessFacts | None = facts
        for _ in range(ANCESTRY_MAX):
            if one is None:
                return
            yield one
            one = self.holdings.processes.get(one.ppid)

    def holder(self, facts: ProcessFacts) -> Holder:
        """Return a process in words."""
        return Holder(facts.pid, facts.start_ticks, round(self.boot_s + facts.start_ticks / TICKS_PER_S, 2), facts.comm,
                      facts.exe, facts.uid, self.naming.user(facts.uid), facts.cgroup, self.naming.unit(facts.cgroup),
                      tuple(sorted(self.stamps(facts))))

    def finding(self, kind: Kind, facts: ProcessFacts | None, rules: Sequence[RuleFacts], what: str,
                **more: object) -> Finding:
        """Return a finding about some rules."""
        holder = self.holder(facts) if facts is not None else Holder()
        return Finding(kind, holder, what, resource=", ".join(dict.fromkeys(rule.resource for rule in rules)),
                       rules=tuple(rule.id for rule in rules),
                       only_through=tuple(dict.fromkeys(name for rule in rules for name in rule.only_through)),
                       **more)      # type: ignore[arg-type]

    # -- files

    def of_files(self) -> Iterator[Finding]:
        """Yield what is held of files and devices."""
        for hold in self.holdings.held:
            facts = self.current(hold.facts)
            if facts is not None:
                yield from self.of_program(hold, facts) if hold.kind is Kind.PROGRAM else self.of_hold(hold, facts)

    def of_hold(self, hold: Hold, facts: ProcessFacts) -> Iterator[Finding]:
        """Yield a descriptor, mapping or registered file whose holder lacks a stamp."""
        is_path_only = not hold.wanted
        rules = self.known.unmet(hold.demands, hold.wanted or 0xFF, self.stamps(facts))
        if not rules:
            return
        if is_path_only:
            remedy = "nothing to do: it is a place only (O_PATH), and opening it to read or write is judged anew"
        else:
            remedy = self.end_it(facts)
            if hold.kind is Kind.MAPPING:
                remedy += "; a mapping ends with the process"
        yield self.finding(hold.kind, facts, rules, hold.words, path=hold.path, fd=hold.fd, span=hold.span,
                           access=access_words(hold.wanted), harmless=is_path_only, remedy=remedy)

    def of_program(self, hold: Hold, facts: ProcessFacts) -> Iterator[Finding]:
        """Yield a protected program that runs and was not started through a checkpoint, as far as can be seen."""
        stamps = frozenset(name for one in self.ancestry(facts) for name in self.known.held(one))
        rules = self.known.unmet(hold.demands, int(Access.EXEC), stamps)
        if rules:
            yield self.finding(
                Kind.PROGRAM, facts, rules, hold.words, path=hold.path, access="exec",
                remedy=f"started before the rules, or its parent is gone: see nbsp lineage {facts.pid}; "
                       + self.end_it(facts))

    def end_it(self, facts: ProcessFacts) -> str:
        """Return how an operator ends what a process holds."""
        unit = self.naming.unit(facts.cgroup)
        if unit.endswith(".service"):
            return f"systemctl restart {unit}"
        return f"end it when you may: kill {facts.pid}"

    # -- connections

    def of_connections(self, connections: Sequence[Connection]) -> tuple[list[Finding], list[Closable]]:
        """Return the connections whose holders, or which themselves, lack a stamp; and those of them to be ended."""
        findings: list[Finding] = []
        closable: list[Closable] = []
        for connection in connections:
            holders = [(facts, fd) for before, fd in self.holdings.sockets.get(connection.inode, ())
                       if (facts := self.current(before)) is not None and self.is_judged(connection, facts)]
            if not holders and not self.is_unheld(connection):
                continue
            found = (self.of_inet if connection.inet is not None else self.of_unix)(connection, holders)
            findings += found
            if connection.inet is None or any(one.accepted for one in found) or all(one.harmless for one in found):
                continue
            if any(not self.known.unmet(connection.demands, CONNECT, self.stamps(facts)) for facts, _ in holders):
                continue        # a checkpoint holds it, too
            rules = self.unmet_enforced(connection, holders)
            if rules:
                closable.append(Closable(connection, tuple(dict.fromkeys(facts.pid for facts, _ in holders)), rules))
        return findings, closable

    def is_judged(self, connection: Connection, facts: ProcessFacts) -> bool:
        """Return whether the rules are about this process's sockets: with --cgroup they are not about everybody's."""
        whole = self.known.cgroup.rstrip("/")
        if connection.unix is not None and self.known.tier != "socket":
            return True
        return not whole or facts.cgroup == whole or facts.cgroup.startswith(whole + "/")

    def is_unheld(self, connection: Connection) -> bool:
        """Return whether a socket is alive and nobody has it: in flight between processes, or registered in a ring."""
        return (bool(connection.inode) and connection.inode not in self.holdings.sockets and self.known.cgroup == "/"
                and not self.holdings.closed_to_us)

    def of_inet(self, connection: Connection, holders: Sequence[tuple[ProcessFacts, int]]) -> list[Finding]:
        """Judge a TCP or UDP socket by its own stamps, and everybody who holds it by his."""
        inet = connection.inet
        assert inet is not None
        own = self.known.socket_stamps(inet.storage)
        protocol = "mptcp" if connection.is_multipath else PROTOCOLS[inet.protocol]
        local, remote = shown(inet.local), shown(inet.remote)
        place = {"access": "connect", "protocol": protocol, "local": local, "remote": remote,
                 "namespace": connection.namespace.number, "cookie": inet.cookie, "socket_stamps": tuple(sorted(own))}
        by_itself = self.known.unmet(connection.demands, CONNECT, own)
        is_known = connection.is_stamp_known        # else only the holders count
        words = f"{protocol} {local} -> {remote}"
        found = []
        for facts, fd in holders:
            by_holder = self.known.unmet(connection.demands, CONNECT, self.stamps(facts))
            rules = by_holder or (by_itself if is_known else ())
            if not rules:
                continue
            if by_holder and not is_known:
                words_now, remedy = words, "nbsp audit --close, or " + self.end_it(facts)
            elif by_holder and by_itself:
                words_now, remedy = f"{words}, older than the rules", "nbsp audit --close, or " + self.end_it(facts)
            elif by_holder:
                words_now = f"{words}, connected by a checkpoint ({', '.join(sorted(own))}) and in other hands now"
                remedy = "nbsp audit --close, or " + self.end_it(facts)
            else:
                words_now = f"{words}, older than the stamp of who holds it"
                remedy = "its packets are refused; let it connect anew: " + self.end_it(facts)
            found.append(self.finding(Kind.CONNECTION, facts, rules, words_now, fd=fd, accepted=not by_holder,
                                      harmless=not by_holder, remedy=remedy, **place))
        if not holders and by_itself and is_known:
            found.append(self.finding(
                Kind.CONNECTION, None, by_itself, f"{words}, held by no descriptor: it is on its way between two "
                "processes, or registered with an io_uring", remedy="nbsp audit --close", **place))
        return found

    def of_unix(self, connection: Connection, holders: Sequence[tuple[ProcessFacts, int]]) -> list[Finding]:
        """Judge everybody who holds a unix socket; it carries no stamps itself."""
        words = f"unix socket {connection.inode} connected to {connection.peer}"
        place = {"access": "connect", "protocol": "unix", "remote": connection.peer,
                 "namespace": connection.namespace.number}
        found = []
        for facts, fd in holders:
            rules = self.known.unmet(connection.demands, CONNECT, self.stamps(facts))
            if rules:
                remedy = "the kernel cannot end a unix connection: " + self.end_it(facts)
                found.append(self.finding(Kind.UNIX, facts, rules, words, fd=fd, remedy=remedy, **place))
        if not holders:
            rules = self.known.unmet(connection.demands, CONNECT, ())
            found.append(self.finding(
                Kind.UNIX, None, rules, f"{words}, held by no descriptor: it is on its way between two processes, or "
                "registered with an io_uring", remedy="restart the server at its other end", **place))
        return found

    def unmet_enforced(self, connection: Connection, holders: Sequence[tuple[ProcessFacts, int]]) -> tuple[str, ...]:
        """Return the enforced rules for which a connection may be ended."""
        held = [self.stamps(facts) for facts, _ in holders]
        if not held:
            assert connection.inet is not None
            held = [self.known.socket_stamps(connection.inet.storage)]
        return tuple(dict.fromkeys(rule.id for stamps in held
                                   for rule in self.known.unmet(connection.demands, CONNECT, stamps)
                                   if rule.mode == "enforce"))


def shown(end: tuple[Address, int]) -> str:
    """Return an address and a port as they are written in rules."""
    address, port = plain(end)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
