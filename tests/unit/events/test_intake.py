"""From the ring to the journal: exact whatever happens, and whenever the daemon is killed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbspd.errors import JournalError
from nbspd.events.coalesce import Coalescer
from nbspd.events.decode import decode
from nbspd.events.describe import Describer
from nbspd.events.intake import Intake
from nbspd.journal import recovery
from nbspd.journal.chain import verify
from nbspd.journal.gaps import note_gap
from nbspd.journal.record import Record
from nbspd.journal.store import Journal

from .hits import record

NAMES = SimpleNamespace(rules={}, stamps={}, objects={})
SLOT = 984


class Kernel:
    """Counters and a ring that outlive the daemon."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.ring: list[bytes] = []     # what was ever written
        self.consumer = 0
        self.counters: dict[int, tuple[int, int]] = {}

    def hit(self, raw: bytes) -> None:
        rule = decode(raw).rule
        hits, lost = self.counters.get(rule, (0, 0))
        is_full = len(self.ring) - self.consumer // SLOT >= self.capacity
        if not is_full:
            self.ring.append(raw)
        self.counters[rule] = (hits + 1, lost + is_full)


class Ring:
    """One daemon's view of it."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.position = kernel.consumer

    def records(self, max_records: int) -> list[bytes]:
        at = self.position // SLOT
        found = self.kernel.ring[at:at + max_records]
        self.position += SLOT * len(found)
        return found

    def advance(self, position: int) -> None:
        assert self.kernel.consumer <= position <= self.position
        self.kernel.consumer = position

    def rewind(self) -> None:
        self.position = self.kernel.consumer


class Killed(Exception):
    """The daemon died here."""


def degraded(text: str) -> Record:
    return Record("degraded", 1, text=text)


def start(kernel: Kernel, path: Path) -> tuple[Ring, Journal, Intake[Record]]:
    ring, journal = Ring(kernel), Journal(path, "boot/7")
    intake = Intake(ring, journal, Describer(Record, NAMES), degraded, Coalescer(window_ns=3_000_000, max_windows=20))
    intake.resume()
    note_gap(journal, kernel.counters, {}, "the daemon was killed", intake.unread())
    return ring, journal, intake


def check(kernel: Kernel, journal: Journal) -> None:
    """The equation, by the accounts and by the records themselves."""
    accounts = journal.accounting()
    unread = Counter(decode(raw).rule for raw in kernel.ring[kernel.consumer // SLOT:])
    for rule, (hits, lost) in kernel.counters.items():
        assert hits - lost == accounts[rule].journaled + accounts[rule].coalesced + unread[rule], rule
    records = journal.query(limit=10**6)
    told: Counter[int] = Counter()
    for entry in records:
        told[entry.rule_number] += {"violation": 1, "repeat": entry.count}.get(entry.kind, 0)
    pending = journal.pending()
    for entry in records:
        if entry.kind == "violation":
            told[entry.rule_number] += pending.get(entry.seq, 0)
    for rule, account in accounts.items():
        assert told[rule] == account.journaled + account.coalesced, rule


@pytest.mark.parametrize("seed", range(15))
def test_the_equation_holds_through_kills_and_failures(
        seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice, kernel, path = random.Random(seed), Kernel(40), tmp_path / "journal.db"
    ring, journal, intake = start(kernel, path)
    for _ in range(30):
        for _ in range(dice.choice((0, 5, 30, 60))):
            kernel.hit(record(rule=dice.randrange(1, 4), tgid=dice.randrange(1, 9)))
        fate = dice.choice(("well", "well", "well", "killed before", "killed between", "full", "deleted", "lost"))
        if fate == "deleted":
            path.unlink()
            journal.heartbeat()
        with monkeypatch.context() as patch:
            if fate == "full":
                journal._db.execute(f"PRAGMA max_page_count = {max(1, dice.randrange(3))}")
                with pytest.raises(JournalError):
                    for _ in range(99):
                        kernel.hit(record(rule=1, tgid=dice.randrange(10, 10**6)))
                        intake.step(17)
                journal._db.execute("PRAGMA max_page_count = 100000")
            elif fate.startswith("killed"):
                def die(*_: object, **__: object) -> None:
                    raise Killed
                patch.setattr(*((journal, "append", die) if fate.endswith("before") else (Ring, "advance", die)))
                kernel.hit(record())
                try:
                    intake.step(17)
                except Killed:
                    pass
                journal._db.close()
                patch.undo()
                ring, journal, intake = start(kernel, path)
            elif fate == "lost":    # between two steps, without a trace
                time.sleep(0.004)   # windows run out
            intake.step(dice.choice((17, 1000)))
        check(kernel, journal)
    while intake.step().hits:
        pass
    intake.close_windows()
    note_gap(journal, kernel.counters, {}, "end")
    check(kernel, journal)
    verify(path)
    assert journal.pending() == {}
    assert {rule: account.total for rule, account in journal.accounting().items()} == {
        rule: hits for rule, (hits, _) in kernel.counters.items()}


def test_a_batch_ends_in_records_with_numbers_and_the_room_given_back(tmp_path: Path) -> None:
    kernel = Kernel(100)
    _, journal, intake = start(kernel, tmp_path / "journal.db")
    assert intake.step().hits == 0 and journal.last_seq() == 0
    for _ in range(5):
        kernel.hit(record())
    kernel.hit(record(rule=9))
    batch = intake.step()
    assert batch.hits == 6 and [(seq, entry.rule_number) for seq, entry in batch.records] == [(1, 3), (2, 9)]
    assert kernel.consumer == 6 * SLOT == journal.ring_position()
    deadline = intake.next_deadline_ns()
    assert deadline is not None
    time.sleep(max(0.0, (deadline - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) / 1e9))
    intake.step()
    assert [entry.kind for entry in journal.query()] == ["violation", "violation", "repeat"]
    assert intake.next_deadline_ns() is None


def test_a_journal_begun_anew_is_no_reason_to_lose_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, path = Kernel(100), tmp_path / "journal.db"
    _, journal, intake = start(kernel, path)
    kernel.hit(record())
    kernel.hit(record())
    intake.step()

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")
    monkeypatch.setattr(recovery, "restore", refuse)
    path.unlink()
    kernel.hit(record())
    assert intake.step().hits == 1
    assert [entry.kind for entry in journal.query()] == ["note", "violation"]
    assert journal.accounting()[3][:2] == (2, 1)


def test_a_malformed_record_is_said_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    kernel = Kernel(100)
    _, journal, intake = start(kernel, tmp_path / "journal.db")
    kernel.ring += [b"short", record()]
    assert intake.step().hits == 2
    assert [entry.kind for entry in journal.query()] == ["violation", "degraded"]
    assert kernel.consumer == 2 * SLOT


def test_a_position_that_contradicts_the_ring_is_said(tmp_path: Path) -> None:
    kernel, path = Kernel(100), tmp_path / "journal.db"
    journal = Journal(path, "boot/7")
    journal.append([], ring_position=5 * SLOT)
    kernel.hit(record())
    intake = Intake(Ring(kernel), journal, Describer(Record, NAMES), degraded)
    assert intake.resume() == 0
    assert "may be journaled twice" in journal.query()[-1].text
    assert intake.step().hits == 1


VICTIM = """
import mmap, sys
from pathlib import Path
from tests.unit.events import test_intake as t
folder, total = Path(sys.argv[1]), int(sys.argv[2])
with open(folder / "ring", "r+b") as file:
    page = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
