"""YAML that is not, or that wants more than rules need: always a problem with a position, never a crash."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nbspd.errors import RulesError
from nbspd.rules import nodes

from .texts import parsed, problems

DATA = Path(__file__).resolve().parents[2] / "data" / "rules"


@pytest.mark.parametrize("text, where, what, right", [
    ("version: 1\nrules: [", "a.yaml:3:1", "this is not YAML", "check the indentation"),
    ("version: 1\nrules:\n\t- id: x", "a.yaml:3:1", "this is not YAML", "indent with spaces"),
    ("version: 1\nx: 'y", "a.yaml:2:6", "this is not YAML", "check"),
    ("version: 1\nx: \x01", "a.yaml:2:4", "control characters", "take the character out"),
    ("ä: 1\nx: \x01", "a.yaml:2:4", "control characters", "take the character out"),
    ("version: 1\n---\nversion: 1", "a.yaml:2:1", "a second document", "a file of its own"),
    ("- version: 1", "a.yaml:1:1", "not a mapping", "start with version: 1"),
    ("version", "a.yaml:1:1", "not a mapping", "start with version: 1"),
    ("version: 1\nx: !!python/object/apply:os.system [id]", "a.yaml:2:4", "the tag !!python/object/apply:os.system",
     "leave the tag out"),
    ("version: !!int 1", "a.yaml:1:10", "the tag !!int", "leave the tag out"),
    ("version: 1\nresources: !mine {}", "a.yaml:2:12", "the tag !mine", "leave the tag out"),
    ("!mine {version: 1}", "a.yaml:1:1", "the tag !mine", "leave the tag out"),
    ("version: 1\nresources: *x", "a.yaml:2:12", "*x stands for nothing", "write &x"),
    ("version: 1\nresources: &x {a: *x}", "a.yaml:2:19", "*x stands for nothing", "write &x"),
    ("version: 1\nresources: {a: " + "[" * 20 + "]" * 20 + "}", "a.yaml:2:26", "nested too deeply", "four levels"),
])
def test_text_that_is_refused(text: str, where: str, what: str, right: str) -> None:
    found = problems(text)
    assert found[0].startswith(f"{where}: ") and what in found[0] and right in found[0]


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "{a: "])
def test_the_depth_of_nesting_cannot_end_the_process(opening: str) -> None:
    assert problems("version: 1\nresources:\n  " + opening * 50_000)


def test_aliases_cannot_make_a_file_explode() -> None:
    lines = ["version: 1", "updaters: []", "resources:", "  a0: &a0 {files: [" + ", ".join(["/x"] * 100) + "]}"]
    lines += [f"  a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 100) + "]" for level in range(1, 9)]
    found = problems("\n".join(lines))
    assert any("longer than 8,000,000 values" in one for one in found)


def test_a_bad_entry_does_not_hide_those_before_it() -> None:
    found = problems("version: 1\nresources:\n  x: {}\nrules: [")
    assert ["resource 'x' is empty" in found[0], "not YAML" in found[1]] == [True, True]


@given(st.text(alphabet=st.sampled_from("abvr:1 -\n[]{}&*!|>'\"#?%@`,\t\\x0~/"), max_size=80))
def test_any_text_is_rules_or_problems(text: str) -> None:
    try:
        parsed(text)
    except RulesError as error:
        assert all(problem.where.startswith("a.yaml:") for problem in error.problems)


@given(st.recursive(
    st.sampled_from(["x", "/srv/x", "version", "1", "~", "[::1]:1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["version", "checkpoints", "resources", "rules", "exe", "files", "id", "protect", "tcp", "x"]),
        inner, max_size=4), max_leaves=12))
def test_any_shape_is_rules_or_problems(shape: object) -> None:
    try:
        parsed(repr(shape))     # nearly YAML's flow style
    except RulesError as error:
        assert error.problems


@pytest.mark.parametrize("text", ["", "~", "# nothing", "---", "--- ~\n...\n"])
def test_a_file_with_nothing_in_it(text: str) -> None:
    assert problems(text) == ["a.yaml:1:1: the file has no version; start with version: 1"]


def test_without_libyaml_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [path.read_text() for path in sorted(DATA.rglob("*.yaml"))]
    with_libyaml = [problems(text) for text in texts]
    monkeypatch.setattr(nodes, "EventParser", yaml.BaseLoader)
    assert [problems(text) for text in texts] == with_libyaml
    for text in ("version: 1\nrules: [", "a: \x01", "[" * 500):
        assert "a.yaml:" in problems(text)[0]


def test_sections_are_streamed() -> None:
    items = nodes.read_items("version: 1\nresources:\n  a: {files: [/x]}\n  b: [\n")
    assert [next(items).is_head for _ in range(3)] == [True, True, False]
