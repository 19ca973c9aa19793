"""What the documents say exists: files they link to, commands and options they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

import click
import pytest

from nbspd.cli.nbsp import create
from nbspd.cli.nbspd import parser
from nbspd.rules.compile import compile_rules
from nbspd.rules.load import Source, parse_sources

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
CODE = re.compile(r"`([^`\n]+)`|^    (?:\$ |# )?(.+)$|^(?:\$ |# |sudo )(.+)$", re.MULTILINE)


def named(path: Path) -> str:
    """Return a document's name for the test's id."""
    return path.relative_to(ROOT).as_posix()


def commands(text: str, program: str) -> Iterator[list[str]]:
    """Yield the words after each mention of a command in code."""
    for match in CODE.finditer(text):
        code = next(group for group in match.groups() if group)
        for found in re.finditer(rf"(?:^|[\s;|&])(?:sudo )?{program}((?: [^\s;|&`]+)+)", code):
            yield found[1].split()


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text()) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_verbs_and_their_options_exist(path: Path) -> None:
    group = create()
    context = click.Context(group)
    for words in commands(path.read_text(), "nbsp"):
        verb = words[0].strip("[],.:")
        if not re.fullmatch(r"[a-z-]+", verb):
            continue
        command = group.get_command(context, verb)
        assert command is not None, f"{named(path)} shows nbsp {verb}"
        known = {option for each in command.params for option in each.opts} | {"--help"}
        wanted = {word.strip("[],.:") for word in words if word.strip("[").startswith("--")}
        assert wanted <= known, f"{named(path)} shows {' '.join(words)}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_options_of_the_daemon_exist(path: Path) -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    for words in commands(path.read_text(), "nbspd"):
        wanted = {word.strip("[],.:") for word in words if word.strip("[").startswith("--")}
        assert wanted <= known, f"{named(path)} shows nbspd {' '.join(words)}"


def test_every_verb_is_in_the_readme() -> None:
    group = create()
    assert [verb for verb in group.list_commands(click.Context(group)) if f"`nbsp {verb}" not in README] == []


def test_make_targets_in_the_readme_exist() -> None:
    makefiles = (ROOT / "Makefile").read_text() + (ROOT / "packaging.mk").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefiles, re.MULTILINE))
    shown = {words[0] for words in commands(README, "make")}
    assert shown and shown <= targets


def test_rules_in_the_readme_are_rules() -> None:
    found = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert found
    for number, text in enumerate(found):
        compile_rules(parse_sources([Source(f"README.md:{number}", text)]))


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs/decisions"
    listed = LINK.findall((folder / "README.md").read_text())
    assert listed == [path.name for path in sorted(folder.glob("0*.md"))]


def test_every_example_is_in_the_readme() -> None:
    assert [path.name for path in sorted((ROOT / "rules").glob("*.yaml")) if f"rules/{path.name}" not in README] == []
