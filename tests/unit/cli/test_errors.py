"""Each kind of failure has its exit code, one line of cause and one of remedy, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, NoReturn

import pytest

from nbspd.cli.errors import speak
from nbspd.errors import (ControlError, HostError, JournalError, LoadError, NbspdError, Problem, RulesError,
                          UsageError)

CODES = [(NbspdError("a", "b"), 1), (UsageError("a", "b"), 2), (HostError("a", "b"), 1), (LoadError("a", "b"), 1),
         (ControlError("a", "b"), 1), (JournalError("a", "b"), 1), (RulesError([Problem("f:1:2", "w", "r")]), 1),
         (KeyError("x"), 3), (KeyboardInterrupt(), 1), (BrokenPipeError(), 0)]


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def run() -> NoReturn:
        raise error
    return run


@pytest.mark.parametrize("error, code", CODES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("is_json", [False, True])
def test_exit_codes(error: BaseException, code: int, is_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert speak("nbsp", raising(error), is_json) == code


def test_success_passes_the_code_through() -> None:
    assert speak("nbsp", lambda: 1) == 1


def test_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    speak("nbsp", raising(ControlError("nobody listens", "systemctl start nbspd")))
    assert capsys.readouterr() == ("", "nbsp: nobody listens\n  remedy: systemctl start nbspd\n")


def test_words_for_the_journal_of_systemd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    speak("nbspd", raising(HostError("no BTF", "boot another kernel")))
    assert capsys.readouterr().err == "<3>nbspd: no BTF\n<3>  remedy: boot another kernel\n"


def test_problems_are_all_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    speak("nbsp", raising(RulesError([Problem("a.yaml:1:2", "bad", "good"), Problem("b.yaml", "worse")])))
    assert capsys.readouterr().err.splitlines()[:2] == ["a.yaml:1:2: bad; good", "b.yaml: worse"]


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    speak("nbsp", raising(RulesError([Problem("a.yaml:1:2", "bad", "good")])), is_json=True)
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["error"]["problems"] == [{"where": "a.yaml:1:2", "what": "bad", "right": "good"}]


def test_a_bug_leaves_its_traceback_in_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert speak("nbsp", raising(KeyError("x"))) == 3
    (file,) = tmp_path.iterdir()
    assert str(file) in capsys.readouterr().err
    assert "Traceback" in file.read_text() and file.stat().st_mode & 0o077 == 0


def test_a_bug_where_no_file_can_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    assert speak("nbsp", raising(KeyError("x"))) == 3
    assert "--debug" in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    speak("nbsp", raising(KeyError("x")), is_debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_a_terminal_is_not_steered_by_names(capsys: pytest.CaptureFixture[str]) -> None:
    speak("nbsp", raising(NbspdError("file \x1b[31mred\n")))
    assert "\x1b" not in capsys.readouterr().err
