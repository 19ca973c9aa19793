"""The daemon's life under systemd: reload, stop, start, kill -9, boot, detach. Enforcement ends only with detach."""

from __future__ import annotations

from typing import Any, Iterator

import pytest

from . import Guest
from .example import RULES, Applied, answer, assert_refused, as_alice, perform

RULE = "nobody-there"
DOOR = ["connect", "127.0.0.1", 5999]
TEXT = """version: 1
resources:
  door:
    tcp: ["127.0.0.1:5999"]
  second-door:
    tcp: ["127.0.0.1:5998"]
rules:
  - id: nobody-there
    protect: door
    only-through: []
    owner: lab@example.org
    reason: "the lab's door"
"""
SECOND_RULE = """  - id: nobody-there-either
    protect: second-door
    only-through: []
"""
BROKEN = TEXT.replace("only-through: []", "only-trough: []").replace('"127.0.0.1:5998"', '"127.0.0.1:70000"')
SECOND_DOOR = ["connect", "127.0.0.1", 5998]
STAYS_DOWN = "/run/systemd/system/nbspd.service.d/lab.conf"


@pytest.fixture
def applied(guest: Guest) -> Iterator[Applied]:
    """A door that is open to nobody; it is shut in every tier. Nobody listens behind it."""
    with Applied(guest, "90-door.yaml", TEXT) as applied:
        assert perform(guest, [DOOR, SECOND_DOOR]) == ["EPERM", "ECONNREFUSED"]
        yield applied


def gap_of(guest: Guest, after: int) -> dict[str, Any]:
    """Return the only gap record behind record `after`."""
    records = [record for record in answer(guest, "journal --limit 1000")["records"] if record["seq"] > after]
    gaps = [record for record in records if record["kind"] == "gap"]
    assert len(gaps) == 1, records
    return dict(gaps[0])


def assert_exact(guest: Guest) -> None:
    """Every hit that the kernel counted is accounted for."""
    for rule in answer(guest, "status")["rules"]:
        counters = rule["counters"]
        assert counters["hits"] == (counters["journaled"] + counters["coalesced"] + counters["lost"]
                                    + counters["waiting"]), counters


def assert_gap(guest: Guest, after: int, count: int, cause: str) -> None:
    """The gap has exactly so many denials of the door, all of them with their details."""
    gap = gap_of(guest, after)
    rows = [row for row in gap["gaps"] if row["rule"] == RULE]
    assert rows == [{"rule": RULE, "hits": count, "journaled": count, "lost": 0, "gone": 0}]
    assert cause in gap["cause"]
    assert gap["from_ns"] < gap["to_ns"]
    assert_exact(guest)


def last_record(guest: Guest) -> int:
    return int(answer(guest, "journal --limit 1")["last"])


def test_systemctl_reload_applies_the_folder(guest: Guest, applied: Applied) -> None:
    before = answer(guest, "status")["generation"]
    guest.put(applied.file, TEXT + SECOND_RULE)
    guest.run("systemctl reload nbspd", 60, check=True)
    assert answer(guest, "status")["generation"] == before + 1
    assert perform(guest, [DOOR, SECOND_DOOR]) == ["EPERM", "EPERM"]


def test_broken_rules_change_nothing_and_all_errors_are_told(guest: Guest, applied: Applied) -> None:
    before = answer(guest, "status")["generation"]
    guest.put(applied.file, BROKEN)
    assert not guest.run("systemctl reload nbspd", 60).is_done
    told = guest.run("nbsp reload", 60)
    assert told.status == 1
    assert "only-trough" in told.output and "70000" in told.output
    status = answer(guest, "status")
    assert status["generation"] == before and RULE in [rule["id"] for rule in status["rules"]]
    assert perform(guest, [DOOR, SECOND_DOOR]) == ["EPERM", "ECONNREFUSED"]


def test_stop_leaves_enforcement_on_and_start_tells_the_gap(guest: Guest, applied: Applied) -> None:
    applied.violations(RULE)
    after = last_record(guest)
    guest.run("systemctl stop nbspd", 60, check=True)
    assert perform(guest, [DOOR] * 7) == ["EPERM"] * 7
    guest.run("systemctl start nbspd", 200, check=True)
    status = answer(guest, "status")
    assert status["adopted"] and status["state"] == "enforcing"
    assert_gap(guest, after, 7, "stopped")
    assert perform(guest, [DOOR]) == ["EPERM"]


