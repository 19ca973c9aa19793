"""What an audit found: one object for each thing that is older than the rules, or held in spite of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any


class Kind(str, Enum):
    """What sort of thing was found."""

    DESCRIPTOR = "descriptor"       # open on something protected
    MAPPING = "mapping"             # of something protected
    RING = "ring"                   # registered with io_uring
    CONNECTION = "connection"       # TCP, UDP or MPTCP, to a protected endpoint
    UNIX = "unix"                   # a connection to a protected unix socket
    GRIP = "grip"                   # on a process that carries stamps: it is traced, or its memory is open
    LOOP = "loop"                   # a block device that stands on something protected
    PROGRAM = "program"             # a protected program that runs
    UNSTAMPED = "unstamped"         # a checkpoint's program that runs without its stamp
    REPLACED = "replaced"           # a checkpoint's program is another file than the one that was bound
    HARD_LINK = "hard-link"         # a file in a tree that has a name outside of it


@dataclass(frozen=True)
class Holder:
    """A process; with `start_ticks` (1/100 s since boot) its number names it for ever."""

    pid: int = 0                    # 0: nobody that /proc shows
    start_ticks: int = 0
    started: float = 0.0            # seconds since 1970
    comm: str = ""
    exe: str = ""
    uid: int = -1
    user: str = ""
    cgroup: str = ""
    unit: str = ""
    stamps: tuple[str, ...] = ()    # those that count now


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    kind: Kind
    holder: Holder
    what: str                       # in words
    path: str = ""
    fd: int = -1
    span: str = ""                  # of a mapping: addresses
    access: str = ""                # read, write, exec, connect; several joined by "+"
    protocol: str = ""
    local: str = ""
    remote: str = ""
    namespace: int = 0              # the network namespace of a connection, as /proc/PID/ns/net numbers it
    cookie: int = 0                 # the kernel's name of a socket
    socket_stamps: tuple[str, ...] = ()     # what a TCP or UDP socket got at its connect
    resource: str = ""
    rules: tuple[str, ...] = ()
    only_through: tuple[str, ...] = ()      # checkpoints, any of which would do
    accepted: bool = False          # the process carries a stamp now that the rules accept
    harmless: bool = False          # nothing is reached by it; it is named so that nobody wonders
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; every key is always there."""
        return {**asdict(self), "kind": self.kind.value}


@dataclass(frozen=True)
class Closing:
    """What became of one connection that was to be closed."""

    protocol: str
    local: str
    remote: str
    pids: tuple[int, ...]
    rules: tuple[str, ...]
    closed: bool
    reason: str = ""                # why it was not
    errno: str = ""                 # its name, where the kernel refused
    other_end: str = ""             # what became of the other end of the connection, where it is on this host

    @property
    def is_ended(self) -> bool:
        """Return whether the connection is no more, by us or by itself."""
        return self.closed or self.errno == "ENOENT"


@dataclass
class Counts:
    """How much was looked at."""

    processes: int = 0
    descriptors: int = 0
    mappings: int = 0
    sockets: int = 0
    namespaces: int = 0             # network namespaces
    names: int = 0                  # in trees


@dataclass
class Report:
    """The result of an audit."""

    generation: int
    tier: str
    findings: list[Finding] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Return whether nothing is left that could reach what is protected."""
        return all(one.harmless for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return it as one object."""
        return {"generation": self.generation, "tier": self.tier, "clean": self.is_clean,
                "findings": [one.to_json() for one in self.findings],
                "closed": [asdict(one) for one in self.closings], "not_looked_at": list(self.not_looked_at),
                "counts": asdict(self.counts), "seconds": round(self.seconds, 3)}
