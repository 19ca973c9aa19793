"""Reload: all or nothing, told to whoever asked and to systemd."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from nbspd.control.client import Refusal
from nbspd.errors import LoadError, RulesError
from nbspd.paths import Settings

from ..fakes import Begin
from .running import BROKEN, MORE, RULES, Running, records, write


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
