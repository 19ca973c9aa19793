"""Bad input and trouble: for each item a one-line cause, a one-line remedy, and the active generation untouched.

    wrong YAML, unknown key, double id    here test_a_reload_is_refused; rules/test_parse.py, rules/test_nodes.py,
                                          rules/test_load.py; native/test_reload.py
    missing exe, script, sha256 mismatch  here test_a_reload_is_refused; programs/test_bind.py; native/test_reload.py
    unsupported file system               here test_a_reload_is_refused; programs/test_bind.py; native/test_trouble.py
    unknown user, unknown unit            here test_a_reload_is_refused; programs/test_bind.py, programs/test_units.py;
                                          native/test_reload.py, native/test_trouble.py
    257th checkpoint                      here test_a_reload_is_refused; rules/test_lint.py
    host bits, port 70000                 here test_a_reload_is_refused; rules/test_values.py; native/test_reload.py
    unreadable rule file                  here test_a_reload_is_refused; rules/test_load.py; native/test_trouble.py
    missing rule directory                here test_a_reload_is_refused; rules/test_load.py; cli/test_check.py;
                                          native/test_trouble.py; at start: service/test_start.py
    no root                               here test_a_start_is_refused; service/test_start.py; native/test_trouble.py
    no BTF, kernel below 5.15, no bcc     here test_a_start_is_refused; programs/test_loader.py;
                                          kernel/test_features.py, cli/test_doctor.py
    no bpffs                              here test_a_start_is_refused; kernel/test_mounts.py
    foreign file under our pin path       here test_a_start_is_refused; programs/test_loader.py; native/test_life.py,
                                          native/test_trouble.py
    second daemon                         here test_a_start_is_refused; service/test_start.py; native/test_life.py
"""

from __future__ import annotations

import importlib.util
import os
import signal
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Callable, Iterator, Mapping

import pytest

from nbspd.cli import nbspd
from nbspd.cli.errors import speak
from nbspd.errors import EXIT_TOLD, RulesError
from nbspd.instance import InstanceLock
from nbspd.kernel import btf, features, mounts
from nbspd.paths import Settings
from nbspd.programs import bind, units
from nbspd.programs.inspect import Inspector
from nbspd.rules.plan import Plan

from .fakes import Begin, FakeBound, FakeEnforcer, FakeNames
from .service.running import RULES, Running

Make = Callable[[Path], object]
BPFFS_READY = mounts.bpffs_ready


class BindingEnforcer(FakeEnforcer):
    """A fake kernel, but names are looked up on this host."""

    def bind(self, plan: Plan, numbers: Mapping[str, int]) -> FakeBound:
        found = bind.bind(plan, numbers, Inspector())
        return FakeBound(plan, FakeNames(found.names.rules))


class BeginBinding(Begin):
    def __call__(self, _settings: Settings) -> FakeEnforcer:
        self.made.append(BindingEnforcer(self.kernel, self.report))
        return self.made[-1]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(rules=tmp_path / "rules.d", state=tmp_path / "state", runtime=tmp_path / "run",
                     pins=tmp_path / "pins")
    for folder in (found.rules, found.state, found.runtime):
        folder.mkdir()
    (found.rules / "a.yaml").write_text(RULES)
    return found


# -- while it runs


