"""The daemon from startup to shutdown, with a kernel that is a fake."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest

from nbspd.abi import Channel, VerdictCode
from nbspd import activation, generations, instance
from nbspd import service as module
from nbspd.control.client import Client, Refusal, ask
from nbspd.errors import EXIT_OK, HostError, JournalError, LoadError, NbspdError, RulesError
from nbspd.instance import InstanceLock, require_root
from nbspd.kernel.process import process_facts
from nbspd.journal.chain import verify
from nbspd.journal.reader import Reader
from nbspd.journal.record import Record
from nbspd.paths import Settings
from nbspd.service import Service

from .events.hits import record as raw_record
from .fakes import Begin, FakeEnforcer

RULES = """
version: 1
checkpoints:
  pooler: {exe: /usr/bin/true}
resources:
  db: {tcp: ["192.0.2.1:5432"]}
rules:
  - {id: db-through-pooler, protect: db, only-through: [pooler], owner: dba@example.org, reason: pooled only}
"""
MORE = RULES.replace("rules:\n", "  key: {files: [/srv/nbspd-test/key]}\nrules:\n"
                                 "  - {id: key-for-nobody, protect: key, only-through: []}\n").replace("5432", "5433")
BROKEN = "version: 1\nrules:\n  - {id: x, protect: nothing, only-through: []}\n  - {id: x, wrong: 1}\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(rules=tmp_path / "rules.d", state=tmp_path / "state", runtime=tmp_path / "run",
                     pins=tmp_path / "pins")
    for folder in (found.rules, found.state, found.runtime):
        folder.mkdir()
    write(found, RULES)
    return found


@pytest.fixture
def begin() -> Begin:
    return Begin()


def write(settings: Settings, text: str) -> None:
    (settings.rules / "a.yaml").write_text(text)


class Running:
    """A daemon whose loop turns while it is asked something."""

    def __init__(self, settings: Settings, begin: Begin) -> None:
        self.settings = settings
        self.begin = begin
        self.service = Service(settings, begin)     # type: ignore[arg-type]
        self.service.notifier.address = ""
        try:
            self.service.start()
        except BaseException:
            self.service.stop()
            raise

    @property
    def enforcer(self) -> FakeEnforcer:
        return self.begin.last

    def turn(self, seconds: float = 0.0) -> None:
        """Serve what is ready, and what becomes ready within some time."""
        end = time.monotonic() + seconds
        for _ in range(50):
            self.service.loop.run_once(0.0)
        while time.monotonic() < end:
            self.service.loop.run_once(max(0.0, end - time.monotonic()))

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Ask over the socket, as nbsp does."""
        answers: list[Any] = []

        def run() -> None:
            try:
                answers.append(ask(verb, self.settings.control_socket, timeout_s=20, **fields))
            except NbspdError as error:
                answers.append(error)
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            self.service.loop.run_once(0.01)
        thread.join()
        if isinstance(answers[0], NbspdError):
            raise answers[0]
        reply: dict[str, Any] = answers[0]
        return reply

    def hit(self, rule: int = 1, tgid: int = 4000, is_lost: bool = False, generation: int = 1) -> None:
        self.begin.kernel.hit(raw_record(rule=rule, tgid=tgid, generation=generation), rule, is_lost)
        self.enforcer.ring.signal()

    def stop(self) -> None:
        self.service.stop()


@pytest.fixture
def running(settings: Settings, begin: Begin) -> Iterator[Running]:
    found = Running(settings, begin)
    yield found
    found.stop()


def records(settings: Settings) -> list[Record]:
    reader = Reader(settings.journal)
    found = list(reader.query(limit=1000))
    reader.close()
    return found


def kinds(settings: Settings) -> list[str]:
    return [record.kind for record in records(settings)]


# -- startup


