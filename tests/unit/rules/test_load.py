"""Folders and files, several files together, and the order of problems."""

import os
from pathlib import Path

import pytest

from nbspd.errors import Problem, RulesError
from nbspd.rules.load import load_directory, load_rules, parse_sources

from .texts import HEAD, parsed, problems

DATABASE = "version: 1\nresources:\n  db: {tcp: ['127.0.0.1:5432']}\n"


def folder_problems(folder: Path) -> list[Problem]:
    with pytest.raises(RulesError) as caught:
        load_rules(folder)
    return list(caught.value.problems)


def test_an_empty_folder_is_an_empty_rule_set(tmp_path: Path) -> None:
    rules = load_rules(tmp_path)
    assert (rules.rules, dict(rules.resources)) == ((), {})


def test_files_are_read_in_name_order_and_joined(tmp_path: Path) -> None:
    (tmp_path / "20.yaml").write_text("version: 1\nrules:\n  - {id: b, protect: db, only-through: [pooler]}\n")
    (tmp_path / "10.yaml").write_text("version: 1\nrules:\n  - {id: c, protect: db, only-through: [pooler]}\n")
    (tmp_path / "30.yaml").write_bytes(b"\xef\xbb\xbf" + HEAD.encode())     # a byte order mark
    (tmp_path / "40.yaml").write_text(DATABASE)
    (tmp_path / ".hidden.yaml").write_text("{")
    (tmp_path / "README").write_text("{")
    (tmp_path / "50.yaml.bak").write_text("{")
    assert [source.name for source in load_directory(tmp_path)] == [f"{tmp_path}/{name}0.yaml" for name in "1234"]
    assert [rule.id for rule in load_rules(tmp_path).rules] == ["c", "b"]


def test_one_file_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(HEAD)
    assert sorted(load_rules(tmp_path / "x.yaml").checkpoints) == ["agent", "pooler", "sudo"]


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    [problem] = folder_problems(tmp_path / "rules.d")
    assert str(problem) == (f"{tmp_path}/rules.d: the rule directory does not exist; "
                            f"create it: mkdir -p {tmp_path}/rules.d")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(RulesError) as caught:
        parse_sources(load_directory(tmp_path / "x"))
    assert "not a directory" in str(caught.value.problems[0])


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "cannot be read: Permission denied" in str(folder_problems(tmp_path)[0])


def test_every_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.yaml").symlink_to("1.yaml")
    (tmp_path / "2.yaml").symlink_to("nowhere")
    (tmp_path / "3.yaml").mkdir()
    (tmp_path / "4.yaml").write_bytes(b"version: 1\n# \xff\n")
    (tmp_path / "5.yml").write_text("version: 1\n")
    (tmp_path / "6.yaml").write_text("version: 1\nrule: []\n")
    with (tmp_path / "7.yaml").open("wb") as file:
        file.truncate((64 << 20) + 1)
    (tmp_path / "8.yaml").write_text("version: 1\n")
    read_bytes = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self.name == "8.yaml":
            raise PermissionError(13, "Permission denied")
        return read_bytes(self)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    found = [str(problem).removeprefix(f"{tmp_path}/") for problem in folder_problems(tmp_path)]
    assert [one.partition(";")[0] for one in sorted(found)] == [
        "1.yaml: the file cannot be read: Too many levels of symbolic links",
        "2.yaml: the file cannot be read: No such file or directory",
        "3.yaml: this is not a regular file",
        "4.yaml:2:3: the file is not UTF-8",
        "5.yml: only files ending in .yaml are read",
        "6.yaml:2:1: unknown key 'rule' at the top of the file",
        "7.yaml: the file is larger than 64 MiB",
        "8.yaml: the file cannot be read: Permission denied",
    ]


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.yaml")
    assert "not a regular file" in str(folder_problems(tmp_path)[0])


@pytest.mark.parametrize("section, kind", [
    ("checkpoints:\n  x: {exe: /usr/bin/x}", "checkpoint"),
    ("resources:\n  x: {files: [/srv/x]}", "resource"),
])
def test_a_name_declared_twice_points_to_both_places(section: str, kind: str) -> None:
    text = f"version: 1\n{section}\n"
    assert problems(text, text) == [
        f"b.yaml:3:3: the {kind} 'x' is declared twice; rename one; the first is at a.yaml:3:3"]
    assert problems(text + section.splitlines()[1] + "\n") == [
        f"a.yaml:4:3: the {kind} 'x' is declared twice; rename one; the first is at a.yaml:3:3"]


def test_an_id_used_twice_points_to_both_places() -> None:
    text = "version: 1\nrules:\n  - {id: x, protect: db, only-through: [pooler]}\n"
    assert problems(HEAD, DATABASE, text, text) == [
        "d.yaml:3:10: the rule 'x' is declared twice; rename one; the first is at c.yaml:3:10"]


def test_problems_are_in_the_order_of_files_and_lines() -> None:
    lines = "\n".join(f"  x{index}: {{}}" for index in range(12))
    found = problems(f"version: 1\nresources:\n{lines}\n", "version: 3\nrule: []\n", "version: 3\n")
    assert [one.split(" ")[0] for one in found] == [
        *(f"a.yaml:{line}:3:" for line in range(3, 15)), "b.yaml:1:10:", "b.yaml:2:1:", "c.yaml:1:10:"]


def test_lint_speaks_in_the_same_run() -> None:
    found = problems(HEAD + "resources:\n  root: {trees: [/]}\n  x: {}\nrules:\n"
                     "  - {id: r, protect: root, only-through: [agent]}\n")
    assert [one.split(" ")[0] for one in found] == ["a.yaml:8:3:", "a.yaml:10:10:", "a.yaml:10:10:"]


def test_many_wrong_names_do_not_take_long() -> None:
    names = "\n".join(f"  - {{id: r{index}, protect: x{index}, only-through: []}}" for index in range(2000))
    resources = "\n".join(f"  y{index}: {{files: [/srv/{index}]}}" for index in range(2000))
    assert len(problems(f"version: 1\nresources:\n{resources}\nrules:\n{names}\n")) == 2000


def test_updaters_of_several_files_are_joined() -> None:
    assert parsed("version: 1\nupdaters: [/usr/bin/dpkg]", "version: 1\nupdaters: [/usr/bin/rpm, /usr/bin/dpkg]"
                  ).updaters == ("/usr/bin/dpkg", "/usr/bin/rpm")
