"""Brokers: what they and the kernel start for a stamped process has no stamp; what a stamped broker starts has it."""

from __future__ import annotations

import time
from typing import Iterator

import pytest

from . import Guest
from .example import Applied

RULE = "broker-secret"
SECRET = "/srv/brokers/secret"
BASTION = "/usr/local/sbin/bastion"
FETCH = "/usr/local/sbin/fetch"
GOT = "/run/brokers-got"
REFUSED = "Operation not permitted"
TEXT = f"""version: 1
checkpoints:
  bastion: {{exe: {BASTION}, stamp: children}}
resources:
  secret: {{files: [{SECRET}]}}
rules:
  - {{id: {RULE}, protect: secret, only-through: [bastion]}}
"""
BUS_NAME = "org.nbspd.Lab"
BUS_POLICY = f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><policy user="root"><allow own="{BUS_NAME}"/><allow send_destination="{BUS_NAME}"/></policy></busconfig>
"""
BUS_SERVICE = f"[D-BUS Service]\nName={BUS_NAME}\nExec={FETCH}\nUser=root\n"
BUS_FILES = (f"/usr/share/dbus-1/system.d/{BUS_NAME}.conf", f"/usr/share/dbus-1/system-services/{BUS_NAME}.service")
BUS_RELOAD = "busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig"
RUNTIME = "XDG_RUNTIME_DIR=/run/user/0"
# a user's manager as user@0.service starts it, which needs a PAM module that the guest does not have
MANAGER = (f"mkdir -p -m 700 /run/user/0; systemd-run --quiet --unit=brokers-user -p Type=notify -p Delegate=yes "
           f"--setenv={RUNTIME} /usr/lib/systemd/systemd --user")
PATTERN, MODPROBE = "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe"

# by whom, how a process below the bastion asks, and for how many seconds an answer may take
REQUESTS = (
    ("systemd-run", f"systemd-run --quiet --collect {FETCH}", 30),
    ("systemd-run --user", f"{MANAGER} && {RUNTIME} systemd-run --user --quiet --collect {FETCH}", 60),
    ("systemd's timer", f"systemd-run --quiet --on-active=1s --timer-property=AccuracySec=100ms {FETCH}", 60),
    ("D-Bus activation", f"{BUS_RELOAD}; busctl --timeout=5 call {BUS_NAME} / {BUS_NAME} Fetch || true", 30),
    ("at", f"systemctl start atd && echo {FETCH} | at -M now", 60),
    ("cron", f"systemctl start cron && echo '* * * * * root {FETCH}' > /etc/cron.d/brokers", 150),
    ("core_pattern", f"echo '|{FETCH}' > {PATTERN} && sh -c 'ulimit -c 1; kill -ABRT $$' || true", 30),
    ("modprobe", f"echo {FETCH} > {MODPROBE} && mount -t nbspdlab none /mnt || true", 30))
UNDO = (f"cat /run/brokers-pattern > {PATTERN}; cat /run/brokers-modprobe > {MODPROBE}; rm -f /etc/cron.d/brokers; "
        "systemctl stop cron atd brokers-user.service 2> /dev/null; pkill -x atd; true")


@pytest.fixture(scope="module")
def applied(guest: Guest) -> Iterator[Applied]:
    """A shell that is a checkpoint, a secret, and a script that fetches it for whoever starts it."""
    guest.put(SECRET, "the secret\n")
    guest.put(FETCH, f"#!/bin/sh\ncat {SECRET} > {GOT}.new 2>&1\nmv {GOT}.new {GOT}\n", 0o755)
    for path, text in zip(BUS_FILES, (BUS_POLICY, BUS_SERVICE)):
        guest.put(path, text)
    guest.run(f"cp /usr/bin/dash {BASTION} && cat {PATTERN} > /run/brokers-pattern && "
              f"cat {MODPROBE} > /run/brokers-modprobe", check=True)
    try:
        with Applied(guest, "60-brokers.yaml", TEXT) as applied:
            yield applied
    finally:
        guest.run(f"{UNDO}; rm -rf {BASTION} {FETCH} {GOT} /srv/brokers {' '.join(BUS_FILES)}", 60)


@pytest.fixture
def undone(guest: Guest) -> Iterator[None]:
    """Knobs and services as they were."""
    yield
    guest.run(UNDO, 60)


def asked(guest: Guest, command: str | list[str], timeout_s: float = 30.0) -> str:
    """Ask for the secret to be fetched, and return what whoever does it got."""
    guest.run(["rm", "-f", GOT], check=True)
    done = guest.run(command, 60)
    deadline = time.monotonic() + timeout_s
    while not guest.run(["test", "-e", GOT]).is_done:
        assert time.monotonic() < deadline, f"nobody did it: {done.output}"
        time.sleep(0.5)
    return guest.get(GOT)


def below(command: str) -> list[str]:
    """Return a command as a child of the bastion runs it: a shell that it started, not itself."""
    return [BASTION, "-c", 'sh -c "$0"; true', command]


def test_a_child_has_the_stamp_and_nobody_else(guest: Guest, applied: Applied) -> None:
    assert asked(guest, below(FETCH)) == "the secret\n"
    if guest.tier == "socket":      # files are open there, and coverage says so; stamps are the same
        assert asked(guest, FETCH) == "the secret\n"
    else:
        assert REFUSED in asked(guest, FETCH)


@pytest.mark.parametrize("broker, request_line, timeout_s", REQUESTS, ids=[broker for broker, _, _ in REQUESTS])
def test_what_is_started_on_request_has_no_stamp(guest: Guest, applied: Applied, undone: None, broker: str,
                                                 request_line: str, timeout_s: float) -> None:
    if guest.tier == "socket":
        pytest.skip("tier socket does not protect files, and stamps are kept by the same programs in all tiers")
    if broker == "core_pattern":    # a stamped process is killed where it would dump, and no helper is started for it
        guest.run(["rm", "-f", GOT], check=True)
        guest.run(below(request_line), 60)
        assert applied.violations("sealed", channel="dump")[0]["verdict"] == "killed"
        assert not guest.run(["test", "-e", GOT]).is_done
        return
    assert REFUSED in asked(guest, below(request_line), timeout_s), broker
    assert applied.violations(RULE, object=SECRET)


def test_a_broker_that_was_started_below_a_checkpoint_gives_its_stamp_to_anybody(
        guest: Guest, applied: Applied, undone: None) -> None:
    """The dangerous direction, and why docs/threat-model.md says to start services by systemctl."""
    guest.run("systemctl stop atd", check=True)
    guest.run(below("/usr/sbin/atd"), 30, check=True)
    assert asked(guest, f"echo {FETCH} | at -M now", 60) == "the secret\n"
    guest.run("pkill -x atd; systemctl start atd", check=True)
    if guest.tier != "socket":
        assert REFUSED in asked(guest, f"echo {FETCH} | at -M now", 60)


def test_an_interpreter_of_binfmt_misc_runs_in_the_process_that_executes(guest: Guest, applied: Applied) -> None:
    """Whoever may register one has it run with the stamp of whoever executes such a file: rules/01 closes that."""
    guest.run(f"ls /proc/sys/fs/binfmt_misc > /dev/null; echo ':brokers:M::NBSPDLAB::{FETCH}:' > "
              "/proc/sys/fs/binfmt_misc/register && echo NBSPDLAB > /run/brokers-program && "
              "chmod 755 /run/brokers-program", check=True)
    try:
        assert asked(guest, below("/run/brokers-program")) == "the secret\n"
        if guest.tier != "socket":
            assert REFUSED in asked(guest, "/run/brokers-program")
    finally:
        guest.run("echo -1 > /proc/sys/fs/binfmt_misc/brokers; rm /run/brokers-program")


def test_a_checkpoint_that_is_a_broker_is_warned_of(guest: Guest) -> None:
    guest.put("/run/brokers-check.yaml", TEXT.replace(BASTION, "/usr/sbin/cron"))
    said = guest.run("nbsp check /run/brokers-check.yaml", 60)
    assert said.is_done and "is cron, and everything that it starts for anybody carries the stamp" in said.output