def test_killed_daemon_leaves_enforcement_on_and_adopts_it_again(guest: Guest, applied: Applied) -> None:
    applied.violations(RULE)
    after = last_record(guest)
    guest.run("nbsp maintain --for 10m --reason 'a drop-in'", 60)      # in tier socket there is nothing to open
    guest.put(STAYS_DOWN, "[Service]\nRestart=no\n")
    guest.run("systemctl daemon-reload", 60, check=True)
    try:
        guest.run("systemctl kill -s KILL nbspd; while pidof -q -x nbspd; do sleep 0.1; done", 60, check=True)
        assert perform(guest, [DOOR] * 23) == ["EPERM"] * 23
        assert perform(guest, [DOOR] * 19) == ["EPERM"] * 19
    finally:
        guest.run(f"rm {STAYS_DOWN}; systemctl daemon-reload; systemctl reset-failed nbspd; systemctl start nbspd", 240,
                  check=True)
        guest.run("nbsp maintain --end", 60)
    assert answer(guest, "status")["adopted"]
    assert_gap(guest, after, 42, "did not stop in an orderly way")
    assert guest.run("nbsp journal verify", 60).is_done


def test_systemd_brings_a_killed_daemon_back(guest: Guest, applied: Applied) -> None:
    killed = answer(guest, "status")["pid"]
    guest.run("systemctl kill -s KILL nbspd", 30, check=True)
    assert perform(guest, [DOOR]) == ["EPERM"]
    guest.run("nbsp status --wait 60", 90, check=True)
    status = answer(guest, "status")
    assert status["pid"] != killed and status["adopted"]


def test_broken_rules_at_start_keep_the_last_good_generation(guest: Guest, applied: Applied) -> None:
    guest.put(applied.file, BROKEN)
    guest.run("systemctl restart nbspd", 200, check=True)
    status = answer(guest, "status")
    assert (status["state"], status["origin"]) == ("degraded", "last-good")
    assert "broken" in " ".join(status["troubles"])
    assert perform(guest, [DOOR]) == ["EPERM"]


def test_generation_that_nobody_confirms_goes_away(guest: Guest, applied: Applied) -> None:
    guest.put(applied.file, TEXT + SECOND_RULE)
    guest.run("nbsp reload --confirm-within 3s", 60, check=True)
    told = guest.run("timeout 60 sh -c 'until nbsp journal --limit 5 | grep -i back; do sleep 1; done'", 90)
    assert told.is_done
    assert perform(guest, [DOOR, SECOND_DOOR]) == ["EPERM", "ECONNREFUSED"]


def test_detach_ends_enforcement_until_reload(guest: Guest, applied: Applied) -> None:
    guest.run("nbsp detach --reason 'the lab says so'", 60, check=True)
    assert perform(guest, [DOOR]) == ["ECONNREFUSED"]
    assert guest.run("find /sys/fs/bpf/nbspd -type f | wc -l").output.splitlines()[-1] == "0"
    status = answer(guest, "status")
    assert (status["state"], status["detached"]["reason"]) == ("detached", "the lab says so")
    record = next(each for each in answer(guest, "journal --limit 50")["records"][::-1] if each["kind"] == "detach")
    assert record["text"] == "the lab says so" and record["by"].startswith("uid 0, ")
    guest.run("nbsp reload", 600, check=True)
    assert perform(guest, [DOOR]) == ["EPERM"]


def test_viewers_may_look_and_others_may_not(guest: Guest, applied: Applied) -> None:
    refused = guest.run("runuser -u alice -- nbsp status", 60)
    assert refused.status == 1
    assert "alice may not talk to nbspd: only root and members of the group nbspd may" in refused.output
    assert "sudo nbsp status; or, to look without sudo: sudo usermod -aG nbspd alice" in refused.output
    guest.run("usermod -a -G nbspd alice", 30, check=True)
    try:
        assert guest.run("runuser -u alice -- nbsp status", 60).is_done
        assert guest.run("runuser -u alice -- nbsp reload", 60).status == 1
    finally:
        guest.run("gpasswd -d alice nbspd", 30, check=True)


def test_rules_are_active_after_boot_before_the_network(guest: Guest, applied: Applied) -> None:
    guest.reboot()
    assert_refused(guest.run(as_alice("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 5999))'")))
    active, network = (int(guest.run(f"systemctl show -P {name} {unit}", check=True).output) for name, unit in (
        ("ActiveEnterTimestampMonotonic", "nbspd"), ("ExecMainStartTimestampMonotonic", "systemd-networkd")))
    assert 0 < active < network
    assert answer(guest, "status")["state"] == "enforcing"
    assert guest.run(f"ls {RULES}").output == "00-self.yaml\n90-door.yaml\n"
