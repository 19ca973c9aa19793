"""Hits in words, with this very process as the one that did it."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbspd import abi
from nbspd.events.decode import decode
from nbspd.events.describe import Describer, unit_of
from nbspd.events.host import Host
from nbspd.journal.record import Record
from nbspd.kernel.process import process_facts
from nbspd.rules.reserved import RAW_FRAMES

from .hits import record

RULE = SimpleNamespace(id="db-through-pooler", protect="payroll-db", only_through=("pooler",), owner="dba",
                       reason="PCI")
NAMES = SimpleNamespace(rules={3: RULE}, stamps={5: "bastion"}, objects={})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbroken line\n")
    return Host(passwd)


def mine(**changes: Any) -> bytes:
    facts = process_facts(os.getpid())
    assert facts is not None
    return record(tgid=facts.pid, start_ticks=facts.start_ticks, exe_ino=facts.exe_ino, **changes)


def test_a_record_says_everything(host: Host) -> None:
    told = Describer(Record, NAMES, host).describe(decode(mine(
        time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME), cgroup=0)))
    facts = process_facts(os.getpid())
    assert facts is not None
    assert (told.kind, told.rule, told.rule_number) == ("violation", "db-through-pooler", 3)
    assert (told.resource, told.missing, told.owner, told.reason) == ("payroll-db", ("pooler",), "dba", "PCI")
    assert (told.verdict, told.action, told.channel) == ("denied", "connect", "connect")
    assert told.object == "tcp 127.0.0.1:5432"
    assert (told.exe, told.argv, told.pid) == (facts.exe, facts.cmdline, os.getpid())
    assert (told.user, told.euser, told.login, told.operator) == ("alice", "root", "alice", "alice, session 7")
    assert told.stamps == ("bastion", "stamp 511")
    assert [step[1] for step in told.ancestry] == ["bash", "systemd"]
    assert abs(told.time_ns - time.time_ns()) < 10**9
    assert 0 < time.time_ns() - told.started_ns < 3600 * 10**9 or told.start_ticks == 99
    assert Record.from_json(told.to_json()) == told
    assert told.line() and told.story()


def test_a_process_that_is_gone_is_described_by_the_kernel_alone(host: Host) -> None:
    told = Describer(Record, NAMES, host).describe(decode(record(tgid=os.getpid())))     # another start time
    assert (told.exe, told.argv) == ("psql", ("psql", "-h", "127.0.0.1"))


def test_a_process_that_runs_another_program_by_now_is_not_mixed_up(host: Host) -> None:
    another = abi.Violation.from_buffer_copy(mine())
    another.exe_ino += 1
    told = Describer(Record, NAMES, host).describe(decode(bytes(another)))
    assert told.exe == "psql"


def test_the_environment_behind_the_arguments_is_left_out(host: Host) -> None:
    raw = abi.Violation.from_buffer_copy(record())
    from .hits import place
    place(raw, "argv", b"psql\0-l\0PGPASSWORD=hunter2\0HOME=/root\0")
    assert Describer(Record, NAMES, host).describe(decode(bytes(raw))).argv == ("psql", "-l")


def test_operator_without_a_login_is_the_service_or_the_user(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    unset = {"loginuid": abi.UNSET_ID, "sessionid": abi.UNSET_ID}
    describer = Describer(Record, NAMES, host)
    assert describer.describe(decode(record(**unset))).operator == "alice"
    assert describer.describe(decode(record(uid=4242, **unset))).operator == "uid 4242"
    monkeypatch.setattr(host, "cgroup", lambda number: "/system.slice/cron.service")
    told = describer.describe(decode(record(**unset)))
    assert (told.operator, told.unit, told.cgroup) == ("cron.service", "cron.service", "/system.slice/cron.service")


def test_unknown_numbers_stay_visible(host: Host) -> None:
    describer = Describer(Record, NAMES, host)
    told = describer.describe(decode(record(rule=99, channel=200, verdict=9)))
    assert (told.rule, told.channel, told.verdict) == ("rule number 99", "channel 200", "verdict 9")
    reserved = describer.describe(decode(record(rule=RAW_FRAMES)))
    assert reserved.rule == "raw-frames" and "below the packet filters" in reserved.reason
    undecided = describer.describe(decode(record(rule=0)))
    assert undecided.rule == "(undecided)" and "refused to be safe" in undecided.reason


def test_only_the_first_of_a_flood_are_looked_up(host: Host) -> None:
    told = Describer(Record, NAMES, host).describe_all([decode(mine())] * 3, detailed=1)
    assert [record.exe.startswith("/") for record in told] == [True, False, False]


@pytest.mark.parametrize("cgroup, unit", [
    ("/system.slice/cron.service", "cron.service"), ("/user.slice/user-0.slice/session-3.scope", "session-3.scope"),
    ("/user.slice/user-0.slice/user@0.service/app.slice/a.service/x", "a.service"), ("/", ""), ("", "")])
def test_unit_of(cgroup: str, unit: str) -> None:
    assert unit_of(cgroup) == unit


def test_the_host_names_its_cgroups_users_and_interfaces(host: Host) -> None:
    assert host.user(0) == "root" and host.user(77) == ""
    assert host.interface(1) == "lo" and host.interface(10**6) == "interface 1000000"
    from nbspd.kernel.mounts import cgroup2_root
    folder = cgroup2_root()
    assert host.cgroup(folder.stat().st_ino) in ("/", "") and host.cgroup(1 << 60) == ""
    for child in (entry for entry in folder.iterdir() if entry.is_dir() and os.geteuid() == 0):
        assert host.cgroup(child.stat().st_ino) == f"/{child.name}"
        break
    root = os.stat("/").st_dev
    assert host.mount(os.major(root) << 20 | os.minor(root)) in ("/", "")
