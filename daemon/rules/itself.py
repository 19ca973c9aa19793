"""The rules by which nbspd guards itself and the kernel below it: those with the ids `self` and `kernel`. Pure.

`self` is an ordinary rule for the daemon's files. Where the daemon runs as its own service and the kernel has hooks,
the same rule also says who may signal the daemon, use its tables, unpin its programs (bpf/guard.c); and `kernel` says
who may load modules, another kernel or bpf programs.
"""

from __future__ import annotations

from dataclasses import replace

from ..abi import Access, Action, Mode
from ..errors import Problem
from .model import Checkpoint, Rule, RuleSet
from .plan import Clause, Plan

RULE, KERNEL = "self", "kernel"
UNIT = "nbspd.service"


def is_daemon(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint is the daemon: whatever systemd starts in its unit, and what that starts."""
    return checkpoint.unit == UNIT and checkpoint.stamp == "children" and not checkpoint.after


def rule_of(rules: tuple[Rule, ...], name: str = RULE) -> Rule | None:
    """Return the rule, if it is declared."""
    return next((rule for rule in rules if rule.id == name), None)


def find_problem(rule_set: RuleSet) -> Problem | None:
    """Return what is wrong with the rules: `self` must let the daemon itself do what it forbids to others."""
    rule, kernel = rule_of(rule_set.rules), rule_of(rule_set.rules, KERNEL)
    if kernel is not None and rule is None:
        return Problem(kernel.where, f"the rule {KERNEL!r} seals the kernel, and nobody would know nbspd by then",
                       f"declare the rule {RULE!r} too (/usr/share/doc/nbspd/examples/00-self.yaml), or give this one "
                       "another id")
    if rule is None or any(is_daemon(rule_set.checkpoints[name]) for name in rule.only_through):
        return None
    return Problem(rule.where, f"the rule {RULE!r} guards nbspd itself, and does not let it do its own work",
                   f"name in only-through: a checkpoint with unit: {UNIT}, stamp: children and without after: "
                   "(as /usr/share/doc/nbspd/examples/00-self.yaml has it), or give the rule another id")


def without(rule_set: RuleSet) -> RuleSet:
    """Return a rule set without these rules and without checkpoints that only they accept."""
    ours = tuple(one for one in rule_set.rules if one.id in (RULE, KERNEL))
    rest = tuple(one for one in rule_set.rules if one not in ours)
    needed = {name for one in rest for name in one.only_through}
    needed |= {name for one in rule_set.checkpoints.values() for name in one.after}
    gone = {name for one in ours for name in one.only_through} - needed
    return replace(rule_set, rules=rest, checkpoints={name: one for name, one in rule_set.checkpoints.items()
                                                      if name not in gone})


def daemon_index(plan: Plan) -> int | None:
    """Return the index of the daemon's checkpoint in the plan when the rule is there."""
    rule = rule_of(plan.rules)
    if rule is None:
        return None
    return next(index for index, one in enumerate(plan.checkpoints) if one.name in rule.only_through
                and is_daemon(one))


def clause(plan: Plan, name: str) -> Clause | None:
    """Return what a rule demands of whoever does something to the daemon, or to the kernel."""
    rule = rule_of(plan.rules, name)
    if rule is None:
        return None
    accept = tuple(index for index, one in enumerate(plan.checkpoints) if one.name in rule.only_through)
    return Clause(plan.rules.index(rule), int(Access.WRITE), accept,
                  int(Mode.AUDIT if rule.mode == "audit" else Mode.ENFORCE),
                  int(Action.KILL if rule.on_bypass == "kill" else Action.DENY))
