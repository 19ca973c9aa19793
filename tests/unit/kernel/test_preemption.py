"""Whether a kernel takes the processor away from a process inside one of our programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbspd.kernel import features, preemption
from nbspd.kernel.preemption import is_preempted

DYNAMIC = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.107-1 (2026-10-01)"


@pytest.mark.parametrize("version, mode, expected", [
    ("#1 SMP Debian 5.15", "", False), (DYNAMIC, "none (voluntary) full lazy\n", False),
    (DYNAMIC, "(none) voluntary full\n", False), (DYNAMIC, "none voluntary (full)\n", True),
    (DYNAMIC, "full (lazy)\n", True), (DYNAMIC, "", None), (DYNAMIC, "a new word\n", None),
    ("#1 SMP PREEMPT_RT Debian", "", True), ("#1 SMP PREEMPT Debian", "", True), ("#1 SMP PREEMPT_LAZY", "", True)])
def test_what_the_kernel_says(version: str, mode: str, expected: bool | None) -> None:
    assert is_preempted(version, mode) is expected


def test_the_mode_is_read_from_debugfs_where_it_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sched").mkdir()
    (tmp_path / "sched/preempt").write_text("full (lazy)\n")
    monkeypatch.setattr(preemption, "DEBUGFS", tmp_path)
    assert preemption.read_mode() == "full (lazy)\n"


def test_a_debugfs_of_our_own_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preemption, "DEBUGFS", tmp_path / "not-there")
    fds, mounts = os.listdir("/proc/self/fd"), Path("/proc/self/mounts").read_text()
    mode = preemption.read_mode()       # "" where this kernel or this user has none
    assert mode == "" or "(" in mode
    assert len(os.listdir("/proc/self/fd")) == len(fds) and Path("/proc/self/mounts").read_text() == mounts


@pytest.mark.parametrize("state, lsms, expected", [
    (False, ("apparmor",), "yes"), (True, ("apparmor", "bpf"), "yes"), (True, ("apparmor",), "no"), (True, None, "no"),
    (None, ("bpf",), "unknown")])
def test_the_doctors_word(state: bool | None, lsms: tuple[str, ...] | None, expected: str,
                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preemption, "is_preempted", lambda: state)
    monkeypatch.setattr(features, "active_lsms", lambda: lsms)
    found = features.probe("preemption")
    assert found.state == expected and (expected == "yes") == (not found.remedy)
