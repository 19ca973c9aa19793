"""Plans and bound plans for the tests of the programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from nbspd.programs.bound import Bound, BoundCheckpoint
from nbspd.programs.inspect import Key
from nbspd.rules.compile import compile_rules
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.model import Checkpoint
from nbspd.rules.plan import Clause, Plan


def plan_of(checkpoints: dict[str, Any] | None = None, resources: dict[str, Any] | None = None,
            **rules: Any) -> Plan:
    """Return a plan; a rule is given as id=(resource, [checkpoints])."""
    text = yaml.safe_dump({"version": 1, "checkpoints": checkpoints or {}, "resources": resources or {}, "rules": [
        {"id": name, "protect": protect, "only-through": through} for name, (protect, through) in rules.items()]})
    return compile_rules(parse_sources([Source("a.yaml", text)]))


def numbers_of(plan: Plan) -> dict[str, int]:
    """Return numbers for the rules of a plan, from 1 on."""
    return {rule.id: number for number, rule in enumerate(plan.rules, 1)}


def bound_of(count: int = 6) -> Bound:
    """Return a bound plan with rules 0 to count-1 (numbers 10 and up) and nothing protected yet."""
    rules: dict[str, Any] = {f"r{index}": (f"x{index}", ["one"]) for index in range(count)}
    plan = plan_of({"one": {"exe": "/usr/bin/true"}}, {f"x{index}": {"tcp": [f"192.0.2.{index}:1"]}
                                                       for index in range(count)}, **rules)
    return Bound(plan, {f"r{index}": 10 + index for index in range(count)})


def clause(rule: int, *accept: int, access: int = 3) -> Clause:
    """Return an enforced clause."""
    return Clause(rule, access, accept, 0, 0)


def on_host(name: str, exe: Key = (1, 2, 3), cgroup: str | None = None, **fields: Any) -> BoundCheckpoint:
    """Return a checkpoint that is bound."""
    return BoundCheckpoint(Checkpoint(name, "/usr/bin/true", **fields), exe, None, cgroup)


def program(path: Path) -> Path:
    """Make an ELF program."""
    shutil.copyfile(os.path.realpath("/usr/bin/true"), path)
    path.chmod(0o755)
    return path
