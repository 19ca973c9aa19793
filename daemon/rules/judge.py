"""The verdict as a pure model: what the kernel must decide, in plain words; tests hold the two side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Union

from ..abi import Access as Wanted
from ..abi import Action, Mode
from .plan import Address, Clause, Clauses, EndpointTable, Plan, merge_clauses
from .pseudo import PseudoPaths, places

__all__ = ["Access", "Judge", "Peer", "Subject", "Verdict", "Wanted", "judge"]


@dataclass(frozen=True)
class Peer:
    """The far end of a connection or packet."""

    proto: int                  # 6 | 17
    address: Address
    port: int
    is_ours: bool = False       # one of the host's own addresses; loopback and unspecified ones are anyway


@dataclass(frozen=True)
class Access:
    """An access to an object by its real path, to a peer, or to an abstract unix socket by its name in bytes."""

    target: Union[str, bytes, Peer]
    wanted: int                 # abi.Access bits


@dataclass(frozen=True)
class Subject:
    """Who accesses: the names of the checkpoints whose stamps the process carries."""

    stamps: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """What is decided, and what to say about it."""

    allowed: bool
    rules: tuple[str, ...] = ()         # ids of the enforced rules that it violates
    missing: tuple[str, ...] = ()       # checkpoints that would do; when none does alone, all that would help
    audited: tuple[str, ...] = ()       # ids of the rules in audit mode that it violates
    is_killed: bool = False


class Judge:
    """Decides accesses under one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._inodes = {target.path: target.clauses for target in plan.paths if target.kind != "tree"}
        self._trees = {target.path: target.clauses for target in plan.paths if target.kind == "tree"}
        self._abstracts = {target.name: target.clauses for target in plan.abstracts}
        self._endpoints = EndpointTable(plan.endpoints)
        self._above = _above(plan)
        self._pseudo = PseudoPaths()
        for path in plan.paths:
            if path.kind in ("file", "tree"):
                self._pseudo.add_conventional(path.path, path.clauses, path.kind == "tree")

    def clauses(self, target: Union[str, bytes, Peer]) -> Clauses:
        """Return the demands on an object: its own, else those of the nearest tree around it; and for moving it.

        On pseudo file systems all that meet on it, by whatever path it was declared.
        """
        if isinstance(target, Peer):
            return self._endpoints.clauses(target.proto, target.address, target.port, target.is_ours)
        if isinstance(target, bytes):
            return self._abstracts.get(target, ())
        if found := places(target):
            return merge_clauses(*(self._pseudo.clauses(place) for place in found))
        return merge_clauses(self._on_path(target), self._above.get(target, ()))

    def _on_path(self, target: str) -> Clauses:
        if target in self._inodes:
            return self._inodes[target]
        path = target
        while path not in self._trees:
            if path in ("/", ""):
                return ()
            path = path.rpartition("/")[0] or "/"
        return self._trees[path]

    def verdict(self, subject: Subject, access: Access) -> Verdict:
        """Return the verdict: every rule that is about the access must be satisfied, each by any of its checkpoints."""
        violated = [clause for clause in self.clauses(access.target)
                    if clause.access & access.wanted and not self._is_satisfied(clause, subject)]
        enforced = [clause for clause in violated if clause.mode == Mode.ENFORCE]
        return Verdict(not enforced, self._ids(enforced), self._missing(enforced or violated),
                       self._ids([clause for clause in violated if clause.mode == Mode.AUDIT]),
                       any(clause.action == Action.KILL for clause in enforced))

    def _is_satisfied(self, clause: Clause, subject: Subject) -> bool:
        return any(self._plan.checkpoints[index].name in subject.stamps for index in clause.accept)

    def _ids(self, clauses: list[Clause]) -> tuple[str, ...]:
        return tuple(self._plan.rules[clause.rule].id for clause in clauses)

    def _missing(self, clauses: list[Clause]) -> tuple[str, ...]:
        accepted = [set(clause.accept) for clause in clauses]
        indices = set.intersection(*accepted) or set.union(*accepted) if accepted else set()
        return tuple(self._plan.checkpoints[index].name for index in sorted(indices))


def _above(plan: Plan) -> Mapping[str, Clauses]:
    """Return what is demanded of who moves a directory above a declared path; by name, since links belong to a host.

    The kernel has room for few of these: above more rules than that it accepts who satisfies all of them and no less,
    and it also lets nobody move what lies above a checkpoint's program.
    """
    folders: dict[str, dict[int, Clause]] = {}
    for target in plan.paths:
        folder = target.path.rpartition("/")[0]
        folders.setdefault(folder, {}).update((one.rule, one) for one in target.clauses)
    found: dict[str, dict[int, Clause]] = {}
    for folder, clauses in folders.items():
        while folder:
            found.setdefault(folder, {}).update(clauses)
            folder = folder.rpartition("/")[0]
    return {path: tuple(Clause(one.rule, int(Wanted.MOVE), one.accept, one.mode, one.action)
                        for one in (clauses[rule] for rule in sorted(clauses))) for path, clauses in found.items()}


def judge(plan: Plan, subject: Subject, access: Access) -> Verdict:
    """Return the verdict on one access; for many, keep a Judge."""
    return Judge(plan).verdict(subject, access)
