from __future__ import annotations

import sys
from typing import Iterator

import pytest

from nbspd.cli.table import clean, facts, has_colour, paint, table


@pytest.fixture(autouse=True)
def fresh_colour() -> Iterator[None]:
    has_colour.cache_clear()
    yield
    has_colour.cache_clear()


def test_columns_are_aligned() -> None:
    assert table(("name", "hits"), [("a", 7), ("longer", 1234)], right=(1,)).splitlines() == [
        "name    hits", "a          7", "longer  1234"]


def test_no_rows_leave_the_headers() -> None:
    assert table(("a", "b"), []) == "a  b"


def test_none_is_blank() -> None:
    assert table(("a", "b"), [(None, "x")]) == "a  b\n   x"


@pytest.mark.parametrize("text, shown", [
    ("plain", "plain"), ("Straße", "Straße"), ("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb", "a\\nb"),
    ("\u202eevil", "\\u202eevil"),
    ("\udcff", "\\udcff"), ("", "")])
def test_clean(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_facts_leave_out_what_is_empty() -> None:
    assert facts([("tier", "lsm"), ("generation", 3), ("trouble", "")]) == "tier        lsm\ngeneration  3"


def test_no_colour_into_a_pipe() -> None:
    assert paint("open", "open") == "open"


@pytest.mark.parametrize("environment, is_coloured", [
    ({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)])
def test_colour_on_a_terminal(environment: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert (paint("open", "open") == "\x1b[31mopen\x1b[0m") == is_coloured
    assert paint("something", "something") == "something"