class Kernel(t.Kernel):
    consumer = property(lambda self: page[0], lambda self, value: page.__setitem__(0, value or page[0]))
kernel = Kernel(10**9)
made = {key: t.record(rule=1 + key % 3, tgid=1 + key) for key in range(total // 100)}
kernel.ring = [made[i // 100 + i % 3 if i < total - 300 else i % 3] for i in range(total)]
ring, journal, intake = t.start(kernel, folder / "journal.db")
print("ready", flush=True)
while intake.step(5).hits:
    pass
intake.close_windows()
"""


def test_sigkill_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A real process, really killed; the ring's position lies in shared memory, as the kernel's does."""
    (tmp_path / "ring").write_bytes(bytes(8))
    total, dice = 3_000, random.Random(5)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", f"import tests.conftest\n{VICTIM}", str(tmp_path), str(total)]
    for delay_s in [*(dice.uniform(0, 0.03) for _ in range(8)), None]:
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as victim:
            assert victim.stdout is not None and victim.stdout.readline() == b"ready\n"
            if delay_s is not None:
                time.sleep(delay_s)
                os.kill(victim.pid, signal.SIGKILL)
    assert victim.returncode == 0
    journal = Journal(tmp_path / "journal.db", "boot/7")
    accounts = journal.accounting()
    assert {rule: account.total for rule, account in accounts.items()} == {1: 1000, 2: 1000, 3: 1000}
    told = sum({"violation": 1, "repeat": entry.count}.get(entry.kind, 0) for entry in journal.query(limit=10**6))
    assert told == total and journal.pending() == {}
    verify(journal.path)
