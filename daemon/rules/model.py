"""What an operator declares, as typed and frozen objects; positions do not count when two are compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Mapping, Union

Network = Union[IPv4Network, IPv6Network]

READ_AND_WRITE = frozenset({"read", "write"})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A program through which access must pass, with its conditions."""

    name: str
    exe: str
    sha256: str | None = None
    unit: str | None = None
    user: str | None = None
    after: tuple[str, ...] = ()
    stamp: str = "self"                     # self | children
    code: tuple[str, ...] | None = None     # None: the system's libraries
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A network and a port; IPv4 is never spelled as mapped IPv6 here.

    An IPv6 network that contains ::ffff:0:0/96 (such as ::/0) covers IPv4 too, because an IPv6 socket reaches
    IPv4 through it.
    """

    network: Network
    port: int


@dataclass(frozen=True, slots=True)
class Resource:
    """What is protected."""

    name: str
    tcp: tuple[Endpoint, ...] = ()
    udp: tuple[Endpoint, ...] = ()
    unix: tuple[str, ...] = ()              # a path, or "@name" for the abstract namespace
    files: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    exec: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    access: frozenset[str] = READ_AND_WRITE
    where: str = field(default="", compare=False)

    @property
    def size(self) -> int:
        """Return how many entries it has."""
        return (len(self.tcp) + len(self.udp) + len(self.unix) + len(self.files) + len(self.trees)
                + len(self.exec) + len(self.devices))


@dataclass(frozen=True, slots=True)
class Rule:
    """Protect a resource: only through these checkpoints; none of them means nobody."""

    id: str
    protect: str
    only_through: tuple[str, ...]
    mode: str = "enforce"                   # enforce | audit
    on_bypass: str = "deny"                 # deny | kill
    voucher: str = "none"
    owner: str = ""
    reason: str = ""
    i_understand: bool = False              # that it may lock out everyone
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who may sign vouchers, and for which resources."""

    name: str
    key: bytes                              # the 32 bytes of an Ed25519 public key
    resources: tuple[str, ...]
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Everything declared on a host, from all files."""

    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)
    resources: Mapping[str, Resource] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    updaters: tuple[str, ...] = ()
    issuers: Mapping[str, Issuer] = field(default_factory=dict)
