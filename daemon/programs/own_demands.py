"""What nbspd demands by itself of a bound plan: directories above stay where they are, disks below are not read raw."""

from __future__ import annotations

import os
import stat
from typing import Callable, Iterable

from .. import abi
from ..kernel import mounts
from ..rules import itself
from ..rules.model import Checkpoint
from ..rules.plan import Clause, Clauses, Plan, merge_clauses
from ..rules.reserved import ABOVE, DISKS, FIRST, RESERVED
from . import sealing
from .above import Above, demand
from .bound import Binding, Bound, BoundCheckpoint
from .disks import MANAGERS, TOOLS, Below, below
from .inspect import BTRFS, Inspector, Key

ROOT = 0
DATA = abi.Access.READ | abi.Access.WRITE | abi.Access.EXEC


class OwnDemands:
    """Adds them to a bound plan. Only for tiers in which files are judged."""

    def __init__(self, plan: Plan, bound: Bound, inspector: Inspector) -> None:
        self.plan, self.bound, self.inspector = plan, bound, inspector

    def bind(self, enclosing: Callable[[str], Clauses], trees: Iterable[str]) -> None:
        """Bind all of it; `enclosing` gives the demands of the trees around a path, `trees` their real paths."""
        self._add_programs(MANAGERS, "manager", True)
        self._bind_above(enclosing, trees)
        self._bind_disks()

    def _add_programs(self, paths: Iterable[str], kind: str, is_manager: bool = False) -> tuple[int, ...]:
        """Make checkpoints of those programs that are installed here, as root; return their indices."""
        known = {one.exe for one in self.bound.checkpoints if one.checkpoint.name.startswith("nbspd:")}
        bound, indices = list(self.bound.checkpoints), []
        for path in paths:
            try:
                inode = self.inspector.look(path)
            except OSError:
                continue
            if inode is None or not stat.S_ISREG(inode.mode) or inode.unsupported or inode.magic == BTRFS \
                    or inode.key in known or not _is_elf(path):
                continue
            known.add(inode.key)
            indices.append(len(bound))
            name = f"nbspd:{kind}:{os.path.basename(path)}"
            bound.append(BoundCheckpoint(Checkpoint(name, path, user="root"), inode.key, ROOT, None,
                                         is_sealed=not is_manager, is_manager=is_manager))
            self.bound.names.objects.setdefault(inode.key, path)
        self.bound.checkpoints = tuple(bound)
        if not is_manager:
            sealing.allow_system_code(self.bound.codes, indices, self.inspector)
        return tuple(indices)

    # -- above

    def _bind_above(self, enclosing: Callable[[str], Clauses], trees: Iterable[str]) -> None:
        above, is_tree = Above(), frozenset(trees)
        for target in self.plan.paths:
            above.add(target.path, target.clauses)
        for mode in (abi.Mode.ENFORCE, abi.Mode.AUDIT):     # nobody moves a checkpoint; a number beside ABOVE for each
            names = {name for rule in self.plan.rules for name in rule.only_through
                     if (rule.mode == "audit") == (mode == abi.Mode.AUDIT)}
            for checkpoint in self.plan.checkpoints:
                if checkpoint.name in names:
                    above.add(checkpoint.exe, [Clause(ABOVE + abi.RULES * (1 + mode), 0, (), int(mode), 0)])
        made: dict[tuple[int, ...], Clauses] = {}
        for path, rules in above.steps():
            try:
                inode = self.inspector.look(path, is_followed=False)
            except OSError:
                continue
            if inode is None or inode.unsupported or not (stat.S_ISDIR(inode.mode) or stat.S_ISLNK(inode.mode)):
                continue
            binding = self.bound.inodes.setdefault(inode.key, Binding())
            if not binding.own and path not in is_tree:
                binding.own = enclosing(path)
            numbers = tuple(sorted(rules))
            if binding.own or binding.tree:
                binding.above = merge_clauses(binding.above, demand(rules, binding.own or binding.tree))
            else:
                if numbers not in made:
                    made[numbers] = demand(rules)
                binding.above = merge_clauses(binding.above, made[numbers])
            if len(binding.itself) > abi.CLAUSES:       # by two paths, with other rules below each
                binding.above = demand({clause.rule + abi.RULES: clause for clause in binding.above})
            self.bound.names.objects.setdefault(inode.key, path)
            if any(clause.rule == ABOVE for clause in binding.above):
                self._declare(ABOVE)

    # -- below

    def _bind_disks(self) -> None:
        table = mounts.mounts()
        done: set[int] = set()
        tools: tuple[int, ...] | None = None
        waiting = self._devices()
        while waiting:
            dev, mode = waiting.popitem()
            if dev in done:
                continue
            done.add(dev)
            found = below(dev, table)
            if not found.block:
                continue
            if tools is None:
                tools = self._add_programs(TOOLS, "disk")
            self._bind_nodes(found, tools, mode)
            for file in found.files:
                lies_on = self._bind_image(file, mode)
                if lies_on is not None and lies_on not in done:
                    waiting[lies_on] = min(mode, waiting.get(lies_on, mode))
            self.bound.lost_disks += tuple(found.lost)
            self._declare(DISKS)

    def _devices(self) -> dict[int, int]:
        """Return the device number of every file system with protected content, and whether it is only audited.

        What nbspd declares of itself is no reason: a host on which nothing else is declared keeps its disk tools.
        """
        found: dict[int, int] = {}
        own = {index for index, rule in enumerate(self.plan.rules) if rule.id in (itself.RULE, itself.KERNEL)}
        content = [(key[0], one) for key, one in self.bound.inodes.items()]
        content += [(folder[0], one) for (folder, _), one in self.bound.slots.items()]
        for dev, one in content:
            for clause in (*one.own, *one.tree):
                if dev != abi.RDEV_DEV and clause.access & DATA and clause.rule < FIRST \
                        and clause.rule not in own:
                    found[dev] = min(found.get(dev, clause.mode), clause.mode)      # enforce goes before audit
        return found

    def _bind_nodes(self, found: Below, tools: tuple[int, ...], mode: int) -> None:
        for number, name in found.block.items():
            self._demand((abi.RDEV_DEV, number, 1), name, tools, mode)
        for number, name in found.character.items():
            self._demand((abi.RDEV_DEV, number, 0), name, tools, mode)

    def _bind_image(self, file: str, mode: int) -> int | None:
        """Protect the file behind a loop device from everybody: who attaches it again has another device."""
        try:
            inode = self.inspector.look(file)
        except OSError:
            inode = None
        if inode is None:
            self.bound.lost_disks += (file,)
            return None
        if inode.unsupported:
            return None
        self._demand(inode.key, file, (), mode)
        return inode.key[0]

    def _demand(self, key: Key, name: str, accept: tuple[int, ...], mode: int) -> None:
        """Demand it, unless a rule of the operator's is about this very object."""
        binding = self.bound.inodes.get(key, Binding())
        if any(clause.rule != DISKS for clause in binding.own):
            return
        before = min((clause.mode for clause in binding.own), default=mode)
        binding.own = (Clause(DISKS, int(DATA), accept, min(mode, before), int(abi.Action.DENY)),)
        self.bound.inodes[key] = binding
        self.bound.names.objects.setdefault(key, name)

    def _declare(self, number: int) -> None:
        self.bound.implicit_rules[number] = self.bound.names.rules[number] = RESERVED[number]


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb") as program:
            return program.read(4) == b"\x7fELF"
    except OSError:
        return False
