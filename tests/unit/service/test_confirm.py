"""Generations that must be confirmed, and every way back."""

from __future__ import annotations

import time
from typing import Any

import pytest

from nbspd import activation, generations, service as module
from nbspd.control.client import Refusal
from nbspd.errors import LoadError
from nbspd.paths import Settings

from ..fakes import Begin
from .running import MORE, Running, kinds, records, write


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