@pytest.fixture
def running(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(bind, "unit_cgroups", lambda names: ({}, {name: "systemd says not-found" for name in names}))
    found = Running(settings, BeginBinding())
    yield found
    found.stop()


def wrote(text: str) -> Make:
    """Add a file to the rules."""
    return lambda folder: (folder / "b.yaml").write_text(text)


def checkpoint(fields: str) -> Make:
    return wrote(f"version: 1\ncheckpoints:\n  other: {{{fields}}}\n")


def resource(fields: str) -> Make:
    return wrote(f"version: 1\nresources:\n  other: {{{fields}}}\n"
                 "rules:\n  - {id: other, protect: other, only-through: [pooler]}\n")


def script(folder: Path) -> None:
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    checkpoint(f"exe: {folder}/script")(folder)


def proc(folder: Path) -> None:
    (folder.parent / "way").symlink_to("/proc/version")
    resource(f"devices: [{folder.parent}/way]")(folder)


def crowd(folder: Path) -> None:
    lines = "".join(f"  c{number}: {{exe: /usr/bin/x{number}}}\n" for number in range(256))
    wrote(f"version: 1\ncheckpoints:\n{lines}")(folder)


def remove(folder: Path) -> None:
    (folder / "a.yaml").unlink()
    folder.rmdir()


REFUSED: dict[str, tuple[Make, str]] = {
    "wrong YAML": (wrote("version: 1\nrules: [\n"), "b.yaml:"),
    "unknown key": (wrote("version: 1\nrulez: []\n"), "b.yaml:2:1: unknown key 'rulez'"),
    "duplicate id": (wrote("version: 1\nrules:\n  - {id: db-through-pooler, protect: db, only-through: []}\n"),
                     "db-through-pooler"),
    "missing exe": (checkpoint("exe: /nowhere/program"), "there is no /nowhere/program"),
    "script": (script, "is a script; the kernel runs /bin/sh"),
    "sha256": (checkpoint(f"exe: /usr/bin/true, sha256: {'0' * 64}"), "not the declared one"),
    "file system": (proc, "is on proc, whose files nbspd cannot protect"),
    "user": (checkpoint("exe: /usr/bin/true, user: nobody-at-all"), "there is no user nobody-at-all"),
    "unit": (checkpoint("exe: /usr/bin/true, unit: nbspd-test.service"), "there is no unit nbspd-test.service"),
    "257th checkpoint": (crowd, "257 checkpoints"),
    "host bits": (resource("tcp: ['10.0.0.1/8:5432']"), "host bits"),
    "port": (resource("tcp: ['10.0.0.1:70000']"), "port 70000"),
    "unreadable file": (lambda folder: (folder / "b.yaml").symlink_to("nowhere"), "the file cannot be read"),
    "missing directory": (remove, "the rule directory does not exist"),
}


@pytest.mark.parametrize("item", REFUSED)
def test_a_reload_is_refused(running: Running, item: str) -> None:
    make, words = REFUSED[item]
    make(running.settings.rules)
    with pytest.raises(RulesError) as caught:
        running.ask("reload")
    error = caught.value
    assert error.cause and error.remedy and "\n" not in error.cause + error.remedy
    assert error.exit_code == EXIT_TOLD and error.problems
    for problem in error.problems:
        assert problem.where and problem.what and problem.right, problem
        assert "\n" not in str(problem)
    assert any(words in str(problem) for problem in error.problems), [str(one) for one in error.problems]
    status = running.ask("status")
    assert status["generation"] == running.begin.kernel.generation == 1 and running.enforcer.applied == [1]
    assert [rule["id"] for rule in status["rules"]] == ["db-through-pooler"]


def test_the_unit_is_asked_of_systemd() -> None:
    _, unknown = units.unit_cgroups(["nbspd-test-nothing.service"])
    assert "\n" not in unknown["nbspd-test-nothing.service"]


# -- at start


def old_kernel(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    host = os.uname()
    patch.setattr(os, "uname", lambda: os.uname_result((*host[:2], "5.10.0-30-amd64", *host[3:])))


def no_bcc(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    find: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    patch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "bcc" else find(name, *rest))


def no_bpffs(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mounts, "bpffs_ready", lambda path, mount: BPFFS_READY(Path("/nowhere/at/all/pins"), mount))


def foreign_file(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    settings.pins.rename(settings.pins.with_name("moved"))
    settings.pins.write_text("somebody's")


class SecondDaemon:
    """Another daemon holds the lock as long as this lives."""

    def __call__(self, settings: Settings, patch: pytest.MonkeyPatch) -> None:
        self.lock = InstanceLock(settings.runtime / "nbspd.lock")


AT_START: dict[str, tuple[Callable[[Settings, pytest.MonkeyPatch], None], str, str]] = {
    "no root": (lambda settings, patch: patch.setattr(os, "geteuid", lambda: 1000), "must run as root", "sudo"),
    "no capability": (lambda settings, patch: patch.setattr(features, "effective_capabilities", lambda: 0),
                      "CAP_BPF not held", "run it as root"),
    "no BTF": (lambda settings, patch: patch.setattr(btf, "is_readable", lambda: False),
               "/sys/kernel/btf/vmlinux cannot be read", "CONFIG_DEBUG_INFO_BTF=y"),
    "no bpffs": (no_bpffs, "cannot mount bpffs on", "mount -t bpf"),
    "old kernel": (old_kernel, "kernel 5.10.0-30-amd64 is older than 5.15", "boot a kernel of version 5.15 or newer"),
    "no bcc": (no_bcc, "this Python has no module bcc", "apt install python3-bpfcc"),
    "foreign file": (foreign_file, "cannot pin below", "see what is there"),
    "second daemon": (SecondDaemon(), f"another nbspd is running (pid {os.getpid()})", "systemctl status nbspd"),
}


def able(patch: pytest.MonkeyPatch) -> None:
    """A host that has everything, whoever runs the tests; nothing is mounted."""
    patch.setattr(os, "geteuid", lambda: 0)
    patch.setattr(features, "effective_capabilities", lambda: (1 << 64) - 1)
    patch.setattr(mounts, "bpffs_ready", lambda path, mount: True)
    patch.setattr(features, "active_lsms", lambda: ("capability", "bpf"))
    patch.setattr(features, "SECURITYFS", Path("/nowhere"))


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("item", AT_START)
def test_a_start_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                            item: str) -> None:
    able(monkeypatch)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    active = settings.pins / "links-0123456789abcdef-1" / "file_open"       # of an older daemon: they enforce
    active.parent.mkdir(parents=True)
    active.write_text("a link")
    before = tree(settings.pins)
    handler = signal.getsignal(signal.SIGTERM)
    make, cause, remedy = AT_START[item]
    make(settings, monkeypatch)
    assert speak("nbspd", lambda: nbspd.run(settings), is_logged=True) == EXIT_TOLD
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("nbspd: ") and cause in first
    assert second.startswith("  remedy: ") and remedy in second
    kept = settings.pins if settings.pins.is_dir() else settings.pins.with_name("moved")
    assert tree(kept) == before
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not settings.control_socket.exists()
