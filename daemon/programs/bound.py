"""A plan bound to this host: paths have become inodes, users numbers, units cgroups. Still nothing is in the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

from ..rules.itself import UNIT, is_daemon
from ..rules.model import Checkpoint, Rule
from ..rules.plan import Clauses, Plan, merge_clauses
from ..rules.pseudo import PseudoPaths
from ..rules.reserved import FIRST, NUMBERS, RESERVED, ReservedRule
from .inspect import Key
from .sealing import CodeBinding

Bits = tuple[int, int]      # prefix length of 128, address


@dataclass(frozen=True)
class BoundCheckpoint:
    """A checkpoint on this host."""

    checkpoint: Checkpoint
    exe: Key
    uid: int | None
    cgroup: str | None          # of its unit, from the root of the cgroup-v2 tree
    is_sealed: bool = False
    is_manager: bool = False    # PID 1's program, or one by which it starts others: no rule accepts it

    def identity(self, identities: Mapping[str, str]) -> str:
        """Return what makes it the same checkpoint as before; `identities` has those that come before it."""
        one = self.checkpoint
        exe = UNIT if is_daemon(one) else self.exe      # the daemon is its unit, also when Python is upgraded under it
        return repr((one.name, exe, self.uid, self.cgroup, one.stamp, one.sha256, one.code,
                     tuple(identities.get(name, name) for name in one.after)))


@dataclass
class Binding:
    """What protects an inode or a name: itself, and what is below it; a name that nothing protects is only watched."""

    own: Clauses = ()
    tree: Clauses = ()
    above: Clauses = ()         # for moving it, because of what is declared below

    @property
    def itself(self) -> Clauses:
        """Return all demands on the inode itself."""
        return merge_clauses(self.own or self.tree, self.above)


@dataclass
class Names:
    """Words for the numbers that the kernel reports."""

    rules: dict[int, Rule | ReservedRule] = field(default_factory=dict)
    stamps: dict[int, str] = field(default_factory=dict)
    objects: dict[Key, str] = field(default_factory=dict)


@dataclass
class Bound:
    """Everything that the tables of a generation are made of."""

    plan: Plan
    numbers: Mapping[str, int]                                      # rule id -> number
    checkpoints: tuple[BoundCheckpoint, ...] = ()                   # the plan's in its order, then nbspd's own
    inodes: dict[Key, Binding] = field(default_factory=dict)
    slots: dict[tuple[Key, bytes], Binding] = field(default_factory=dict)   # directory and name
    pseudo: PseudoPaths = field(default_factory=PseudoPaths)
    endpoints: dict[tuple[int, int, Bits], Clauses] = field(default_factory=dict)  # protocol, port, network
    sun_names: dict[bytes, Clauses] = field(default_factory=dict)   # as in sun_path
    names: Names = field(default_factory=Names)
    implicit_rules: dict[int, ReservedRule] = field(default_factory=dict)   # demands of nbspd's own that are made
    codes: dict[Key, CodeBinding] = field(default_factory=dict)
    lost_disks: tuple[str, ...] = ()    # files behind loop devices below protected files that no path leads to any more
    missing: tuple[str, ...] = ()       # declared paths on the way to which a directory does not exist yet

    def declare(self, own: ReservedRule) -> None:
        """Note that a demand of nbspd's own is made in this generation, with words that may say more than usual."""
        number = NUMBERS[own.id]
        self.implicit_rules[number] = self.names.rules[number] = own

    def rule_number(self, rule: int) -> int:
        """Return the kernel's number of the rule of a clause: an index into the plan, or a reserved number."""
        return rule if rule >= FIRST else self.numbers[self.plan.rules[rule].id]

    def rule_id(self, rule: int) -> str:
        """Return its id."""
        return RESERVED[rule].id if rule >= FIRST else self.plan.rules[rule].id
