"""A rule set to a plan: pure, the same rules in, the same bytes out."""

from __future__ import annotations

import hashlib
import json
from operator import attrgetter
from typing import Iterable, Mapping, Sequence

from ..abi import Action, Mode
from .model import Checkpoint, Rule, RuleSet
from .overlap import Demands, Overlap
from .pause import paused_collection
from .plan import (AbstractTarget, Clause, Clauses, EndpointTable, EndpointTarget, PathTarget, Plan, is_local,
                   merge_clauses)

__all__ = ["AbstractTarget", "Clause", "EndpointTable", "EndpointTarget", "PathTarget", "Plan", "compile_rules",
           "merge_clauses"]

FORMAT = "nbspd plan 1"


@paused_collection()
def compile_rules(rule_set: RuleSet) -> Plan:
    """Return the plan of a rule set, whose names must all be declared."""
    checkpoints = tuple(sorted(rule_set.checkpoints.values(), key=attrgetter("name")))
    rules = tuple(sorted(rule_set.rules, key=attrgetter("id")))
    resources = tuple(sorted(rule_set.resources.values(), key=attrgetter("name")))
    units = tuple(sorted({checkpoint.unit for checkpoint in checkpoints if checkpoint.unit is not None}))
    updaters = tuple(sorted(rule_set.updaters))
    overlap = Overlap(rules, rule_set.resources)
    clauses = _Clauses(rules, checkpoints)
    paths = tuple(PathTarget(path, kind, clauses.of(demands)) for path, kind, demands in overlap.paths())
    endpoints = tuple(EndpointTarget(proto, network, port, is_local(network), clauses.of(demands), clauses.of(own))
                      for proto, network, port, demands, own in overlap.endpoints())
    abstracts = tuple(AbstractTarget(name, clauses.of(demands)) for name, demands in overlap.abstracts())
    digest = _digest(checkpoints, rules, updaters, paths, endpoints, abstracts)
    return Plan(checkpoints, rules, resources, paths, endpoints, abstracts, units, updaters, digest)


class _Clauses:
    """Turns demands into clauses, each made once."""

    def __init__(self, rules: Sequence[Rule], checkpoints: Sequence[Checkpoint]) -> None:
        number = {checkpoint.name: index for index, checkpoint in enumerate(checkpoints)}
        self._heads = [(tuple(sorted(number[name] for name in rule.only_through)),
                        int(Mode.AUDIT if rule.mode == "audit" else Mode.ENFORCE),
                        int(Action.KILL if rule.on_bypass == "kill" else Action.DENY)) for rule in rules]
        self._made: dict[tuple[tuple[int, int], ...], Clauses] = {}

    def of(self, demands: Demands) -> Clauses:
        items = tuple(demands.items()) if len(demands) < 2 else tuple(sorted(demands.items()))
        made = self._made.get(items)
        if made is None:
            made = self._made[items] = tuple(Clause(rule, access, *self._heads[rule]) for rule, access in items)
        return made


def _digest(checkpoints: Iterable[Checkpoint], rules: Iterable[Rule], updaters: Iterable[str],
            paths: Iterable[PathTarget], endpoints: Iterable[EndpointTarget],
            abstracts: Iterable[AbstractTarget]) -> str:
    """Return the SHA-256 of a canonical encoding; positions in files are not part of it."""
    def plain(clauses: Clauses) -> list[tuple[int, int]]:
        return [(clause.rule, clause.access) for clause in clauses]

    content: Mapping[str, object] = {
        "format": FORMAT,
        "checkpoints": [(one.name, one.exe, one.sha256, one.unit, one.user, one.after, one.stamp, one.code)
                        for one in checkpoints],
        "rules": [(rule.id, rule.protect, sorted(rule.only_through), rule.mode, rule.on_bypass, rule.voucher,
                   rule.owner, rule.reason) for rule in rules],
        "updaters": list(updaters),
        "paths": [(one.path, one.kind, plain(one.clauses)) for one in paths],
        "endpoints": [(one.proto, str(one.network), one.port, plain(one.clauses)) for one in endpoints],
        "abstracts": [(one.name.hex(), plain(one.clauses)) for one in abstracts],
    }
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
