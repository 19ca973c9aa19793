"""An enforcer without a kernel: what the daemon's tests talk to in place of nbspd.programs.enforcer."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping

from nbspd.errors import LoadError, NbspdError, Problem, RulesError
from nbspd.paths import Settings
from nbspd.rules.model import Rule
from nbspd.programs.bound import Binding, Bits, BoundCheckpoint
from nbspd.programs.inspect import Key
from nbspd.rules.plan import Clauses, Plan, network_bits

SLOT = 1000


@dataclass(frozen=True)
class FakeProgram:
    """A loaded program."""

    name: str
    hook: str
    attached: bool = True
    reason: str = ""


@dataclass(frozen=True)
class FakeReport:
    """What loading came to."""

    tier: str = "lsm"
    adopted: bool = False
    seconds: float = 0.1
    digest: str = "d"
    programs: tuple[FakeProgram, ...] = ()
    tried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return "adopted in 0.1 s" if self.adopted else "compiled in 0.1 s"


@dataclass(frozen=True)
class FakeNames:
    """Words for numbers."""

    rules: Mapping[int, Rule] = field(default_factory=dict)
    stamps: Mapping[int, str] = field(default_factory=dict)
    objects: Mapping[tuple[int, int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeBound:
    """A plan bound to nothing."""

    plan: Plan
    names: FakeNames
    missing: tuple[str, ...] = ()
    checkpoints: tuple[BoundCheckpoint, ...] = ()
    inodes: Mapping[Key, Binding] = field(default_factory=dict)
    slots: Mapping[tuple[Key, bytes], Binding] = field(default_factory=dict)
    endpoints: Mapping[tuple[int, int, Bits], Clauses] = field(default_factory=dict)
    sun_names: Mapping[bytes, Clauses] = field(default_factory=dict)
    implicit_rules: Mapping[int, Any] = field(default_factory=dict)
    lost_disks: tuple[str, ...] = ()


@dataclass
class FakeKernel:
    """What outlives the daemon: maps, pins, counters, ring."""

    generation: int = 0
    plan: Plan | None = None
    counters: dict[int, tuple[int, int]] = field(default_factory=dict)
    ring: list[bytes] = field(default_factory=list)
    consumer: int = 0
    is_pinned: bool = False
    number: int = 1

    def hit(self, raw: bytes, rule: int, is_lost: bool = False) -> None:
        """Count a violation and put it into the ring."""
        hits, lost = self.counters.get(rule, (0, 0))
        self.counters[rule] = (hits + 1, lost + is_lost)
        if not is_lost:
            self.ring.append(raw)


class FakeRing:
    """The reading end; readable while anything is not advanced over, as the kernel's is."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.position = kernel.consumer
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.is_signalled = False
        self.signal()

    def fileno(self) -> int:
        return self.reader

    def signal(self) -> None:
        is_wanted = self.pending_bytes() > 0
        if is_wanted and not self.is_signalled:
            os.write(self.writer, b"x")
        elif not is_wanted and self.is_signalled:
            os.read(self.reader, 1)
        self.is_signalled = is_wanted

    def records(self, max_records: int = 4096) -> list[bytes]:
        at = self.position // SLOT
        found = self.kernel.ring[at:at + max_records]
        self.position += SLOT * len(found)
        return found

    def advance(self, position: int) -> None:
        assert self.kernel.consumer <= position <= self.position
        self.kernel.consumer = position
        self.signal()

    def rewind(self) -> None:
        self.position = self.kernel.consumer

    def pending_bytes(self) -> int:
        return len(self.kernel.ring) * SLOT - self.kernel.consumer

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


