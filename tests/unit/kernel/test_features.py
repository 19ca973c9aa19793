"""Probes: three answers, each no with a remedy, and what decides them."""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from nbspd.kernel import bpf_load, btf, features, mounts


def test_all_answer_on_this_host() -> None:
    found = features.probe_all()
    assert [feature.name for feature in found] == list(features.PROBES)
    for feature in found:
        assert feature.state in ("yes", "no", "unknown") and feature.reason
        assert feature.state != "no" or feature.remedy, feature


@pytest.mark.parametrize("release, version", [("6.12.107-amd64", (6, 12)), ("5.15", (5, 15)), ("nonsense", (0, 0))])
def test_release(release: str, version: tuple[int, int]) -> None:
    assert features.kernel_version(release) == version


@pytest.mark.parametrize("release, state", [("5.14.21", "no"), ("5.15.0", "yes"), ("5.9.1", "no"), ("7.2.13", "yes")])
def test_oldest_kernel(monkeypatch: pytest.MonkeyPatch, release: str, state: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "h", release, "v", "x86_64")))
    assert features.probe("kernel").state == state


def test_missing_capability_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "effective_capabilities", lambda: 0x1FFFFFFFFFF & ~(1 << 39))
    found = features.probe("root")
    assert found.state == "no" and "CAP_BPF" in found.reason and "CAP_SYS_ADMIN" not in found.reason


def test_no_btf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(btf, "is_readable", lambda: False)
    assert features.probe("btf").state == "no"


@pytest.mark.parametrize("active, state", [(("apparmor", "bpf"), "yes"), (("capability", "apparmor"), "no"),
                                           (None, "unknown")])
def test_active_modules(monkeypatch: pytest.MonkeyPatch, active: tuple[str, ...] | None, state: str) -> None:
    monkeypatch.setattr(features, "active_lsms", lambda: active)
    found = features.probe("lsm")
    assert found.state == state
    if state == "no":
        assert "lsm=apparmor,bpf" in found.remedy


def test_modules_from_securityfs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lsm").write_text("lockdown,capability,bpf")
    monkeypatch.setattr(features, "SECURITYFS", tmp_path)
    assert features.active_lsms() == ("lockdown", "capability", "bpf")


@pytest.mark.parametrize("text, state", [("[none] integrity confidentiality", "yes"),
                                         ("none [integrity] confidentiality", "yes"),
                                         ("none integrity [confidentiality]", "no")])
def test_lockdown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, state: str) -> None:
    (tmp_path / "lockdown").write_text(text)
    monkeypatch.setattr(features, "SECURITYFS", tmp_path)
    assert features.probe("lockdown").state == state


def test_lockdown_cannot_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(features, "SECURITYFS", tmp_path)
    monkeypatch.setattr(features, "active_lsms", lambda: None)
    assert features.probe("lockdown").state == "unknown"


def test_another_bcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: ModuleSpec(name, None, origin=str(tmp_path / "__init__.py")))
    assert "another project" in features.probe("bcc").reason
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "python3-bpfcc" in features.probe("bcc").remedy


def test_bpffs_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mounts, "BPFFS", tmp_path)
    found = features.probe("bpffs")
    assert found.state == "no" and "mount -t bpf" in found.remedy


def test_a_probe_that_fails_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> features.Answer:
        raise OSError(5, "input/output error")
    monkeypatch.setitem(features.PROBES, "jit", fail)
    found = features.probe("jit")
    assert found.state == "unknown" and "input/output error" in found.reason


def test_refused_program_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(1, "Operation not permitted")
    monkeypatch.setattr(bpf_load, "prog_load", refuse)
    found = features.probe("fmod_ret_program")
    assert found.state == "no" and "Operation not permitted" in found.reason and found.remedy
