"""Units and their cgroups, with a systemctl that is a script."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nbspd.programs import units

ANSWER = """Id=a.service
LoadState=loaded
Slice=system.slice
ControlGroup=/system.slice/a.service

Id=b.service
LoadState=loaded
Slice=system-x.slice
ControlGroup=

Id=c.service
LoadState=not-found
Slice=
ControlGroup=
"""


@pytest.mark.parametrize("name, path", [
    ("", ""), ("-.slice", ""), ("system.slice", "/system.slice"), ("a-b.slice", "/a.slice/a-b.slice"),
    ("user-1000-x.slice", "/user.slice/user-1000.slice/user-1000-x.slice")])
def test_slices(name: str, path: str) -> None:
    assert units.slice_path(name) == path


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "systemctl"


def answer(script: Path, text: str) -> None:
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


def test_running_stopped_and_unknown(systemctl: Path) -> None:
    answer(systemctl, f"cat <<'END'\n{ANSWER}END")
    assert units.unit_cgroups(["a.service", "b.service", "c.service"]) == (
        {"a.service": "/system.slice/a.service", "b.service": "/system.slice/system-x.slice/b.service"},
        {"c.service": "systemd says not-found"})


def test_no_unit_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    assert units.unit_cgroups([]) == ({}, {})


def test_a_systemctl_that_fails_or_hangs_or_is_missing(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(systemctl, "echo 'System has not been booted with systemd' >&2; exit 1")
    assert units.unit_cgroups(["a.service"])[1] == {"a.service": "System has not been booted with systemd"}
    answer(systemctl, "exit 4")
    assert units.unit_cgroups(["a.service"])[1] == {"a.service": "systemctl exited with 4"}
    answer(systemctl, "exec sleep 20")
    monkeypatch.setattr(units, "TIMEOUT_S", 0.1)
    assert "timed out" in units.unit_cgroups(["a.service"])[1]["a.service"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert "systemctl" in units.unit_cgroups(["a.service"])[1]["a.service"]
