"""Makes up a world whole: files, rules, processes, and acts with what the model foretells of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from random import Random

from nbspd.rules.compile import compile_rules
from nbspd.rules.lineage import Process, counting, execute
from nbspd.rules.plan import Plan

from .acts import Acts
from .declare import MINORS, PROGRAMS, SOCKETS, TCP_PORTS, UDP_PORTS, Declared
from .layout import Layout, Node
from .model import Model, Outcome

LISTENERS = "".join(f"{proto} {address} {port}\n" for address in ("0.0.0.0", "::")
                    for proto, ports in (("tcp", TCP_PORTS), ("udp", UDP_PORTS)) for port in ports)
NOBODY = 65534
PHASES = 2              # of a world; nbspd looks at the names before each
PROCESSES = 14          # of a phase
ACTS = 16               # of a process
FRUITLESS = 200         # attempts at an act that fits, before a process is over
MOVES = ("rename", "exchange", "unlink", "rmdir")


@dataclass(frozen=True)
class Sight:
    """What a ground's nbspd can see there."""

    tier: str
    has_unix: bool = True

    @property
    def has_files(self) -> bool:
        """Return whether files are protected."""
        return self.tier != "socket"


@dataclass(frozen=True)
class Case:
    """One act of one process, and what must become of it."""

    process: str                # its chain, as the actor reads it
    stamps: tuple[str, ...]     # that count
    words: tuple[str, ...]      # the act, as the actor reads it
    outcome: Outcome


@dataclass(frozen=True)
class Phase:
    """What happens between two looks of nbspd at the names."""

    script: str
    cases: tuple[Case, ...]

    @property
    def hits(self) -> Counter[str]:
        """Return the foretold hits of each rule."""
        return sum((case.outcome.hits for case in self.cases), Counter())

    @property
    def more(self) -> frozenset[str]:
        """Return the rules that count more than that."""
        return frozenset().union(*(case.outcome.more for case in self.cases))


@dataclass(frozen=True)
class World:
    """What a ground has to do, in this order: setup, listen, and for each phase apply the rules and play."""

    setup: str
    listeners: str
    rules: str
    phases: tuple[Phase, ...]


def make(seed: str, base: str, actor: str, sight: Sight) -> World:
    """Return a world below `base`; the same seed makes the same one. `actor` is the path of the program there."""
    random, layout = Random(seed), Layout(base)
    setup, links = furnish(random, layout, actor)
    declared = Declared(random, layout, base.rpartition("/")[2], sight.has_files)
    names = [*layout.paths("socket"), *declared.abstracts]
    sockets = {"stream": names[::2], "dgram": names[1::2]}
    acts = Acts(random, layout, links, sockets, sight.has_files, sight.has_unix)
    plan = compile_rules(declared.rule_set)
    player = Player(random, plan, Model(plan, layout, sight.tier), acts, Process(actor), declared.programs)
    phases = []
    for _ in range(PHASES):
        layout.look({one.path: one.kind for one in plan.paths})
        phases.append(player.phase())
    listeners = "".join(f"unix {kind} {name}\n" for kind, names in sockets.items() for name in names)
    return World(setup, listeners, declared.text, tuple(phases))


def furnish(random: Random, layout: Layout, actor: str) -> tuple[str, dict[str, str]]:
    """Put files into a layout; return the script that makes them, and the symbolic links by what they point to."""
    base = layout.base
    lines = ["=", f"mkdir {base}"]

    def put(act: str, path: str, node: Node) -> None:
        lines.append(act)
        layout.places[path] = node

    for name in ("bin", "run", "free"):
        put(f"mkdir {base}/{name}", f"{base}/{name}", Node("folder"))
    folders = [f"{base}/free"]
    for number in range(random.randint(5, 8)):
        path = f"{random.choice([base, *folders[1:]])}/d{number}"
        put(f"mkdir {path}", path, Node("folder"))
        folders.append(path)
    for path in [f"{base}/bin/p{number}" for number in range(PROGRAMS)] + [
            f"{random.choice(folders)}/tool{number}" for number in range(2)]:
        put(f"copy {actor} {path}", path, Node("program"))
    for number in range(10):
        path = f"{random.choice(folders)}/f{number}"
        put(f"create {path}", path, Node("file"))
    for number in range(2):
        old, path = random.choice(layout.paths("file")), f"{random.choice(folders)}/l{number}"
        put(f"link {old} {path}", path, layout.places[old])
    for number, minor in enumerate((*MINORS, random.choice(MINORS))):
        path = f"{random.choice(folders)}/n{number}"
        put(f"mknod {path} {minor}", path, Node("device", minor))
    for number in range(SOCKETS):
        layout.places[f"{base}/run/s{number}"] = Node("socket")
    links = {target: f"{base}/s{number}" for number, target in enumerate(random.sample(folders, 2))}
    lines += [f"symlink {target} {link}" for target, link in links.items()]
    return "\n".join(lines) + "\n", links


class Player:
    """Makes up who does what, and lets it take place in the model."""

    def __init__(self, random: Random, plan: Plan, model: Model, acts: Acts, begin: Process,
                 programs: list[str]) -> None:
        self._random, self._plan, self._model, self._acts = random, plan, model, acts
        self._begin, self._programs = begin, programs

    def phase(self) -> Phase:
        """Return some processes and their acts, one after the other."""
        script: list[str] = []
        cases: list[Case] = []
        for _ in range(PROCESSES):
            chain, process = self._process()
            mine = self._cases(chain, process)
            script += [f"= {chain}", *(" ".join(case.words) for case in mine)]
            cases += mine
        return Phase("\n".join(script) + "\n", tuple(cases))

    def _process(self) -> tuple[str, Process]:
        random, process = self._random, self._begin
        steps: list[str] = []
        for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4))):
            program = random.choice(self._programs)
            steps.append(program)
            process = execute(self._plan, process, program)
            if random.random() < 0.3:
                steps.append("f")
            if random.random() < 0.15 and process.user == "root":
                steps.append(f"u:{NOBODY}")
                process = replace(process, user="nobody")
        return " ".join(steps), process

    def _cases(self, chain: str, process: Process) -> list[Case]:
        subject = counting(self._plan, process)
        cases: list[Case] = []
        for _ in range(FRUITLESS):
            if len(cases) == ACTS:
                break
            act = self._acts.choose(process.user == "root")
            if act is None:
                continue
            verb, *names = act
            if verb in MOVES and any(map(self._acts.layout.has_declared_below, names)):
                continue        # what lies above rules is for programs/above.py, and which of them tells is its choice
            if verb == "map" and any(one.exe == process.program for one in self._plan.checkpoints):
                continue        # a checkpoint may execute its own code only, whatever the rules: lab/test_sealing.py
            outcome = self._model.outcome(subject, verb, names)
            if outcome.is_done and not self._acts.is_clear(verb, names):
                continue
            words = (verb, *map(self._acts.spell, names))
            cases.append(Case(chain, tuple(sorted(subject.stamps)), words, outcome))
            if outcome.is_done:
                self._acts.take_place(verb, names)
        return cases
