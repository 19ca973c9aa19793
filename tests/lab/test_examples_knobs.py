"""rules/01: the kernel's knobs are written only by systemd's own services, by whatever mount or namespace."""

from __future__ import annotations

import json
from typing import Iterator

import pytest

from . import Guest
from .example import Applied, as_alice, assert_refused, assert_told, perform

HELPERS, LOCKS, MEMORY, TRACING = "kernel-helpers", "kernel-locks", "kernel-memory", "kernel-tracing"
THROUGH = ["systemd-sysctl", "systemd-binfmt"]
CGROUP = "/run/knobs-cgroup"
PATTERN = "/proc/sys/kernel/core_pattern"
FILES = {
    HELPERS: (PATTERN, "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/sys/kernel/uevent_helper",
              "/proc/sys/kernel/poweroff_cmd", "/proc/sys/kernel/usermodehelper/bset",
              "/proc/sys/kernel/usermodehelper/inheritable", "/proc/sys/fs/binfmt_misc/register",
              "/proc/sys/fs/binfmt_misc/status", "/proc/sys/fs/binfmt_misc/python3.11", f"{CGROUP}/release_agent",
              f"{CGROUP}/notify_on_release", f"{CGROUP}/inner/notify_on_release",
              "/sys/module/firmware_class/parameters/path"),
    LOCKS: ("/proc/sys/kernel/modules_disabled", "/proc/sys/kernel/kexec_load_disabled",
            "/proc/sys/kernel/yama/ptrace_scope", "/proc/sys/kernel/unprivileged_bpf_disabled",
            "/proc/sys/net/core/bpf_jit_harden", "/proc/sys/kernel/io_uring_disabled",
            "/proc/sys/kernel/perf_event_paranoid", "/proc/sys/kernel/kptr_restrict", "/proc/sys/kernel/dmesg_restrict",
            "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/core_pipe_limit", "/proc/sys/kernel/ns_last_pid",
            "/proc/sys/user/max_user_namespaces", "/proc/sys/fs/suid_dumpable", "/proc/sys/fs/protected_hardlinks",
            "/proc/sys/vm/mmap_min_addr"),
    MEMORY: ("/proc/sysrq-trigger",),
    TRACING: ("/sys/kernel/debug/sleep_time", "/sys/kernel/debug/fault_around_bytes", "/sys/kernel/tracing/tracing_on",
              "/sys/kernel/debug/tracing/tracing_on", "/sys/kernel/tracing/kprobe_events")}
ABSENT = "ENOENT"       # this kernel does not have it
WAYS = ("append-through-root", "append-bound", "append-in-pid-namespace", "append-in-user-namespace",
        "append-by-o-path", "append-in-chroot", "truncate")


def attempts() -> list[list[str]]:
    return [["append", path] for paths in FILES.values() for path in paths]


def ways() -> list[list[str]]:
    return [[way, path] for way in WAYS for path in (PATTERN, "/proc/sys/kernel/yama/ptrace_scope")]


@pytest.fixture(scope="module")
def before(guest: Guest) -> Iterator[dict[str, str]]:
    """What became of each attempt without the rule; a cgroup v1 hierarchy of our own is mounted."""
    guest.run(f"set -e; mkdir -p {CGROUP}; mount -t cgroup -o none,name=knobs none {CGROUP}; mkdir {CGROUP}/inner; "
              f"ls /proc/sys/fs/binfmt_misc; cat {PATTERN} > /run/knobs-pattern", 60, check=True)
    try:
        acts = attempts() + ways()
        yield dict(zip(map(str, acts), perform(guest, acts)))
    finally:
        guest.run(f"rmdir {CGROUP}/inner; umount {CGROUP}; rmdir {CGROUP}; cat /run/knobs-pattern > {PATTERN}", 60)


@pytest.fixture(scope="module")
def applied(guest: Guest, before: dict[str, str]) -> Iterator[Applied]:
    """The rule as it is shipped."""
    if guest.tier == "socket":
        pytest.skip("tier socket has no hook for files; coverage says so, and test_examples_keys.py looks at that")
    with Applied.shipped(guest, "01-kernel-knobs.yaml") as applied:
        yield applied


def test_without_the_rule_root_writes_what_there_is(guest: Guest, before: dict[str, str]) -> None:
    assert set(before.values()) <= {"allowed", ABSENT}, before
    assert sum(outcome == "allowed" for outcome in before.values()) > 30, before


def test_with_it_nobody_does(guest: Guest, applied: Applied, before: dict[str, str]) -> None:
    acts = attempts()
    assert dict(zip(map(str, acts), perform(guest, acts))) == {
        str(act): ABSENT if before[str(act)] == ABSENT else "EPERM" for act in acts}


def test_no_other_mount_or_namespace_leads_around(guest: Guest, applied: Applied) -> None:
    acts = ways()
    assert dict(zip(map(str, acts), perform(guest, acts))) == {str(act): "EPERM" for act in acts}


