"""What nbspd itself demands for the sake of the checkpoints: their programs stay what they are, and their code theirs.

A checkpoint that an enforced rule accepts is sealed, as are those that such a one comes after. Its program, and the
code that it declares, may be changed by package managers only; it may execute pages of its own program, of what
`code:` lists, and by default of files that only root can have written in the directories of the system's libraries.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Iterable, Mapping

from .. import abi
from ..rules.model import Checkpoint
from ..rules.plan import Clause, Plan
from ..rules.reserved import RESERVED, SEALED, ReservedRule
from .inspect import Inspector, Key

SYSTEM, ANONYMOUS = "system", "anonymous"       # words in code:
SYSTEM_FOLDERS = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/lib", "/lib32", "/lib64", "/libx32",
                  "/usr/local/lib", "/usr/libexec")      # sudo has its plug-ins in the last
PACKAGE_MANAGERS = ("/usr/bin/dpkg", "/usr/bin/rpm", "/usr/bin/pacman", "/usr/sbin/apk")
UPDATER = "updater:"    # no name in the rules has a colon


@dataclass
class CodeBinding:
    """Which checkpoints, by index, may execute pages of an inode or of what is below it."""

    any: set[int] = field(default_factory=set)
    owned: set[int] = field(default_factory=set)        # when only root can have written it

    def merge(self, other: "CodeBinding") -> None:
        """Take over what a directory above allows."""
        self.any |= other.any
        self.owned |= other.owned


def sealed_names(plan: Plan) -> frozenset[str]:
    """Return the names of the checkpoints that are sealed."""
    by_name = {checkpoint.name: checkpoint for checkpoint in plan.checkpoints}
    waiting = [name for rule in plan.rules if rule.mode == "enforce" for name in rule.only_through]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].after
    return frozenset(found)


def updaters(plan: Plan, is_there: Mapping[str, bool] | None = None) -> tuple[Checkpoint, ...]:
    """Return the package managers as checkpoints: the declared ones, else those that there are on this host."""
    paths: Iterable[str] = plan.updaters or PACKAGE_MANAGERS
    return tuple(Checkpoint(UPDATER + path, path, user="root", stamp="children", where=f"updaters: {path}")
                 for path in paths if (is_there[path] if is_there is not None else Path(path).exists()))


def sealed_rule(accepted: Iterable[Checkpoint]) -> ReservedRule:
    """Return the rule in whose name a seal denies, with who may change a program on this host."""
    return replace(RESERVED[SEALED], only_through=tuple(checkpoint.name for checkpoint in accepted))


def sealed_clause(accept: Iterable[int]) -> Clause:
    """Return the demand on a sealed program: changed by these only."""
    return Clause(SEALED, int(abi.Access.WRITE), tuple(sorted(accept)), int(abi.Mode.ENFORCE), int(abi.Action.DENY))


def code_of(checkpoint: Checkpoint) -> tuple[tuple[str, ...], bool, bool]:
    """Return the paths that a checkpoint lists, whether the system's libraries are among its code, and memory."""
    listed = checkpoint.code if checkpoint.code is not None else (SYSTEM,)
    return (tuple(path for path in listed if path not in (SYSTEM, ANONYMOUS)), SYSTEM in listed, ANONYMOUS in listed)


def enclosing(real: str, listed: Mapping[str, CodeBinding]) -> CodeBinding:
    """Return what the directories above a path allow, by their real paths."""
    found = CodeBinding()
    while real != "/":
        real = os.path.dirname(real)
        if real in listed:
            found.merge(listed[real])
    return found


def allow_system_code(codes: dict[Key, CodeBinding], indices: Iterable[int], inspector: Inspector) -> None:
    """Let checkpoints execute what only root can have written in the system's library folders."""
    for folder in {os.path.realpath(folder) for folder in SYSTEM_FOLDERS}:
        inode = inspector.look(folder)
        if inode is not None:
            codes.setdefault(inode.key, CodeBinding()).owned.update(indices)