def test_it_starts_applies_the_rules_and_stops_with_enforcement_on(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    assert begin.kernel.generation == 1 and begin.kernel.plan is not None
    assert [rule.id for rule in begin.kernel.plan.rules] == ["db-through-pooler"]
    running.stop()
    assert kinds(settings) == ["start", "stop"]
    assert begin.kernel.generation == 1 and begin.kernel.is_pinned and begin.last.is_closed
    assert not settings.control_socket.exists()
    verify(settings.journal)


def test_pins_with_the_same_plan_are_adopted_without_a_flip(settings: Settings, begin: Begin) -> None:
    Running(settings, begin).stop()
    running = Running(settings, begin)
    assert begin.last.applied == [] and begin.last.adopted_generation == 1
    status = running.ask("status")
    assert (status["generation"], status["adopted"], status["state"]) == (1, True, "enforcing")
    running.stop()
    assert kinds(settings) == ["start", "stop", "start", "adopt", "stop"]


def test_what_changed_on_the_host_while_the_daemon_was_away_is_looked_at(settings: Settings, begin: Begin) -> None:
    Running(settings, begin).stop()
    running = Running(settings, begin)
    assert running.service.activation.is_stale
    running.turn(0.2)
    assert begin.last.applied == [1] and not running.service.activation.is_stale
    running.stop()


def test_other_rules_are_applied_as_the_next_generation(settings: Settings, begin: Begin) -> None:
    Running(settings, begin).stop()
    write(settings, MORE)
    running = Running(settings, begin)
    assert begin.last.applied == [2] and running.ask("status")["previous"] == 1
    running.stop()


def test_after_a_boot_the_same_rules_are_applied_and_the_way_back_stays(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    write(settings, MORE)
    running.ask("reload")
    running.stop()
    begin.kernel.is_pinned, begin.kernel.generation = False, 0
    running = Running(settings, begin)
    assert begin.last.applied == [3]
    assert running.ask("status")["previous"] == 1
    running.ask("rollback")
    assert begin.kernel.plan is not None and len(begin.kernel.plan.rules) == 1
    running.stop()
    gap = next(record for record in records(settings) if record.kind == "gap")
    assert gap.text.startswith("nothing was enforced") and gap.cause == "the daemon was stopped"


def test_broken_rules_at_the_first_start_are_refused(settings: Settings, begin: Begin) -> None:
    write(settings, BROKEN)
    with pytest.raises(RulesError) as caught:
        Running(settings, begin)
    assert len(caught.value.problems) >= 3
    assert begin.kernel.generation == 0


@pytest.mark.parametrize("is_boot", [False, True])
@pytest.mark.parametrize("text", [BROKEN, RULES.replace("/usr/bin/true", "/nowhere/program"), None])
def test_broken_rules_at_start_keep_the_last_good_generation(
        settings: Settings, begin: Begin, text: str | None, is_boot: bool) -> None:
    Running(settings, begin).stop()
    if text is None:
        (settings.rules / "a.yaml").unlink()
        settings.rules.rmdir()
    else:
        write(settings, text)
    if is_boot:
        begin.kernel.is_pinned, begin.kernel.generation = False, 0
    running = Running(settings, begin)
    assert begin.kernel.plan is not None and [rule.id for rule in begin.kernel.plan.rules] == ["db-through-pooler"]
    assert begin.last.applied == ([2] if is_boot else [])
    status = running.ask("status")
    assert status["state"] == "degraded" and status["origin"] == "last-good"
    assert "generation 1 is kept" in status["troubles"][0]
    settings.rules.mkdir(exist_ok=True)
    write(settings, RULES)
    running.ask("reload")
    assert running.ask("status")["troubles"] == []
    running.stop()
    assert "degraded" in kinds(settings)


def test_when_even_the_last_good_generation_cannot_be_bound_the_kernels_goes_on(
        settings: Settings, begin: Begin, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("x")
    write(settings, RULES.replace("/usr/bin/true", str(program)))
    Running(settings, begin).stop()
    program.unlink()
    running = Running(settings, begin)
    assert begin.kernel.generation == 1 and begin.last.applied == []
    status = running.ask("status")
    assert status["state"] == "degraded" and any("goes on in the kernel" in text for text in status["troubles"])
    with pytest.raises(NbspdError, match="no generation is active"):
        running.ask("coverage")
    running.stop()


def test_a_kernel_that_refuses_is_the_starters_problem(settings: Settings, begin: Begin) -> None:
    begin.failure = LoadError("the kernel refuses", "boot another")
    with pytest.raises(LoadError):
        Running(settings, begin)


def test_forgotten_generations_are_said(settings: Settings, begin: Begin) -> None:
    Running(settings, begin).stop()
    (settings.state / "generations.json").write_text("{")
    running = Running(settings, begin)
    assert "earlier generations are forgotten" in running.ask("status")["troubles"][0]
    assert begin.kernel.generation == 2
    running.stop()


def test_an_unwritable_state_folder_does_not_leave_the_host_open(
        settings: Settings, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(generations, "write_file", refuse)
    running = Running(settings, begin)
    assert begin.kernel.generation == 1
    assert "No space left on device" in running.ask("status")["troubles"][0]
    with pytest.raises(Refusal, match="No space left"):
        running.ask("reload")
    monkeypatch.undo()
    running.ask("reload")
    assert running.ask("status")["generation"] == 2
    running.stop()


def test_only_root_and_only_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="must run as root"):
        require_root()
    lock = InstanceLock(settings.runtime / "nbspd.lock")
    with pytest.raises(NbspdError, match=rf"another nbspd is running \(pid {os.getpid()}\)"):
        InstanceLock(settings.runtime / "nbspd.lock")
    lock.close()
    InstanceLock(settings.runtime / "nbspd.lock").close()


def test_folders_that_cannot_be_made_are_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot make the folder"):
        instance.make_folders(Settings(runtime=tmp_path / "file" / "run", state=tmp_path / "state"))


# -- reload


def test_a_reload_says_what_changed_and_who_asked(running: Running) -> None:
    write(running.settings, MORE)
    reply = running.ask("reload")
    assert (reply["before"], reply["generation"]) == (1, 2)
    assert reply["added"] == {"rules": ["key-for-nobody"], "checkpoints": [], "resources": ["key"]}
    assert reply["changed"]["resources"] == ["db"] and reply["removed"]["rules"] == []
    record = records(running.settings)[-1]
    assert record.kind == "reload" and record.generation == 2
    assert record.by.startswith("uid 0") and f"pid {os.getpid()}" in record.by
    write(running.settings, RULES)
    assert running.ask("reload")["removed"]["rules"] == ["key-for-nobody"]


@pytest.mark.parametrize("text", [BROKEN, RULES.replace("/usr/bin/true", "/nowhere/program")])
def test_a_reload_with_problems_changes_nothing_and_tells_them_all(running: Running, text: str) -> None:
    write(running.settings, text)
    before = json.loads((running.settings.state / "generations.json").read_text())
    with pytest.raises(RulesError) as caught:
        running.ask("reload")
    assert len(caught.value.problems) == (1 if "nowhere" in text else len(caught.value.problems))
    assert running.begin.kernel.generation == 1 and running.enforcer.applied == [1]
    status = running.ask("status")
    assert status["generation"] == 1 and status["state"] == "enforcing"
    assert json.loads((running.settings.state / "generations.json").read_text()) == before
    record = records(running.settings)[-1]
    assert record.kind == "reload-failed" and all(p.what in record.text for p in caught.value.problems[:20])


def test_a_kernel_that_refuses_a_reload_changes_nothing(running: Running) -> None:
    write(running.settings, MORE)
    running.enforcer.failure = LoadError("the map is full", "declare less")
    with pytest.raises(Refusal, match="the map is full"):
        running.ask("reload")
    assert running.ask("status")["generation"] == 1
    running.enforcer.failure = None
    assert running.ask("reload")["generation"] == 2
    folders = {path.name for path in (running.settings.state / "generations").iterdir()}
    assert folders == {"1", "2"}


def test_sighup_reloads_and_systemd_hears_of_it(settings: Settings, begin: Begin, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        running = Running(settings, begin)
        running.service.notifier.address = str(tmp_path / "notify")
        for text, generation in ((MORE, 2), (BROKEN, 2)):
            write(settings, text)
            os.kill(os.getpid(), signal.SIGHUP)
            running.turn(0.1)
            assert begin.kernel.generation == generation
            assert manager.recv(999).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(999).startswith(b"READY=1\nSTATUS=enforcing: generation 2, 2 rules, tier lsm")
        running.stop()
    last = records(settings)[-3:]
    assert [record.kind for record in last] == ["reload", "reload-failed", "stop"]
    assert "SIGHUP" in last[0].by


def test_ten_reloads_keep_two_generations_and_every_number(running: Running) -> None:
    for text in (MORE, RULES) * 5:
        write(running.settings, text)
        running.ask("reload")
    remembered = running.service.activation.generations.now
    assert remembered.numbers == {"db-through-pooler": 1, "key-for-nobody": 2}
    assert {path.name for path in (running.settings.state / "generations").iterdir()} == {"10", "11"}


# -- confirm and rollback


def test_rules_that_did_not_change_survive_the_way_back(running: Running) -> None:
    """The first generation has none before it: going back from its like must not mean no rules at all."""
    running.ask("reload", confirm_within_s=60)
    running.ask("rollback")
    status = running.ask("status")
    assert [rule["id"] for rule in status["rules"]] == ["db-through-pooler"]


def test_an_unconfirmed_reload_goes_back_by_itself(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    write(running.settings, MORE)
    running.ask("reload", confirm_within_s=1)
    pending = running.ask("status")["pending"]
    assert pending["generation"] == 2 and 0 < pending["remaining_s"] <= 1
    running.turn(1.3)
    status = running.ask("status")
    assert status["generation"] == 3 and status["pending"] is None and status["origin"] == "previous"
    assert [rule["id"] for rule in status["rules"]] == ["db-through-pooler"]
    assert "were rolled back" in status["troubles"][0]
    last = records(running.settings)[-1]
    assert last.kind == "rollback" and "was not confirmed in time" in last.text


def test_a_confirmed_reload_stays(running: Running) -> None:
    write(running.settings, MORE)
    running.ask("reload", confirm_within_s=1)
    with pytest.raises(Refusal, match="generation 2 waits to be confirmed"):
        running.ask("reload")
    assert running.ask("confirm")["generation"] == 2
    running.turn(1.2)
    assert running.ask("status")["generation"] == 2
    with pytest.raises(Refusal, match="nothing waits"):
        running.ask("confirm")
    assert kinds(running.settings) == ["start", "reload", "confirm"]


@pytest.mark.parametrize("seconds", [0.0, 0.5, -1.0, 1e9])
def test_times_nobody_could_mean_are_refused(running: Running, seconds: float) -> None:
    with pytest.raises(Refusal, match="cannot wait"):
        running.ask("reload", confirm_within_s=seconds)
    assert running.begin.kernel.generation == 1


def test_the_deadline_survives_a_restart(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    write(settings, MORE)
    running.ask("reload", confirm_within_s=2)
    running.stop()
    running = Running(settings, begin)
    assert begin.last.applied == [] and running.ask("status")["pending"]["generation"] == 2
    running.turn(2.2)
    assert begin.kernel.generation == 3 and running.ask("status")["pending"] is None
    running.stop()


def test_a_deadline_that_passed_while_the_daemon_was_away(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    write(settings, MORE)
    running.ask("reload", confirm_within_s=1)
    running.stop()
    time.sleep(1.1)
    running = Running(settings, begin)
    status = running.ask("status")
    assert status["generation"] == 3 and len(status["rules"]) == 1 and status["pending"] is None
    running.stop()
    running = Running(settings, begin)      # the folder still holds what was rolled back
    status = running.ask("status")
    assert status["generation"] == 3 and status["adopted"] and "were rolled back" in status["troubles"][0]
    running.ask("reload")                   # said explicitly, they are applied
    assert running.ask("status")["generation"] == 4 and running.ask("status")["troubles"] == []
    running.stop()


def test_a_reboot_ends_the_time_to_confirm(
        settings: Settings, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(settings, begin)
    write(settings, MORE)
    running.ask("reload", confirm_within_s=1000)
    running.stop()
    begin.kernel.is_pinned, begin.kernel.generation = False, 0
    monkeypatch.setattr(generations, "boot_id", lambda: "another boot")
    running = Running(settings, begin)
    assert len(running.ask("status")["rules"]) == 1
    running.stop()


def test_pins_lost_while_a_confirmation_is_awaited(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    write(settings, MORE)
    running.ask("reload", confirm_within_s=1000)
    running.stop()
    begin.kernel.is_pinned, begin.kernel.generation = False, 0
    running = Running(settings, begin)
    status = running.ask("status")
    assert status["pending"]["generation"] == status["generation"] == 3 and len(status["rules"]) == 2
    running.ask("rollback")
    assert len(running.ask("status")["rules"]) == 1
    running.stop()


def test_a_daemon_killed_between_flip_and_note(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    write(settings, MORE)
    original = activation.Remembered

    def die(*arguments: Any) -> Any:
        raise KeyboardInterrupt
    activation.Remembered = die     # type: ignore[assignment, misc]
    try:
        with pytest.raises(KeyboardInterrupt):
            running.service.activation.reload(module.DAEMON_BY_SIGNAL, 1000)
    finally:
        activation.Remembered = original    # type: ignore[misc]
    running.stop()
    running = Running(settings, begin)
    status = running.ask("status")
    assert begin.kernel.generation == 3 and len(status["rules"]) == 1 and status["pending"] is None
    running.stop()
    assert any("was cut short" in record.text for record in records(settings))


def test_rollback_goes_back_and_says_so(running: Running) -> None:
    with pytest.raises(Refusal, match="no generation before"):
        running.ask("rollback")
    write(running.settings, MORE)
    running.ask("reload")
    reply = running.ask("rollback")
    assert (reply["before"], reply["generation"]) == (2, 3) and reply["removed"]["rules"] == ["key-for-nobody"]
    assert running.ask("rollback")["added"]["rules"] == ["key-for-nobody"]
    assert kinds(running.settings) == ["start", "reload", "rollback", "rollback"]


def test_a_way_back_that_is_blocked_is_said(running: Running) -> None:
    write(running.settings, MORE)
    running.ask("reload", confirm_within_s=1)
    running.enforcer.failure = LoadError("the kernel refuses", "")
    running.turn(1.3)
    status = running.ask("status")
    assert status["generation"] == 2 and status["pending"] is None
    assert "going back failed: the kernel refuses" in status["troubles"][0]


# -- violations


def counters(status: dict[str, Any], rule: str = "db-through-pooler") -> tuple[int, ...]:
    found = next(each for each in status["rules"] if each["id"] == rule)["counters"]
    return tuple(found[key] for key in ("hits", "journaled", "coalesced", "lost", "waiting"))


def test_a_violation_is_journaled_with_its_words(running: Running) -> None:
    running.hit()
    running.hit()
    running.hit(tgid=4001)
    running.turn()
    record = [record for record in records(running.settings) if record.kind == "violation"][0]
    assert (record.rule, record.resource, record.missing) == ("db-through-pooler", "db", ("pooler",))
    assert (record.owner, record.reason) == ("dba@example.org", "pooled only")
    status = running.ask("status")
    assert counters(status) == (3, 2, 1, 0, 0)
    assert status["totals"] == {"hits": 3, "journaled": 2, "coalesced": 1, "lost": 0, "waiting": 0}


def test_repeats_are_written_at_the_end(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    for _ in range(5):
        running.hit()
    running.turn()
    running.stop()
    assert kinds(settings) == ["start", "violation", "repeat", "stop"]
    verify(settings.journal)


def test_records_of_a_rule_that_is_gone_keep_its_name(running: Running) -> None:
    write(running.settings, MORE)
    running.ask("reload")
    write(running.settings, RULES)
    running.hit(rule=2, generation=2)
    running.service.activation.reload(module.DAEMON_BY_SIGNAL)
    running.turn()
    assert [record.rule for record in records(running.settings) if record.kind == "violation"] == ["key-for-nobody"]


def test_a_rule_that_kills_kills_exactly_the_process(settings: Settings, begin: Begin) -> None:
    write(settings, RULES.replace("owner:", "on-bypass: kill, owner:"))
    running = Running(settings, begin)
    victims = [subprocess.Popen(["sleep", "60"]) for _ in range(4)]
    facts = [process_facts(victim.pid) for victim in victims]
    cases = ({}, {"start_ticks": 1}, {"channel": Channel.PACKET}, {"verdict": VerdictCode.AUDITED})
    for found, changes in zip(facts, cases):
        assert found is not None
        fields = {"rule": 1, "generation": 1, "tgid": found.pid, "start_ticks": found.start_ticks, **changes}
        begin.kernel.hit(raw_record(**fields), 1)
    begin.last.ring.signal()
    running.turn()
    assert victims[0].wait(10) == -signal.SIGKILL
    assert [victim.poll() for victim in victims[1:]] == [None] * 3
    for victim in victims[1:]:
        victim.kill()
        victim.wait()
    running.stop()
    assert [record.verdict for record in records(settings) if record.kind == "violation"] == [
        "killed", "denied", "denied", "audited"]


def test_what_the_ring_had_no_room_for_is_said(running: Running) -> None:
    running.hit()
    for _ in range(7):
        running.hit(is_lost=True)
    running.turn(1.2)
    gap = records(running.settings)[-1]
    assert gap.kind == "gap" and gap.gaps[0].rule == "db-through-pooler" and gap.gaps[0].lost == 7
    status = running.ask("status")
    assert counters(status) == (8, 1, 0, 7, 0)
    assert status["gaps"][-1]["gaps"][0]["lost"] == 7


def test_a_killed_daemon_leaves_an_exact_gap(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    running.hit()
    running.turn()
    killed = running
    killed.service.recorder.journal._db.close()     # type: ignore[union-attr]
    killed.service.recorder.journal = None
    killed.service.stop()
    for tgid in range(10, 15):
        begin.kernel.hit(raw_record(rule=1, tgid=tgid), 1)
    begin.kernel.hit(raw_record(rule=1), 1, is_lost=True)
    running = Running(settings, begin)
    running.turn()
    status = running.ask("status")
    assert counters(status) == (7, 6, 0, 1, 0)
    running.stop()
    assert kinds(settings) == ["start", "violation", "gap", "start", "adopt", *["violation"] * 5, "stop"]
    gap = records(settings)[2]
    assert gap.gaps[0][1:] == (6, 5, 1, 0) and "did not stop in an orderly way" in gap.cause
    verify(settings.journal)


def test_a_full_disk_stops_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = running.service.recorder.journal
    assert journal is not None
    monkeypatch.setattr("nbspd.recorder.RETRY_FIRST_S", 0.05)
    real = journal.append

    def refuse(*_: Any, **__: Any) -> Any:
        raise JournalError("no space left for the journal", "free some")
    journal.append = refuse     # type: ignore[method-assign]
    for tgid in range(5):
        running.hit(tgid=100 + tgid)
    running.turn(0.3)
    status = running.ask("status")
    assert "no space left" in status["journal"]["trouble"] and status["journal"]["failures"] >= 2
    assert status["state"] == "degraded" and counters(status) == (5, 0, 0, 0, 5)
    assert status["journal"]["ring_waiting_bytes"] > 0
    write(running.settings, MORE)
    assert running.ask("reload")["generation"] == 2
    journal.append = real       # type: ignore[method-assign]
    for _ in range(60):     # it is tried again later and later, on a busy machine more seldom still
        running.turn(0.5)
        status = running.ask("status")
        if not status["journal"]["trouble"]:
            break
    assert counters(status) == (5, 5, 0, 0, 0) and status["journal"]["trouble"] == ""
    assert kinds(running.settings)[1:] == ["reload", *["violation"] * 5, "degraded"]


def test_a_full_disk_at_start_stops_nothing(settings: Settings, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbspd.recorder.RETRY_FIRST_S", 0.05)
    with monkeypatch.context() as patch:
        def refuse(*_: Any) -> Any:
            raise JournalError("no space left for the journal", "free some")
        patch.setattr("nbspd.recorder.Journal", refuse)
        running = Running(settings, begin)
        running.hit()
        running.turn(0.2)
        assert begin.kernel.generation == 1
        assert running.ask("status")["journal"]["trouble"]
        with pytest.raises(NbspdError, match="cannot be opened"):
            running.ask("journal")
    running.turn(1.0)
    assert counters(running.ask("status")) == (1, 1, 0, 0, 0)
    running.stop()


def test_a_deleted_journal_comes_back(running: Running) -> None:
    running.hit()
    running.turn()
    for path in running.settings.state.glob("journal.db*"):
        path.unlink()
    running.hit(tgid=77)
    running.turn()
    assert counters(running.ask("status")) == (2, 2, 0, 0, 0)
    assert any("deleted" in record.text for record in records(running.settings))
    verify(running.settings.journal)


def test_the_loop_is_idle_when_nothing_happens(running: Running) -> None:
    running.hit()
    running.turn(1.1)       # journal, then one look at the losses
    started = time.monotonic()
    running.service.loop.run_once(0.5)
    assert time.monotonic() - started >= 0.45


# -- verbs


def test_ping(running: Running) -> None:
    assert running.ask("ping") == {"ok": True, "protocol": 1, "version": "0.1.0", "pid": os.getpid(), "generation": 1}


def test_status_has_everything_that_is_documented(running: Running) -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "control-protocol.md").read_text()
    status = running.ask("status")
    for key in (*status, *status["rules"][0], *status["journal"], *status["totals"]):
        assert f"`{key}`" in document, key


def test_coverage_by_rule_and_in_pages(running: Running) -> None:
    reply = running.ask("coverage", rule="db-through-pooler")
    assert reply["tier"] == "lsm" and reply["total"] == len(reply["rows"])
    assert set(reply["rows"][0]) == {"rule", "resource", "family", "channel", "state", "reason", "words"}
    assert {row["state"] for row in reply["rows"]} == {"open"}      # the fake attached nothing
    page = running.ask("coverage", offset=2, limit=3)
    assert page["rows"] == running.ask("coverage")["rows"][2:5]
    with pytest.raises(Refusal, match="there is no rule 'x'"):
        running.ask("coverage", rule="x")
    assert "channels open" in running.ask("status")["rules"][0]["state"]


def test_the_journal_over_the_socket(running: Running) -> None:
    for tgid in range(4):
        running.hit(tgid=500 + tgid)
    running.turn()
    reply = running.ask("journal")
    assert [record["kind"] for record in reply["records"]] == ["start", *["violation"] * 4]
    assert reply["last"] == 5 and not reply["is_cut"]
    assert [record["seq"] for record in running.ask("journal", after=3)["records"]] == [4, 5]
    assert [record["seq"] for record in running.ask("journal", limit=2)["records"]] == [4, 5]
    assert len(running.ask("journal", rule="db-through-pooler")["records"]) == 4
    assert running.ask("journal", since=time.time() + 60) == {"ok": True, "records": [], "is_cut": False, "last": 5}
    assert all(Record.from_json(json.dumps(record)) for record in reply["records"])


def test_a_journal_longer_than_a_reply_comes_in_pieces(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for tgid in range(10):
        running.hit(tgid=500 + tgid)
    running.turn()
    monkeypatch.setattr("nbspd.answers.RECORDS_BYTES", 3000)
    newest = running.ask("journal")
    assert newest["is_cut"] and newest["records"][-1]["seq"] == 11
    seen, after = [], 0
    while after < 11:
        reply = running.ask("journal", after=after)
        seen += [record["seq"] for record in reply["records"]]
        after = reply["last"]
    assert seen == list(range(1, 12))


def test_following_the_journal(running: Running) -> None:
    found: list[dict[str, Any]] = []

    def follow() -> None:
        with Client(running.settings.control_socket, timeout_s=20) as client:
            for record in client.follow(1):
                found.append(record)
                if len(found) == 2:
                    return
    thread = threading.Thread(target=follow)
    thread.start()
    running.turn(0.2)
    assert found == []
    running.hit()
    running.turn(0.2)
    running.hit(tgid=9)
    while thread.is_alive():
        running.turn(0.05)
    assert [(record["seq"], record["pid"]) for record in found] == [(2, 4000), (3, 9)]


def test_explaining_a_record(running: Running) -> None:
    running.hit()
    running.turn()
    reply = running.ask("explain", seq=2)
    assert reply["record"]["rule"] == "db-through-pooler" and "pooler" in reply["story"]
    with pytest.raises(Refusal, match="there is no record 99"):
        running.ask("explain", seq=99)


def test_explaining_what_would_be(running: Running) -> None:
    denied = running.ask("explain", exe="/usr/bin/psql", connect="192.0.2.1:5432")
    assert not denied["allowed"] and denied["object"] == "tcp 192.0.2.1:5432" and denied["stamps"] == []
    assert denied["rules"][0] == {"id": "db-through-pooler", "mode": "enforce", "owner": "dba@example.org",
                                  "reason": "pooled only", "only_through": ["pooler"]}
    assert denied["missing"] == [{"name": "pooler", "exe": "/usr/bin/true", "conditions": []}]
    assert running.ask("explain", exe="/usr/bin/true", connect="192.0.2.1:5432")["allowed"]
    assert running.ask("explain", connect="[::ffff:192.0.2.1]:5432")["allowed"] is False
    assert running.ask("explain", connect="192.0.2.1:5432", proto="udp")["allowed"]
    running.enforcer.stamps[os.getpid()] = ("pooler",)
    assert running.ask("explain", pid=os.getpid(), connect="192.0.2.1:5432")["allowed"]
    write(running.settings, MORE)
    running.ask("reload")
    assert running.ask("explain", read="/srv/nbspd-test/../nbspd-test/key")["missing"] == []
    for fields, cause in (({}, "explain needs"), ({"read": "a"}, "relative"),
                          ({"pid": 1 << 30, "read": "/a"}, "no process"),
                          ({"connect": "localhost:1"}, "is not an address"), ({"connect": "1.2.3.4:0"}, "not a port"),
                          ({"connect": "1.2.3.4:1", "proto": "sctp"}, "unknown protocol"),
                          ({"read": "/a", "write": "/a"}, "explain needs")):
        with pytest.raises(Refusal, match=cause):
            running.ask("explain", **fields)


def test_the_lineage_of_this_process(running: Running) -> None:
    running.enforcer.stamps[os.getpid()] = ("pooler",)
    reply = running.ask("lineage", pid=os.getpid())
    first = reply["processes"][0]
    assert first["pid"] == os.getpid() and first["stamps"] == ["pooler"] and first["exe"] and reply["operator"]
    assert [each["ppid"] for each in reply["processes"][:-1]] == [each["pid"] for each in reply["processes"][1:]]
    for pid in (0, -1, 1 << 30):
        with pytest.raises(Refusal, match="there is no process"):
            running.ask("lineage", pid=pid)


def test_detach_ends_enforcement_until_reload(running: Running) -> None:
    running.hit()
    with pytest.raises(Refusal, match="the reason is empty"):
        running.ask("detach", reason=" ")
    reply = running.ask("detach", reason="moving  the database")
    assert reply["generation"] == 1 and reply["reason"] == "moving the database"
    assert not running.begin.kernel.is_pinned and running.begin.made[0].is_closed
    status = running.ask("status")
    assert status["state"] == "detached" and status["detached"]["reason"] == "moving the database"
    assert status["detached"]["by"].startswith("uid 0") and status["rules"] == []
    assert kinds(running.settings)[-2:] == ["detach", "violation"] or "violation" in kinds(running.settings)
    for verb, fields in (("detach", {"reason": "x"}), ("rollback", {}), ("coverage", {})):
        with pytest.raises(Refusal):
            running.ask(verb, **fields)
    assert running.ask("lineage", pid=os.getpid())["processes"][0]["stamps"] == []
    running.ask("reload")
    assert len(running.begin.made) == 2 and running.begin.kernel.generation == 2
    status = running.ask("status")
    assert status["state"] == "enforcing" and status["detached"] is None
    running.hit()
    running.turn()
    assert counters(running.ask("status"))[:2] == (1, 1)
    assert "gap" in kinds(running.settings)


def test_a_bug_in_a_verb_is_told_counted_and_journaled(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.service.answers.operator = None     # type: ignore[assignment, method-assign]
    with pytest.raises(Refusal, match="a bug in nbspd") as caught:
        running.ask("lineage", pid=os.getpid())
    assert caught.value.exit_code == 3 and "Traceback" in capsys.readouterr().err
    assert running.ask("status")["bugs"] == 1
    running.service.recorder.write()
    assert "a bug in nbspd" in records(running.settings)[-1].text


# -- the host changes


def test_new_interfaces_and_addresses_reach_the_enforcer(running: Running) -> None:
    class News:
        def read(self) -> Any:
            from nbspd.control.netlink import News as Found
            return Found(((7, "eth7"),), True, False)

        def close(self) -> None:
            pass
    assert running.service.news is not None
    running.service.loop.forget(running.service.news)
    running.service.news.close()
    running.service.news = News()   # type: ignore[assignment]
    running.enforcer.refreshed = ("192.0.2.9 is ours now",)
    running.service.on_network(1)
    assert running.enforcer.appeared == [(7, "eth7")]
    running.turn(0.4)
    assert records(running.settings)[-1].text == "192.0.2.9 is ours now"
    running.enforcer.failure = LoadError("a map is full", "")
    running.service.on_refresh(1)
    assert "a map is full" in running.ask("status")["troubles"][0]
    running.enforcer.failure = None
    running.service.on_refresh(1)
    assert running.ask("status")["troubles"] == []


def test_a_new_name_is_looked_at_a_moment_later_and_not_all_the_time(running: Running) -> None:
    running.enforcer.refreshed = ("/srv/a is there now",)
    began = time.monotonic()
    while time.monotonic() - began < 0.4:
        running.enforcer.notices.kernel.ring.append(b"notice")
        running.enforcer.notices.signal()
        running.turn(0.005)
    running.turn(0.1)
    assert running.enforcer.notices.pending_bytes() == 0
    said = [record.text for record in records(running.settings)].count("/srv/a is there now")
    assert 3 <= said <= 9


# -- as a process

MAIN = """
import sys
from pathlib import Path
import tests.conftest
from tests.unit.fakes import Begin
from nbspd import service
import nbspd.programs
import types
fake = types.ModuleType("nbspd.programs.enforcer")
class Enforcer:
    start = Begin()
fake.Enforcer = Enforcer
sys.modules["nbspd.programs.enforcer"] = fake
from nbspd.paths import Settings
root = Path(sys.argv[1])
sys.exit(service.run(Settings(rules=root / "rules.d", state=root / "state", runtime=root / "run")))
"""


@contextmanager
def killed(daemon: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a daemon whatever failed: leaving a Popen waits for it."""
    try:
        yield
    finally:
        daemon.kill()


def test_as_a_process_with_systemd_a_second_daemon_and_sigterm(settings: Settings, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        environment.pop("WATCHDOG_PID", None)
        command = ["/usr/bin/python3", "-c", MAIN, str(tmp_path)]
        with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE) as daemon, killed(daemon):
            assert manager.recv(999) == b"READY=1\nSTATUS=enforcing: generation 1, 1 rules, tier lsm"
            assert manager.recv(999) == b"WATCHDOG=1"
            assert ask("ping", settings.control_socket)["pid"] == daemon.pid
            second = subprocess.run(command, cwd=root, env=os.environ | {"NOTIFY_SOCKET": ""}, capture_output=True,
                                    text=True, timeout=30)
            assert second.returncode != 0 and f"another nbspd is running (pid {daemon.pid})" in second.stderr
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == EXIT_OK
            heard = b""
            while b"STOPPING=1" not in heard:
                heard = manager.recv(999)
    assert kinds(settings) == ["start", "stop"]
