"""Words for the numbers that the kernel reports, also those of generations and rules that are gone."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Mapping

from .events.describe import UNDECIDED, Names, RuleWords
from .rules.reserved import RESERVED

GENERATIONS = 4         # whose records may still wait in the ring


@dataclass(frozen=True)
class RetiredRule:
    """A rule of which only the id is known any more."""

    id: str
    protect: str = ""
    only_through: tuple[str, ...] = ()
    owner: str = ""
    reason: str = "the rule is no longer declared"


@dataclass(frozen=True)
class KnownNames:
    """What is known of a generation."""

    rules: Mapping[int, RuleWords] = field(default_factory=dict)
    stamps: Mapping[int, str] = field(default_factory=dict)
    objects: Mapping[tuple[int, int, int], str] = field(default_factory=dict)


class Naming:
    """The names of the latest generations."""

    def __init__(self) -> None:
        self.latest = KnownNames()
        self.declared: Mapping[int, RuleWords] = {}     # of the generation before
        self.by_generation: OrderedDict[int, KnownNames] = OrderedDict()

    def remember(self, generation: int, names: Names, numbers: Mapping[str, int]) -> None:
        """Take the names of a generation; `numbers` are those of all rules, also of former ones."""
        rules: dict[int, RuleWords] = {**self.declared, **names.rules}
        rules.update((number, RetiredRule(rule)) for rule, number in numbers.items() if number not in rules)
        self.declared = names.rules
        self.latest = KnownNames(rules, names.stamps, names.objects)
        self.by_generation[generation] = self.latest
        while len(self.by_generation) > GENERATIONS:
            self.by_generation.popitem(last=False)

    def of(self, generation: int) -> Names:
        """Return the names of a generation, or the latest where it is too old."""
        return self.by_generation.get(generation, self.latest)

    def rules(self) -> dict[int, str]:
        """Return the ids of all rules by number."""
        reserved = {number: own.id for number, own in RESERVED.items()}
        return {0: UNDECIDED, **reserved, **{number: rule.id for number, rule in self.latest.rules.items()}}
