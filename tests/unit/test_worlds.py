"""The generated worlds: the same seed makes the same one, they hold what they are for, and a wrong kernel is found."""

from __future__ import annotations

from collections import Counter
from typing import Any, Mapping

import pytest

from ..worlds.acts import FILES, INET, UNIX
from ..worlds.compare import compare
from ..worlds.play import Case, Sight, World, make

FILES_TOO, SOCKETS_ONLY = Sight("lsm"), Sight("socket")
SEEDS = range(30)


def world(seed: int, sight: Sight = FILES_TOO) -> World:
    return make(str(seed), "/base/w", "/base/actor", sight)


def cases(sight: Sight) -> list[Case]:
    return [case for seed in SEEDS for phase in world(seed, sight).phases for case in phase.cases]


def test_a_seed_says_it_all() -> None:
    assert world(7) == world(7) and world(7) != world(8)


@pytest.mark.parametrize("sight, verbs", [(FILES_TOO, {"exec", *INET, *UNIX, *FILES}),
                                          (SOCKETS_ONLY, {"exec", *INET, *UNIX}),
                                          (Sight("socket", False), {"exec", *INET})])
def test_every_act_is_done_and_denied(sight: Sight, verbs: set[str]) -> None:
    found = Counter((case.words[0], case.outcome.is_done) for case in cases(sight))
    assert {verb for verb, _ in found} == verbs
    assert min(found[verb, is_done] for verb in verbs for is_done in (True, False)) > 0, found


def test_every_condition_occurs() -> None:
    rules = "".join(world(seed).rules for seed in SEEDS)
    for word in ('"audit"', '"kill"', '"children"', '"self"', '"after"', '"user"', '"trees"', '"files"', '"devices"',
                 '"exec"', '"only-through": []', '"access": ["read"]', '"access": ["write"]', '"@'):
        assert word in rules, word


class Parrot:
    """A ground that answers as was foretold, but for one act and one counter."""

    base, actor = "/base", "/base/actor"

    def __init__(self, wrong_act: int = -1, more_hits: int = 0) -> None:
        self.sight = FILES_TOO
        self.phases = make("5/0", "/base/w5-0", self.actor, self.sight).phases
        self.played = 0
        self.hits = Counter({rule: 0 for phase in self.phases for rule in phase.hits})
        self.wrong_act, self.more_hits = wrong_act, more_hits

    def drive(self, script: str) -> str:
        if script != self.phases[self.played % 2].script:
            return "0\n" * script.count("\n")
        phase = self.phases[self.played % 2]
        self.played += 1
        self.hits.update(phase.hits)
        self.hits[min(self.hits)] += self.more_hits
        results = [case.outcome.result for case in phase.cases]
        if self.wrong_act >= 0:
            results[self.wrong_act] = "0" if results[self.wrong_act] != "0" else "1"
        return "\n".join(results) + "\n"

    def serve(self, listeners: str) -> None:
        return

    def apply(self, rules: str) -> None:
        return

    def status(self) -> Mapping[str, Any]:
        return {"rules": [{"id": rule, "counters": {"hits": hits}} for rule, hits in self.hits.items()],
                "totals": {"hits": sum(self.hits.values())}}


def test_a_right_kernel_passes() -> None:
    assert compare(Parrot(), "5", 1, "again").cases == 2 * 14 * 16


@pytest.mark.parametrize("wrong, words", [({"wrong_act": 3}, "act 3: "), ({"more_hits": 1}, "hits, the model has")])
def test_a_wrong_kernel_is_found(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(AssertionError) as found:
        compare(Parrot(**wrong), "5", 1, "make it so")
    assert words in str(found.value) and "NBSPD_PROPERTY_SEED=5 make it so" in str(found.value)
