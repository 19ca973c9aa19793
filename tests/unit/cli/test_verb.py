from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from nbspd.cli.nbsp import VERBS, create
from nbspd.cli.verb import Duration, Moment

from .running import Runner

ROOT = Path(__file__).parents[3]
NOW = ("doctor", "check", "reload", "confirm", "rollback", "status", "coverage", "journal", "explain", "lineage",
       "audit", "drill", "maintain", "detach", "completion")


def every_command() -> list[tuple[str, ...]]:
    return [(name,) for name in VERBS] + [("journal", "verify")]


def test_the_verbs_are_these() -> None:
    assert tuple(VERBS) == NOW


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_verb_has_help_with_an_example_and_json(words: tuple[str, ...], nbsp: Runner) -> None:
    done = nbsp(*words, "--help")
    assert done.code == 0
    assert "Example:\n    " in done.out and "--json" in done.out and "nbsp " + words[0] in done.out


def test_help_names_every_verb(nbsp: Runner) -> None:
    done = nbsp("--help")
    assert done.code == 0 and all(f"  {name}" in done.out for name in NOW)


def test_no_verb_is_a_usage_error(nbsp: Runner) -> None:
    done = nbsp()
    assert done.code == 2 and done.out == "" and "Verbs" in done.err


@pytest.mark.parametrize("words", [("nonsense",), ("--nonsense",), ("check", "--nonsense"), ("lineage", "x"),
                                   ("completion", "tcsh"), ("detach",), ("status", "--wait", "soon"), ("audit", "now")])
def test_usage_errors(words: tuple[str, ...], nbsp: Runner) -> None:
    done = nbsp(*words)
    assert done.code == 2 and done.out == "" and "--help" in done.err
    done = nbsp(*words, "--json")
    assert done.code == 2 and done.err == "" and set(done.json) == {"error"}


def test_version(nbsp: Runner) -> None:
    assert nbsp("--version").out.startswith("nbsp ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, nbsp: Runner) -> None:
    done = nbsp("completion", shell)
    assert done.code == 0 and "_NBSP_COMPLETE" in done.out
    assert nbsp("completion", shell, "--json").json == {"shell": shell, "script": done.out[:-1]}


@pytest.mark.parametrize("text, seconds", [
    ("60", 60), ("60s", 60), ("5m", 300), ("1.5h", 5400), ("2d", 172800), (7, 7)])
def test_duration(text: object, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 parsecs", "s"])
def test_wrong_duration(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_moment() -> None:
    assert Moment().convert("@1795363200", None, None) == 1795363200
    assert Moment().convert("2026-11-22T16:00+00:00", None, None) == 1795363200
    assert abs(Moment().convert("2h", None, None) - (time.time() - 7200)) < 5
    with pytest.raises(click.BadParameter):
        Moment().convert("yesterday", None, None)


def test_help_imports_nothing_heavy() -> None:
    script = ("import sys; sys.path.insert(0, '.'); import tests.conftest\n"
              "from nbspd.cli import nbsp, nbspd\n"
              "sys.argv = ['nbsp', '--help']; nbsp.main()\n"
              "print([m for m in sys.modules"
              "       if m.split('.')[0] in ('bcc', 'yaml', 'pyroute2', 'psutil', 'rich', 'sqlite3')"
              "       or m.split('.')[1:2] and m.split('.')[:1] == ['nbspd']"
              "       and m.split('.')[1] not in ('cli', 'errors', 'paths')])")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_daemon_does_not_import_click() -> None:
    script = ("import sys; sys.path.insert(0, '.'); import tests.conftest\n"
              "from nbspd.cli import nbspd\nprint('click' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("place", ["daemon", "docs", "rules", "systemd", "debian", "bench", "tests/demo", "README.md"])
def test_no_text_sends_anybody_to_a_verb_that_does_not_exist(place: str) -> None:
    prose = {"and", "import", "shares", "usr", "with"}      # what else follows the name in our texts
    path = ROOT / place
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    texts = {each: each.read_text() for each in files if "__pycache__" not in each.parts}
    assert any("nbsp" in text for text in texts.values())
    told = {f"{each.relative_to(ROOT)}: nbsp {word}" for each, text in texts.items()
            for word in re.findall(r"\bnbsp(?:\\fR)? ([a-z]+)", text) if word not in prose and word not in VERBS}
    assert told == set()


def test_every_verb_is_in_the_manual() -> None:
    manual = (ROOT / "docs/man/nbsp.1").read_text()
    for name, command in ((name, create().get_command(None, name)) for name in VERBS):  # type: ignore[arg-type]
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0].replace("-", "\\-") in manual, (name, option.opts)
