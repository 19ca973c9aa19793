"""Connections to protected endpoints and unix sockets, in every network namespace that a process lives in."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Callable, Iterable, Iterator, Sequence, TypeVar

from ..abi import Access
from ..kernel.sock_diag import MPTCP, PROTOCOLS, TCP, UDP, UDPLITE, Address, Diagnosis, InetSocket, UnixSocket
from .finding import Counts
from .knowledge import Demands, Knowledge, Protected
from .places import Places

OWN = "/proc/self/ns/net"
GONE = "the process that led there is gone"
RULED_AS = {MPTCP: TCP, UDPLITE: UDP}     # which rules count for it
T = TypeVar("T", InetSocket, UnixSocket)
Open = Callable[[int | None], Diagnosis]


@dataclass(frozen=True)
class Namespace:
    """A network namespace: its number, and a process that is in it."""

    number: int
    pid: int            # 0: our own

    def open(self) -> int | None:
        """Return a descriptor to enter it by, None for our own. Raises OSError; ESRCH when the process has left it."""
        if not self.pid:
            return None
        try:
            descriptor = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise OSError(errno.ESRCH, GONE) from None
        if os.fstat(descriptor).st_ino != self.number:
            os.close(descriptor)
            raise OSError(errno.ESRCH, GONE)
        return descriptor


@dataclass(frozen=True)
class Connection:
    """A socket whose other end is protected."""

    namespace: Namespace
    inode: int
    demands: Demands
    inet: InetSocket | None = None
    is_multipath: bool = False
    is_stamp_known: bool = True     # what the socket carries itself could be asked
    unix: UnixSocket | None = None
    peer: str = ""                  # of a unix socket: what it is connected to
    other_end: InetSocket | None = None     # on this host, in the same namespace


@dataclass
class Connections:
    """What was found, and what could not be looked at."""

    found: list[Connection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def namespaces(pids: Iterable[int]) -> list[Namespace]:
    """Return the network namespaces of some processes, our own first."""
    own = os.stat(OWN).st_ino
    found = {own: Namespace(own, 0)}
    for pid in pids:
        try:
            number = os.stat(f"/proc/{pid}/ns/net").st_ino
        except OSError:
            continue
        found.setdefault(number, Namespace(number, pid))
    return list(found.values())


def connections(known: Knowledge, places: Places, spaces: Iterable[Namespace], counts: Counts,
                storages: int | None = None, open_: Open = Diagnosis) -> Connections:
    """Return the connections in some namespaces to what is protected; `storages` is the table of what sockets carry."""
    result = Connections()
    local: list[tuple[Namespace, UnixSocket]] = []
    if storages is None:
        result.notes.append("the stamps that sockets carry themselves: judged is only who holds them")
    for space in spaces:
        try:
            with within(space, open_) as diagnosis:
                counts.namespaces += 1
                result.found += inet_connections(known, space, diagnosis, storages, counts, result.notes)
                local += [(space, one) for one in listed(diagnosis.unix(), "unix", counts, result.notes)]
        except OSError as error:
            result.notes.append(f"connections in the network namespace {space.number} (of process {space.pid}): "
                                f"{error.strerror}")
    result.found += unix_connections(known, places, local)
    return result


def within(space: Namespace, open_: Open) -> Diagnosis:
    """Return a diagnosis of a namespace. Raises OSError."""
    descriptor = space.open()
    try:
        return open_(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def listed(sockets: Iterator[T], words: str, counts: Counts, notes: list[str]) -> list[T]:
    """Return the sockets of a list, or none and a note where the kernel does not give it."""
    found: list[T] = []
    try:
        for one in sockets:
            counts.sockets += 1
            found.append(one)
    except OSError as error:
        if words in ("mptcp", "udplite") and error.errno in (errno.ENOENT, errno.EINVAL):
            return []           # a kernel without it; what it has of MPTCP are TCP sockets besides
        module = {"unix": "unix_diag", "tcp": "tcp_diag", "mptcp": "mptcp_diag"}.get(words, "udp_diag")
        notes.append(f"{words} sockets: the kernel does not list them ({error.strerror}); modprobe {module}")
    return found


def inet_connections(known: Knowledge, space: Namespace, diagnosis: Diagnosis, storages: int | None, counts: Counts,
                     notes: list[str]) -> Iterator[Connection]:
    """Yield the TCP and UDP sockets that are connected to protected endpoints."""
    multipath: set[int] = set()
    sockets: list[tuple[int, InetSocket]] = []
    wanted = {protocol for protocol, _ in known.endpoints}
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol, name in PROTOCOLS.items():
            if RULED_AS.get(protocol, protocol) not in wanted:
                continue
            table = storages if protocol != MPTCP else None
            for one in listed(diagnosis.inet(family, protocol, storages=table), name, counts, notes):
                if protocol == MPTCP:
                    multipath.add(one.inode)
                else:
                    sockets.append((RULED_AS.get(protocol, protocol), one))
    ends = {(protocol, plain(one.local), plain(one.remote)): one for protocol, one in sockets}
    for protocol, one in sockets:
        address, port = plain(one.remote)
        demands = known.endpoint(protocol, address, port)
        if demands:
            other = ends.get((protocol, plain(one.remote), plain(one.local)))
            yield Connection(space, one.inode, demands, one, one.inode in multipath, storages is not None,
                             other_end=other)


def plain(end: tuple[Address, int]) -> tuple[Address, int]:
    """Return an address and port, IPv4 in IPv6 as IPv4."""
    address, port = end
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped, port
    return address, port


def unix_connections(known: Knowledge, places: Places,
                     sockets: Sequence[tuple[Namespace, UnixSocket]]) -> Iterator[Connection]:
    """Yield the unix sockets whose peer is a protected one, wherever the two were made."""
    by_inode = {one.inode: one for _, one in sockets}
    files = {(device, number & 0xFFFFFFFF): protected for (device, number), protected in places.objects.items()
             if any(access & Access.CONNECT for _, access in protected.own)}
    superblocks = {device for device, _ in files} | {folder[0] for folder, *_ in known.names}
    for space, one in sockets:
        peer = by_inode.get(one.peer)
        if peer is None:
            continue
        demands = demands_on(known, files, superblocks, peer)
        if demands:
            yield Connection(space, one.inode, demands, unix=one, peer=unix_words(peer.name))


def demands_on(known: Knowledge, files: dict[tuple[int, int], Protected], superblocks: set[int],
               peer: UnixSocket) -> Demands:
    """Return what the rules demand of whoever is connected to a unix socket: by its inode, else by its name."""
    if peer.file is not None and peer.file in files:
        return files[peer.file].own
    if peer.file is not None and peer.file[0] not in superblocks:
        return ()
    return known.unix_names.get(peer.name, ())


def unix_words(name: bytes) -> str:
    """Return the name of a unix socket as it is written in rules."""
    return os.fsdecode(b"@" + name[1:] if name[:1] == b"\0" else name)