class FakeEnforcer:
    """Does what the signatures promise, to a FakeKernel."""

    def __init__(self, kernel: FakeKernel, report: FakeReport) -> None:
        self.kernel = kernel
        self.report = replace(report, adopted=kernel.is_pinned)
        self.ring = FakeRing(kernel)
        self.notices = FakeRing(FakeKernel())
        self.epoch = f"boot:{kernel.number}"
        self.applied: list[int] = []
        self.adopted_generation = 0
        self.refused_interfaces: dict[int, str] = {}
        self.appeared: list[tuple[int, str]] = []
        self.refreshed: tuple[str, ...] = ()
        self.left_behind: tuple[str, ...] = ()
        self.unstamped: tuple[str, ...] = ()
        self.missing: tuple[str, ...] = ()
        self.bound: FakeBound | None = None
        self.failure: NbspdError | None = None
        self.stamps: dict[int, tuple[str, ...]] = {}
        self.is_closed = False
        self.can_guard_itself = False
        self.open_s = 0.0
        kernel.is_pinned = True

    def bind(self, plan: Plan, numbers: Mapping[str, int]) -> FakeBound:
        missing = [c for c in plan.checkpoints if not Path(c.exe).exists()]
        if missing:
            raise RulesError([Problem(c.where, f"{c.exe} does not exist", "install it") for c in missing])
        rules = {numbers[rule.id]: rule for rule in plan.rules}
        endpoints = {(one.proto, one.port, network_bits(one.network)): one.clauses for one in plan.endpoints}
        checkpoints = tuple(BoundCheckpoint(one, (1, os.stat(one.exe).st_ino, 0), None, None)
                            for one in plan.checkpoints)
        return FakeBound(plan, FakeNames(rules), self.missing, checkpoints, endpoints=endpoints)

    def adopt(self, bound: FakeBound, generation: int) -> None:
        assert generation == self.kernel.generation
        self.adopted_generation = generation
        self.bound = bound

    def apply(self, bound: FakeBound, generation: int) -> None:
        if self.failure is not None:
            raise self.failure
        assert generation >= self.kernel.generation
        self.kernel.generation, self.kernel.plan = generation, bound.plan
        self.applied.append(generation)
        self.bound = bound

    def active_generation(self) -> int:
        return self.kernel.generation

    def refresh(self) -> tuple[str, ...]:
        if self.failure is not None:
            raise self.failure
        if self.bound is not None and self.bound.missing != self.missing:
            self.bound = replace(self.bound, missing=self.missing)
            return ("names: 1 new, 1 gone",)
        return self.refreshed

    def counters(self) -> dict[int, tuple[int, int]]:
        return dict(self.kernel.counters)

    def interface_appeared(self, index: int, name: str) -> None:
        self.appeared.append((index, name))

    def open_sockets(self) -> int:
        if self.failure is not None:
            raise OSError(2, "No such file or directory")
        return os.open("/dev/null", os.O_RDONLY)

    def all_stamps(self) -> dict[int, tuple[int, tuple[str, ...]]]:
        return {pid: (0, names) for pid, names in self.stamps.items()}

    def interfaces(self) -> dict[int, str]:
        return {1: "lo", 2: "eth0"}

    def filter_id(self) -> int:
        return 7

    def maintain(self, seconds: float) -> None:
        self.open_s = seconds

    def maintained_s(self) -> float:
        return self.open_s

    def stamps_of(self, tgid: int) -> tuple[str, ...]:
        return self.stamps.get(tgid, ())

    def detach(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.kernel.is_pinned = False
        self.kernel.generation, self.kernel.plan = 0, None

    def close(self) -> None:
        self.is_closed = True
        self.ring.close()
        self.notices.close()


class Begin:
    """Stands for Enforcer.start; `made` are the enforcers it made."""

    def __init__(self, kernel: FakeKernel | None = None, report: FakeReport = FakeReport()) -> None:
        self.kernel = kernel or FakeKernel()
        self.report = report
        self.made: list[FakeEnforcer] = []
        self.failure: LoadError | None = None

    def __call__(self, _settings: Settings) -> FakeEnforcer:
        if self.failure is not None:
            raise self.failure
        if not self.kernel.is_pinned:       # new maps
            self.kernel.counters, self.kernel.ring, self.kernel.consumer = {}, [], 0
            self.kernel.number += 1
        self.made.append(FakeEnforcer(self.kernel, self.report))
        return self.made[-1]

    @property
    def last(self) -> FakeEnforcer:
        return self.made[-1]