def test_the_record_names_the_rule_and_the_knob(guest: Guest, applied: Applied) -> None:
    assert_refused(guest.run(as_alice(f"echo '|/bin/true' > {PATTERN}"), 30))
    record = applied.violations(HELPERS, object=PATTERN, action="write")[-1]
    assert_told(record, HELPERS, THROUGH)
    assert_refused(guest.run(as_alice("unshare -pfm --mount-proc=/mnt sh -c 'echo x > /mnt/sys/kernel/modprobe'"), 30))
    assert_told(applied.violations(HELPERS, object="/proc/sys/kernel/modprobe")[-1], HELPERS, THROUGH)


def test_reading_stays_free_but_for_memory(guest: Guest, applied: Applied) -> None:
    guest.run(f"cat {PATTERN} /proc/sys/kernel/modules_disabled /proc/sys/fs/binfmt_misc/status {CGROUP}/release_agent "
              "&& sysctl -a > /dev/null 2>&1; ls /sys/kernel/tracing > /dev/null && ps -ef > /dev/null", 60, check=True)
    assert_refused(guest.run("head -c 1 /proc/kcore", 30))
    assert applied.violations(MEMORY, object="/proc/kcore", action="read")


def test_what_is_not_declared_is_written(guest: Guest, applied: Applied) -> None:
    guest.run("sysctl -w kernel.core_uses_pid=$(sysctl -n kernel.core_uses_pid) vm.swappiness=61 "
              f"&& echo 1 > {CGROUP}/cgroup.clone_children && echo $$ > {CGROUP}/inner/cgroup.procs "
              f"&& echo $$ > {CGROUP}/cgroup.procs", 60, check=True)


def test_release_agent_is_not_set_by_a_mount_either(guest: Guest, applied: Applied) -> None:
    mount = "mount -t cgroup -o none,name=knobs2%s none /mnt && umount /mnt"
    guest.run(mount % "", 30, check=True)
    done = guest.run(as_alice(mount % ",release_agent=/bin/true"), 30)
    assert not done.is_done
    assert_told(applied.violations(HELPERS, channel="mount_option")[-1], HELPERS, THROUGH)


def test_systemd_sets_them_from_its_folders(guest: Guest, applied: Applied) -> None:
    guest.run("echo kernel.core_pattern=core.knobs > /etc/sysctl.d/99-knobs.conf && mkdir -p /etc/binfmt.d && "
              "echo ':knobs:M::nbspdknobs::/bin/true:' > /etc/binfmt.d/knobs.conf", check=True)
    try:
        guest.run("systemctl restart systemd-sysctl systemd-binfmt", 120, check=True)
        assert guest.get(PATTERN) == "core.knobs\n"
        assert "enabled" in guest.get("/proc/sys/fs/binfmt_misc/knobs")
        assert guest.get("/proc/sys/fs/binfmt_misc/python3.11").startswith("enabled")
    finally:
        guest.run("rm -f /etc/sysctl.d/99-knobs.conf /etc/binfmt.d/knobs.conf; systemctl restart systemd-binfmt", 120)


def test_the_checkpoint_by_hand_is_none(guest: Guest, applied: Applied) -> None:
    guest.put("/run/knobs.conf", "kernel.core_pattern=core.hand\n")
    guest.run("/usr/lib/systemd/systemd-sysctl /run/knobs.conf", 60)
    assert "hand" not in guest.get(PATTERN)
    assert applied.violations(HELPERS, comm="systemd-sysctl")


def test_a_unit_s_output_is_not_opened_with_anybody_s_stamp(guest: Guest, applied: Applied) -> None:
    guest.run(f"systemd-run --wait --collect --quiet -p StandardOutput=file:{PATTERN} echo evil", 60)
    assert "evil" not in guest.get(PATTERN)


def test_the_drill_gets_to_no_knob(guest: Guest, applied: Applied) -> None:
    done = guest.run("nbsp drill --family H8 --only knob --json", 300)
    results = json.loads(done.output)["results"]
    assert len(results) > 20 and {one["outcome"] for one in results} <= {"blocked", "absent"}, done.output


def test_booting_with_the_rule_works(guest: Guest, applied: Applied) -> None:
    guest.run("systemctl daemon-reexec && systemctl restart systemd-udevd systemd-journald dbus systemd-logind", 120,
              check=True)
    failed = guest.run("systemctl --failed --no-legend --plain", 60).output
    assert "systemd-sysctl" not in failed and "systemd-binfmt" not in failed, failed


def test_coverage_says_what_is_enforced(guest: Guest, applied: Applied) -> None:
    coverage = applied.coverage(HELPERS)
    assert coverage["open"] == coverage["pseudo-mount"] == coverage["mount-option"] == "enforced"
    assert coverage["behind-knob"] == coverage["knob-request"] == "open"
    assert applied.state(HELPERS).startswith("enforced")
