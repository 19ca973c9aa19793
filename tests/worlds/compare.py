"""Plays worlds on a ground, and compares what becomes of every act with what the model foretold."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Protocol

from .play import LISTENERS, Case, Phase, Sight, World, make

SEED = "NBSPD_PROPERTY_SEED"
FIRST_SEED = "1"            # what is played when nobody asks for another
SHOWN = 12
WORDS = {"0": "done", "1": "denied"}
HERE = Path(__file__).parent


class Ground(Protocol):
    """A place with an nbspd; what is below `base` is this property's own."""

    sight: Sight
    base: str
    actor: str              # the path of the actor program there

    def drive(self, script: str) -> str:
        """Let the actor do what a script says, as root and no checkpoint, and return what it prints."""

    def serve(self, listeners: str) -> None:
        """Listen at these addresses too, until the end."""

    def apply(self, rules: str) -> None:
        """Make rules active."""

    def status(self) -> Mapping[str, Any]:
        """Return nbspd's status."""


@dataclass
class Tally:
    """What was compared."""

    results: Counter[str] = field(default_factory=Counter)
    hits: int = 0
    counters: int = 0       # of rules
    wrong: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """Return how many acts were compared."""
        return sum(self.results.values())


def build(folder: Path) -> Path:
    """Compile the actor for any machine of this architecture. Raises CalledProcessError."""
    made = folder / "actor"
    subprocess.run(["gcc", "-O1", "-static", "-o", made, HERE / "actor.c", HERE / "acts.c"], check=True)
    return made


def chosen_seed() -> str:
    """Return the seed of this run."""
    return os.environ.get(SEED, FIRST_SEED)


def compare(ground: Ground, seed: str, worlds: int, again: str) -> Tally:
    """Play some worlds and compare; `again` is the command that plays them once more.

    Raises AssertionError with the seed, the rules and the acts when kernel and model differ.
    """
    tally = Tally()
    ground.serve(LISTENERS)
    for number in range(worlds):
        before = len(tally.wrong)
        # a name of its own for each: the counters of a rule outlive the rule
        world = make(f"{seed}/{number}", f"{ground.base}/w{seed}-{number}", ground.actor,
                     ground.sight)
        play(ground, world, tally)
        if len(tally.wrong) > before:
            tally.wrong.insert(before, f"world {number}, tier {ground.sight.tier}, rules:\n{world.rules}")
    print(f"\nseed {seed}, tier {ground.sight.tier}: {tally.cases} acts in {worlds} worlds compared with the model "
          f"({', '.join(f'{count} {WORDS.get(result, result)}' for result, count in sorted(tally.results.items()))}), "
          f"{tally.hits} hits in {tally.counters} counters")
    assert not tally.wrong, "\n".join([f"the kernel and the model differ; to see it again: {SEED}={seed} {again}",
                                       *tally.wrong])
    return tally


def play(ground: Ground, world: World, tally: Tally) -> None:
    """Play one world and note where it differs."""
    prepared = ground.drive(world.setup).split("\n")[:-1]
    assert set(prepared) == {"0"}, f"the world could not be made: {prepared}"
    ground.serve(world.listeners)
    for phase in world.phases:
        ground.apply(world.rules)
        before = counted(ground)
        said = ground.drive(phase.script).split("\n")[:-1]
        after = counted(ground)
        _compare_outcomes(phase, said, tally)
        _compare_counters(phase, {rule: after[rule] - before[rule] for rule in after}, tally)


def counted(ground: Ground) -> dict[str, int]:
    """Return the kernel's hits by rule, and those that are no present rule's under "" (what could not be decided)."""
    status = ground.status()
    hits = {row["id"]: int(row["counters"]["hits"]) for row in status["rules"]}
    return {**hits, "": int(status["totals"]["hits"]) - sum(hits.values())}


def _compare_outcomes(phase: Phase, said: list[str], tally: Tally) -> None:
    for index, case in enumerate(phase.cases):
        result = said[index] if index < len(said) else "nothing"
        tally.results[result] += 1
        if result != case.outcome.result and len(tally.wrong) < SHOWN:
            tally.wrong.append(_words(index, case, result))
    if len(said) != len(phase.cases):
        tally.wrong.append(f"  {len(phase.cases)} acts and {len(said)} answers; the last one: {said[-1:]}")


def _compare_counters(phase: Phase, found: Mapping[str, int], tally: Tally) -> None:
    foretold, more = phase.hits, phase.more
    for rule, hits in found.items():
        tally.counters += 1
        tally.hits += hits
        if hits < foretold[rule] or hits > foretold[rule] and rule not in more:
            tally.wrong.append(f"  rule {rule or 'number 0'}: {hits} hits, the model has {foretold[rule]}"
                               f"{' and more' if rule in more else ''}")


def _words(index: int, case: Case, result: str) -> str:
    rules = ", ".join(sorted(case.outcome.hits)) or "none"
    foretold = case.outcome.result
    return (f"  act {index}: {' '.join(case.words)}\n"
            f"    by: {case.process or 'no checkpoint'}; counting stamps: {', '.join(case.stamps) or 'none'}\n"
            f"    the kernel: {WORDS.get(result, result)}; the model: {WORDS.get(foretold, foretold)}, rules {rules}")
