"""Rules that are well-formed and still wrong."""

from __future__ import annotations

from ..errors import Problem
from .model import RuleSet


def find_problems(rule_set: RuleSet) -> list[Problem]:
    return []
