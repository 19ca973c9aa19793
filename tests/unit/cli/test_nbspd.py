from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nbspd.cli import nbspd
from nbspd.errors import HostError
from nbspd.paths import Settings


def test_defaults() -> None:
    assert nbspd.read_settings([]) == (Settings(), False)


def test_all_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, is_debug = nbspd.read_settings(
        ["--rules", "r", "--state=s", "--runtime", "/run/x", "--cgroup", "c", "--pins", "p", "--tier", "socket",
         "--debug"])
    assert settings == Settings(
        tmp_path / "r", tmp_path / "s", Path("/run/x"), tmp_path / "p", tmp_path / "c", "socket")
    assert is_debug


@pytest.mark.parametrize("arguments", [["--tier", "magic"], ["--rule", "x"], ["--rules"], ["word"]])
def test_usage_errors(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        nbspd.read_settings(arguments)
    assert error.value.code == 2


def test_what_the_service_raises_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(settings: Settings) -> int:
        raise HostError("no BTF here", "boot another kernel")
    monkeypatch.setattr(sys, "argv", ["nbspd"])
    monkeypatch.setattr(nbspd, "run", refuse)
    assert nbspd.main() == 1
    assert "no BTF here" in capsys.readouterr().err


def test_the_exit_code_is_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["nbspd"])
    monkeypatch.setattr(nbspd, "run", lambda settings: 0)
    assert nbspd.main() == 0


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        nbspd.read_settings(["--help"])
    assert done.value.code == 0 and "Example:" in capsys.readouterr().out


def test_a_bug_goes_to_the_log_with_its_traceback(monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    def fail(settings: Settings) -> int:
        raise KeyError("x")
    monkeypatch.setattr(sys, "argv", ["nbspd"])
    monkeypatch.setattr(nbspd, "run", fail)
    assert nbspd.main() == 3
    err = capsys.readouterr().err
    assert "Traceback" in err and "this is a bug of ours: KeyError" in err
