"""Knowledge, processes and sockets made by hand."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Iterator

from nbspd.audit.connections import Connection, Namespace
from nbspd.audit.holdings import Holdings
from nbspd.audit.knowledge import CheckpointFacts, Knowledge, RuleFacts, Stamped
from nbspd.audit.verdicts import Naming, Verdicts
from nbspd.kernel.process import UNSET_ID, ProcessFacts
from nbspd.kernel.sock_diag import TCP, InetSocket, UnixSocket
from nbspd.rules.plan import address_bits

RULES = (RuleFacts("through-pooler", "db", ("pooler",), "enforce", "dba"),
         RuleFacts("watched", "db", ("pooler",), "audit", ""), RuleFacts("nobody", "key", (), "enforce", ""))
POOLER = CheckpointFacts("pooler", "/usr/sbin/pooler", (1, 50), None, "", "", "", (), True)
DEMANDS = ((0, 15),)
READ, WRITE, EXEC, CONNECT = 1, 2, 4, 8
PROCESS = ProcessFacts(77, 1, 500, "psql", "/usr/bin/psql", 1, 60, 1000, 1000, UNSET_ID, UNSET_ID, "/user.slice", ())
HERE = Namespace(1, 0)
DB = ip_address("127.0.0.1"), 5432
CLIENT = InetSocket(2, TCP, 1, (ip_address("127.0.0.1"), 40000), DB, 0, 77, 900, 0)
SERVER = InetSocket(2, TCP, 1, DB, CLIENT.local, 0, 78, 901, 0)
NAMING = Naming(lambda uid: {0: "root", 1000: "alice"}.get(uid, ""),
                lambda cgroup: cgroup.rpartition("/")[2] if cgroup.endswith(".service") else "")


def knowledge(**changes: Any) -> Knowledge:
    """Return one rule on 127.0.0.1:5432, without anybody who is stamped."""
    known = Knowledge(3, "lsm", 1, "/", RULES, (POOLER,), {4: "pooler"})
    known.endpoints = {(6, 5432): {(128, address_bits(ip_address("127.0.0.1"))): DEMANDS}}
    for name, value in changes.items():
        setattr(known, name, value)
    return known


def process(**changes: Any) -> ProcessFacts:
    """Return a process that is no checkpoint."""
    return replace(PROCESS, **changes)


def pooler(**changes: Any) -> ProcessFacts:
    """Return a process that runs the checkpoint."""
    return replace(PROCESS, pid=88, comm="pooler", exe="/usr/sbin/pooler", exe_ino=50, **changes)


def stamped(known: Knowledge, *several: ProcessFacts, name: str = "pooler") -> Knowledge:
    """Give processes a stamp."""
    known.stamps = {one.pid: Stamped(one.start_ticks, frozenset([name])) for one in several}
    return known


def verdicts(known: Knowledge, holdings: Holdings, *gone: int) -> Verdicts:
    """Return verdicts over processes that are still what they were, but for some that are gone."""
    everybody = dict(holdings.processes)
    everybody.update((facts.pid, facts) for each in holdings.sockets.values() for facts, _ in each)
    everybody.update((hold.facts.pid, hold.facts) for hold in holdings.held)
    return Verdicts(known, holdings, NAMING, lambda pid: None if pid in gone else everybody.get(pid))


def holdings(*processes: ProcessFacts, sockets: dict[int, list[tuple[ProcessFacts, int]]] | None = None) -> Holdings:
    """Return what these processes hold; each runs what it says."""
    found = Holdings(processes={one.pid: one for one in processes}, sockets=sockets or {})
    found.exes = {one.pid: (((1, one.exe_ino),), (1, one.exe)) for one in processes}
    return found


def connection(inet: InetSocket = CLIENT, **more: Any) -> Connection:
    """Return a connection to the database."""
    return Connection(HERE, inet.inode, DEMANDS, inet, **more)


class FakeDiagnosis:
    """Lists what it was given, and remembers what it was told to destroy."""

    def __init__(self, inet: dict[tuple[int, int], Any] | None = None, unix: Any = ()) -> None:
        self.lists, self.unixes = inet or {}, unix
        self.destroyed: list[InetSocket] = []
        self.failures: dict[int, OSError] = {}      # by cookie
        self.opened: list[int | None] = []

    def __call__(self, namespace: int | None) -> FakeDiagnosis:
        self.opened.append(namespace)
        return self

    def __enter__(self) -> FakeDiagnosis:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def inet(self, family: int, protocol: int, storages: int | None = None) -> Iterator[InetSocket]:
        found = self.lists.get((family, protocol), ())
        if isinstance(found, OSError):
            raise found
        yield from found

    def unix(self) -> Iterator[UnixSocket]:
        if isinstance(self.unixes, OSError):
            raise self.unixes
        yield from self.unixes

    def destroy(self, one: InetSocket) -> None:
        if one.cookie in self.failures:
            raise self.failures[one.cookie]
        self.destroyed.append(one)
