"""How the daemon begins: new, over the pins of one before, with rules or a state folder that are no good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbspd import generations, instance
from nbspd.control.client import Refusal
from nbspd.errors import HostError, LoadError, NbspdError, RulesError
from nbspd.instance import InstanceLock, require_root
from nbspd.journal.chain import verify
from nbspd.paths import Settings

from ..fakes import Begin
from .running import BROKEN, MORE, RULES, Running, kinds, records, write


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
