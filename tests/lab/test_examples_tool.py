"""rules/40: an admin tool is executed only through sudo, whose stamp its children keep."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .example import Applied, as_alice, assert_refused, assert_told, perform

RULE = "payroll-admin-through-sudo"
TOOL = "/usr/local/sbin/payroll-admin"
SOURCE = '#include <stdio.h>\nint main(void) { puts("paid"); return 0; }\n'
ALICE = "runuser -u alice --"


@pytest.fixture(scope="module")
def applied(guest: Guest) -> Iterator[Applied]:
    """The tool, and alice who may use it by sudo."""
    guest.run(f"gcc -O1 -x c -o {TOOL} -", 60, stdin=SOURCE, check=True)
    guest.put("/etc/sudoers.d/payroll", f"alice ALL=(root) NOPASSWD: {TOOL}, /bin/sh\n", 0o440)
    assert guest.run(f"{ALICE} {TOOL}").output == "paid\n", "without rules the direct way works"
    try:
        with Applied.shipped(guest, "40-admin-tool-through-sudo.yaml") as applied:
            yield applied
    finally:
        guest.run(f"rm -f {TOOL} /etc/sudoers.d/payroll")


def test_tool_runs_by_sudo(guest: Guest, applied: Applied) -> None:
    done = guest.run(f"{ALICE} sudo -n {TOOL}", 60)
    assert (done.status, done.output) == (0, "paid\n")


def test_children_of_sudo_keep_the_stamp(guest: Guest, applied: Applied) -> None:
    done = guest.run(f"{ALICE} sudo -n sh -c 'echo shell; sh -c \"{TOOL}; true\"'", 60)
    assert (done.status, done.output) == (0, "shell\npaid\n")


def test_tool_without_sudo_is_refused_and_told(guest: Guest, applied: Applied) -> None:
    for who in (f"{ALICE} sh -c", "sh -c"):
        done = guest.run(as_alice(f"{who} '{TOOL}; exit $?'"), 60)
        if guest.tier == "socket":      # nothing can refuse it there: it is killed before its first instruction
            assert done.status == 128 + 9 and "paid" not in done.output
        else:
            assert_refused(done)
    records = applied.violations(RULE, channel="exec")
    if guest.tier == "socket":
        assert {record["verdict"] for record in records} == {"killed"}
        return
    assert_told(records[-1], RULE, ["sudo"])
    assert {record["user"] for record in records} == {"alice", "root"}
    assert all(record["object"] == TOOL and record["action"] == "execute" for record in records)


def test_tool_is_not_copied_or_changed(guest: Guest, applied: Applied) -> None:
    acts = [["execute", TOOL], ["read", TOOL], ["write", TOOL], ["chmod", TOOL],
            ["link", TOOL, "/usr/local/sbin/alias"],
            ["rename", TOOL, "/usr/local/sbin/alias"], ["move-in", "/usr/local/sbin/mine", TOOL], ["unlink", TOOL]]
    if guest.tier == "socket":
        assert perform(guest, acts[:2]) == ["killed", "allowed"]
        return
    assert dict(zip(map(str, acts), perform(guest, acts))) == {str(act): "EPERM" for act in acts}
    assert_refused(guest.run(f"cp {TOOL} /root/copy"))
    loader = guest.run(f"/lib64/ld-linux-x86-64.so.2 {TOOL}")
    assert_refused(loader)
    assert "paid" not in loader.output


def test_background_of_somebody_else_has_no_stamp(guest: Guest, applied: Applied) -> None:
    done = guest.run(f"systemd-run --quiet --wait --pipe --collect {TOOL}", 60)
    assert not done.is_done and "paid" not in done.output
    assert applied.violations(RULE, channel="exec")


def test_coverage_says_what_is_enforced(guest: Guest, applied: Applied) -> None:
    coverage = applied.coverage(RULE)
    if guest.tier == "socket":
        assert coverage["exec"] == "observed" and coverage["open"] == "open"
        assert not applied.state(RULE).startswith("enforced")
    else:
        assert coverage["exec"] == coverage["open"] == "enforced"
        assert applied.state(RULE).startswith("enforced")
