"""The directories and symbolic links above a declared path: who puts others in their place, puts another file there.

They are bound as inodes with a demand for Access.MOVE only, so that whatever else is done in them stays free. A
directory can lie above any number of rules and a policy has few places: what is too much for it becomes one demand of
our own, which must satisfy all of them.
"""

from __future__ import annotations

import os
from typing import Iterable, Iterator, Mapping

from .. import abi
from ..rules.plan import Clause, Clauses
from ..rules.reserved import ABOVE, FIRST

NAMED = 2       # rules that a demand names one by one
LINKS_MAX = 40  # as the kernel follows


class Above:
    """Collects which rules have something declared below each directory or link."""

    def __init__(self) -> None:
        self._rules: dict[str, dict[int, Clause]] = {}      # folder as declared -> one clause a rule

    def add(self, path: str, clauses: Iterable[Clause]) -> None:
        """Note the demands on a declared path."""
        self._rules.setdefault(os.path.dirname(path), {}).update((clause.rule, clause) for clause in clauses)

    def steps(self) -> Iterator[tuple[str, Mapping[int, Clause]]]:
        """Yield every directory and symbolic link on the ways, not resolved, with one clause of each rule below it."""
        found: dict[str, dict[int, Clause]] = {}
        links: dict[str, str] = {}
        for folder, clauses in self._rules.items():
            for step in ways(folder, links):
                found.setdefault(step, {}).update(clauses)
        yield from found.items()


def ways(folder: str, links: dict[str, str] | None = None) -> list[str]:
    """Return a directory and all above it but the root, by each path on which symbolic links lead there.

    `links` keeps what was found between calls: where each path leads that is a link, "" for one that is none.
    """
    links = {} if links is None else links
    found: dict[str, None] = {}
    followed: dict[str, None] = {}
    waiting = [folder]
    while waiting and len(followed) < LINKS_MAX:
        way = step = waiting.pop()
        followed[way] = None
        others = []
        while step not in ("/", ""):
            found[step] = None
            if step not in links:
                links[step] = os.readlink(step) if os.path.islink(step) else ""
            if links[step]:
                others.append(os.path.normpath(os.path.join(os.path.dirname(step), links[step], way[len(step) + 1:])))
            step = os.path.dirname(step)
        if others:      # a link with .. in it is only understood by realpath()
            waiting += [other for other in (os.path.realpath(way), *others) if other not in followed]
    return list(found)


def demand(clauses: Mapping[int, Clause], own: Clauses = ()) -> Clauses:
    """Return what is demanded of who moves it: each rule's demand, or one of our own that satisfies all of them.

    `own` are the demands that the inode has for itself.
    """
    ordered = [clauses[rule] for rule in sorted(clauses)]
    is_named = len(ordered) <= NAMED and all(rule < FIRST for rule in clauses)
    if is_named or {clause.rule for clause in own} >= set(clauses):
        return tuple(Clause(one.rule, int(abi.Access.MOVE), one.accept, one.mode, one.action) for one in ordered)
    enforced = [clause for clause in ordered if clause.mode == abi.Mode.ENFORCE] or ordered
    accept = set.intersection(*(set(clause.accept) for clause in enforced))
    return (Clause(ABOVE, int(abi.Access.MOVE), tuple(sorted(accept)), enforced[0].mode, int(abi.Action.DENY)),)
