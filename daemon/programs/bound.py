"""A plan bound to this host: paths have become inodes, users numbers, units cgroups. Still nothing is in the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

from ..rules.itself import UNIT, is_daemon
from ..rules.model import Checkpoint, Rule
from ..rules.plan import Clauses, Plan
from .inspect import Key

Bits = tuple[int, int]      # prefix length of 128, address


@dataclass(frozen=True)
class BoundCheckpoint:
    """A checkpoint on this host."""

    checkpoint: Checkpoint
    exe: Key
    uid: int | None
    cgroup: str | None          # of its unit, from the root of the cgroup-v2 tree

    def identity(self, identities: Mapping[str, str]) -> str:
        """Return what makes it the same checkpoint as before; `identities` has those that come before it."""
        one = self.checkpoint
        exe = UNIT if is_daemon(one) else self.exe      # the daemon is its unit, also when Python is upgraded under it
        return repr((one.name, exe, self.uid, self.cgroup, one.stamp, one.sha256,
                     tuple(identities.get(name, name) for name in one.after)))


@dataclass
class Binding:
    """What protects an inode or a name: itself, and what is below it; a name that nothing protects is only watched."""

    own: Clauses = ()
    tree: Clauses = ()


@dataclass
class Names:
    """Words for the numbers that the kernel reports."""

    rules: dict[int, Rule] = field(default_factory=dict)
    stamps: dict[int, str] = field(default_factory=dict)
    objects: dict[Key, str] = field(default_factory=dict)


@dataclass
class Bound:
    """Everything that the tables of a generation are made of."""

    plan: Plan
    numbers: Mapping[str, int]                                      # rule id -> number
    checkpoints: tuple[BoundCheckpoint, ...] = ()                   # in the plan's order
    inodes: dict[Key, Binding] = field(default_factory=dict)
    slots: dict[tuple[Key, bytes], Binding] = field(default_factory=dict)   # directory and name
    endpoints: dict[tuple[int, int, Bits], Clauses] = field(default_factory=dict)  # protocol, port, network
    sun_names: dict[bytes, Clauses] = field(default_factory=dict)   # as in sun_path
    names: Names = field(default_factory=Names)
    missing: tuple[str, ...] = ()       # declared paths on the way to which a directory does not exist yet
