"""The daemon guards itself: what it makes of the rule `self`, maintenance, and filters that somebody removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbspd.control.client import Refusal
from nbspd.control.netlink import News
from nbspd.paths import Settings

from ..fakes import Begin
from .running import RULES, Running, kinds, records, write

SHIPPED = Path(__file__).resolve().parents[3] / "rules/00-self.yaml"


def guarded(running: Running) -> Running:
    running.enforcer.can_guard_itself = True
    write(running.settings, SHIPPED.read_text(), "00-self.yaml")
    running.ask("reload")
    return running


def test_where_it_cannot_hold_the_rule_is_left_out(running: Running) -> None:
    write(running.settings, SHIPPED.read_text(), "00-self.yaml")
    running.ask("reload")
    assert "self" not in [rule["id"] for rule in running.ask("status")["rules"]]
    rows = {row["channel"]: row for row in running.ask("coverage")["rows"] if row["rule"] == "*"}
    assert rows["monitor-process"]["state"] == "open"


def test_with_no_rule_but_this_the_daemon_is_idle(running: Running) -> None:
    guarded(running)
    assert running.ask("status")["state"] == "enforcing"
    write(running.settings, "version: 1\n")
    running.ask("reload")
    status = running.ask("status")
    assert status["state"] == "idle" and [rule["id"] for rule in status["rules"]] == ["self"]


def test_maintenance_is_journaled_with_who_asked_and_why(running: Running) -> None:
    guarded(running)
    reply = running.ask("maintain", for_s=60.0, reason="a  drop-in")
    assert (reply["for_s"], reply["reason"]) == (60.0, "a drop-in")
    assert running.ask("status")["maintained_s"] == 60.0
    said = records(running.settings)[-1]
    assert said.kind == "maintenance" and said.by.startswith("uid 0")
    assert said.text == "for 60 s nbspd may be changed: a drop-in"
    running.ask("maintain", for_s=0.0)
    assert running.ask("status")["maintained_s"] == 0.0 and "guards itself again" in records(running.settings)[-1].text
    before = len(records(running.settings))
    running.ask("maintain", for_s=0.0)
    assert len(records(running.settings)) == before, "nothing was open"


def test_maintenance_needs_a_reason_a_limit_and_something_to_open(running: Running) -> None:
    with pytest.raises(Refusal, match="does not guard itself"):
        running.ask("maintain", for_s=60.0, reason="x")
    guarded(running)
    with pytest.raises(Refusal, match="the reason is empty"):
        running.ask("maintain", for_s=60.0)
    for seconds in (-1.0, 3601.0):
        with pytest.raises(Refusal, match="cannot keep nbspd open"):
            running.ask("maintain", for_s=seconds, reason="x")
    assert "maintenance" not in kinds(running.settings)


def test_a_filter_that_somebody_removed_is_put_back(running: Running) -> None:
    service = running.service
    service.watch_filters(running.enforcer, ((2, 0), (1, 0), (1, 7), (9, 0)))   # 1 has ours again; 9 is no device
    assert running.enforcer.appeared == []
    running.turn(0.5)
    assert running.enforcer.appeared == [(2, "eth0")]
    assert "packet filter of eth0; it is put back" in records(running.settings)[-1].text
    service.watch_filters(running.enforcer, News().filters)
    running.turn(0.3)
    assert running.enforcer.appeared == [(2, "eth0")]


def test_after_a_boot_the_rule_is_there_again(settings: Settings) -> None:
    class Service(Begin):
        def __call__(self, settings: Settings) -> object:
            made = super().__call__(settings)
            made.can_guard_itself = True
            return made
    write(settings, SHIPPED.read_text(), "00-self.yaml")
    write(settings, RULES)
    running = Running(settings, Service())
    try:
        assert {rule["id"] for rule in running.ask("status")["rules"]} >= {"self"}
    finally:
        running.stop()
