"""What the rules come to, as the kernel will need it: objects and the demands on each; still without a host."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Iterable, Mapping, Union

from .model import Checkpoint, Network, Resource, Rule

Address = Union[IPv4Address, IPv6Address]
MAPPED = 0xFFFF << 32           # IPv4 a.b.c.d is ::ffff:a.b.c.d, as in the kernel's table
BITS = 128
_LOOPBACK = (MAPPED >> 24) + 127        # 127/8
_LOCAL = (0, 1, MAPPED)                 # ::, ::1, 0.0.0.0


@dataclass(frozen=True, order=True, slots=True)
class Clause:
    """One rule's demand on an object; at most one for each rule and object."""

    rule: int                   # index into Plan.rules
    access: int                 # abi.Access bits that it is about
    accept: tuple[int, ...]     # indices into Plan.checkpoints, ascending; empty: nobody
    mode: int                   # abi.Mode
    action: int                 # abi.Action


Clauses = tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class PathTarget:
    """A declared path; the clauses of trees that enclose it by name are among its own.

    One path may stand twice, once as a tree and once as something else: the tree's clauses are for what is below
    (and for the directory itself), the other's for the inode alone, and those include the tree's.
    """

    path: str
    kind: str                   # file | tree | exec | device | unix
    clauses: Clauses


@dataclass(frozen=True, slots=True)
class EndpointTarget:
    """A declared network and port; the clauses of networks that enclose it are among its own.

    `local`: it is in 127/8, or is ::1, 0.0.0.0 or ::, so every local address counts as it, and the clauses of all
    local targets with this protocol and port are merged. For the addresses that only the host knows, ask EndpointTable.
    """

    proto: int                  # 6 | 17
    network: Network
    port: int
    local: bool
    clauses: Clauses
    own: Clauses                # those declared for exactly this network


@dataclass(frozen=True, slots=True)
class AbstractTarget:
    """A unix socket in the abstract namespace."""

    name: bytes                 # without the leading NUL
    clauses: Clauses


@dataclass(frozen=True, slots=True)
class Plan:
    """A rule set compiled: the same declarations give the same plan, wherever they stood."""

    checkpoints: tuple[Checkpoint, ...]     # by name
    rules: tuple[Rule, ...]                 # by id
    resources: tuple[Resource, ...]         # by name
    paths: tuple[PathTarget, ...]           # by path
    endpoints: tuple[EndpointTarget, ...]
    abstracts: tuple[AbstractTarget, ...]   # by name
    units: tuple[str, ...]                  # that checkpoints must run in
    updaters: tuple[str, ...]               # programs that may replace checkpoints
    digest: str                             # SHA-256 over all of it


def merge_clauses(*several: Iterable[Clause]) -> Clauses:
    """Return all clauses, one for each rule, in the order of the rules."""
    found: dict[int, Clause] = {}
    for clauses in several:
        for clause in clauses:
            other = found.get(clause.rule)
            found[clause.rule] = clause if other is None else Clause(
                clause.rule, clause.access | other.access, clause.accept, clause.mode, clause.action)
    return tuple(found[rule] for rule in sorted(found))


def address_bits(address: Address) -> int:
    """Return an address as 128 bits, IPv4 as mapped."""
    return int(address) | MAPPED if address.version == 4 else int(address)


def network_bits(network: Network) -> tuple[int, int]:
    """Return a network's prefix length and address, out of 128 bits."""
    if network.version == 4:
        return network.prefixlen + 96, int(network.network_address) | MAPPED
    return network.prefixlen, int(network.network_address)


def is_local(network: Network) -> bool:
    """Return whether a network stands for the host itself wherever it is: 127/8, ::1 and the unspecified addresses."""
    length, bits = network_bits(network)
    return length >= 104 and bits >> 24 == _LOOPBACK or length == BITS and bits in _LOCAL


class EndpointTable:
    """Answers which clauses an address and port has, for addresses that only a host or a packet knows."""

    def __init__(self, endpoints: Iterable[EndpointTarget]) -> None:
        self._networks: dict[tuple[int, int], dict[int, dict[int, Clauses]]] = {}
        self._local: dict[tuple[int, int], Clauses] = {}
        for target in endpoints:
            service = target.proto, target.port
            length, bits = network_bits(target.network)
            self._networks.setdefault(service, {}).setdefault(length, {})[bits] = target.own
            if target.local:
                self._local[service] = merge_clauses(self._local.get(service, ()), target.own)

    def clauses(self, proto: int, address: Address, port: int, is_ours: bool = False) -> Clauses:
        """Return the clauses on an address; `is_ours` says that it is one of the host's own."""
        service = proto, port
        networks: Mapping[int, Mapping[int, Clauses]] = self._networks.get(service, {})
        if not networks:
            return ()
        bits = address_bits(address)
        found = [own.get(bits >> (BITS - length) << (BITS - length), ()) for length, own in networks.items()]
        if is_ours or address.is_loopback or address.is_unspecified:
            found.append(self._local.get(service, ()))
        return merge_clauses(*found)
