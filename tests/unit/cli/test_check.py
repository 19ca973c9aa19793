from __future__ import annotations

from pathlib import Path

from .running import Runner

GOOD = """\
version: 1
checkpoints: {pooler: {exe: /usr/sbin/pgbouncer}}
resources: {db: {tcp: ["127.0.0.1:5432"]}}
rules: [{id: a, protect: db, only-through: [pooler]}]
"""
BAD = "version: 1\nnonsense: 1\nrules:\n  - {id: a, protect: nothing, only-through: [nobody]}\n"


def test_a_good_folder(nbsp: Runner, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    done = nbsp("check", tmp_path)
    assert done.code == 0 and "1 rules" in done.out
    found = nbsp("check", "--json", tmp_path).json
    assert (found["files"], found["rules"], found["checkpoints"], found["resources"]) == (1, 1, 1, 1)


def test_an_empty_folder_is_good(nbsp: Runner, tmp_path: Path) -> None:
    assert nbsp("check", tmp_path).code == 0


def test_a_single_file(nbsp: Runner, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    assert nbsp("check", tmp_path / "a.yaml").code == 0


def test_every_problem_with_its_place(nbsp: Runner, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(BAD)
    done = nbsp("check", tmp_path)
    assert done.code == 1 and done.out == ""
    line = BAD.splitlines()[3]
    for place in ("2:1", f"4:{line.index('nothing') + 1}", f"4:{line.index('nobody') + 1}"):
        assert f"{file}:{place}: " in done.err
    assert len(nbsp("check", "--json", tmp_path).json["error"]["problems"]) == 3


def test_paths_are_one_set(nbsp: Runner, tmp_path: Path) -> None:
    lines = GOOD.splitlines()
    (tmp_path / "a.yaml").write_text("\n".join(lines[:3]))
    (tmp_path / "b.yaml").write_text("\n".join((lines[0], lines[3])))
    assert nbsp("check", tmp_path / "a.yaml", tmp_path / "b.yaml").code == 0
    assert nbsp("check", tmp_path / "b.yaml").code == 1


def test_a_folder_that_does_not_exist(nbsp: Runner, tmp_path: Path) -> None:
    done = nbsp("check", tmp_path / "absent")
    assert done.code == 1 and "does not exist" in done.err


def test_what_is_probably_not_meant_is_shown_and_no_failure(nbsp: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    text = GOOD.replace("{db: {tcp: [\"127.0.0.1:5432\"]}}",
                        f"{{db: {{files: [{folder}/key, {folder}/other], unix: [{folder}/sock, \"@x\"]}},\n  "
                        f"spare: {{files: [{tmp_path}/later]}}}}")
    (tmp_path / "a.yaml").write_text(text)
    done = nbsp("check", tmp_path)
    assert done.code == 0 and done.err == ""
    unused, absent = (line for line in done.out.splitlines() if line.startswith("! "))
    assert unused.startswith(f"! {tmp_path}/a.yaml:4:") and "no rule protects the resource 'spare'" in unused
    assert absent.startswith(f"! {tmp_path}/a.yaml:3:") and "make the directory first" in absent
    assert f"there is no directory {folder} on this host, so that {folder}/key and 2 more in it will not be" in absent
    found = nbsp("check", "--json", tmp_path).json["advice"]
    assert [set(each) for each in found] == [{"where", "what", "right"}] * 2
    folder.mkdir(parents=True)
    assert len(nbsp("check", "--json", tmp_path).json["advice"]) == 1
