"""Compiled programs on disk: what was put in comes out, and nothing comes out of a file that anybody touched."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Callable

import pytest

from nbspd.programs import compiled
from nbspd.programs.compiled import Distrusted, Program

DIGEST = "0123456789abcdef"
EXIT = bytes.fromhex("9500000000000000")


def load_map(fd: int, source: int = 1) -> bytes:
    """Return the two slots of an instruction that takes a map."""
    return struct.pack("<BBhiBBhi", 0x18, source << 4 | 1, 0, fd, 0, 0, 0, 0)


def load_number(number: int) -> bytes:
    return struct.pack("<BBhiBBhi", 0x18, 2, 0, number & 0x7FFFFFFF, 0, 0, 0, number >> 32)


CODE = load_map(7) + load_number(0x1234567800000007) + load_map(9) + EXIT
PROGRAMS = {"cgroup_connect4": compiled.extract(CODE, {7: "actives", 9: "ports", -1: "units"}),
            "lsm__file_open": Program(EXIT, {}, 4711, False)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "state/compiled"
    compiled.write(folder, DIGEST, PROGRAMS)
    return folder


def test_what_was_kept_comes_back(folder: Path) -> None:
    assert compiled.read(folder, DIGEST) == PROGRAMS
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / DIGEST).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [DIGEST]


def test_there_may_be_nothing(tmp_path: Path, folder: Path) -> None:
    assert compiled.read(tmp_path / "elsewhere", DIGEST) is None and compiled.read(folder, "fedcba9876543210") is None


# -- relocation


def test_descriptors_become_names_and_names_descriptors() -> None:
    program = PROGRAMS["cgroup_connect4"]
    assert program.maps == {0: "actives", 4: "ports"}
    assert program.code == load_map(0) + load_number(0x1234567800000007) + load_map(0) + EXIT
    assert compiled.relocate(program, {"actives": 70, "ports": 90}.__getitem__) == CODE.replace(
        load_map(7), load_map(70)).replace(load_map(9), load_map(90))


@pytest.mark.parametrize("code, words", [
    (load_map(8) + EXIT, "instruction 0 takes descriptor 8"),
    (EXIT + load_map(7, source=2), "instruction 1 refers to something"),        # a value inside of a map
    (struct.pack("<BBhi", 0x85, 0x10, 0, 5) + EXIT, "instruction 0 refers to something"),       # another function
])
def test_what_means_something_in_this_process_only_is_not_kept(code: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compiled.extract(code, {7: "actives"})


# -- files that are not believed


def spoil(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        path = folder / DIGEST
        path.write_bytes(change(path.read_bytes()))
    return act


def become_a_link(folder: Path) -> None:
    (folder / DIGEST).rename(folder.parent / "elsewhere")
    (folder / DIGEST).symlink_to(folder.parent / "elsewhere")


def become_a_fifo(folder: Path) -> None:
    (folder / DIGEST).unlink()
    os.mkfifo(folder / DIGEST, 0o600)


def become_a_folder(folder: Path) -> None:
    (folder / DIGEST).unlink()
    (folder / DIGEST).mkdir(mode=0o700)


def take_another_name(folder: Path) -> None:
    (folder / DIGEST).rename(folder / "fedcba9876543210")
    (folder / "fedcba9876543210").rename(folder / DIGEST)
    content = compiled.encode("fedcba9876543210", PROGRAMS)
    (folder / DIGEST).write_bytes(content)


DISTRUSTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (spoil(lambda content: b""), "damaged"),
    "cut short": (spoil(lambda content: content[:-1]), "damaged"),
    "cut to its title": (spoil(lambda content: content.partition(b"\n")[0]), "damaged"),
    "longer": (spoil(lambda content: content + b" "), "damaged"),
    "one bit": (spoil(lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:]), "damaged"),
    "of another format": (spoil(lambda content: content.replace(b"programs 1 ", b"programs 2 ", 1)), "another version"),
    "under another's name": (take_another_name, "made from something else"),
    "writable by the group": (lambda folder: (folder / DIGEST).chmod(0o620), "writable by others, mode 0620"),
    "writable by others": (lambda folder: (folder / DIGEST).chmod(0o602), "writable by others, mode 0602"),
    "in a folder of others": (lambda folder: folder.chmod(0o777), "compiled is writable by others"),
    "a symbolic link": (become_a_link, "cannot be opened"),
    "a pipe": (become_a_fifo, "something else"),
    "a folder": (become_a_folder, "something else"),
}


@pytest.mark.parametrize("what", DISTRUSTED)
def test_a_file_that_is_not_believed_is_thrown_away(folder: Path, what: str) -> None:
    act, words = DISTRUSTED[what]
    act(folder)
    with pytest.raises(Distrusted, match=words):
        compiled.read(folder, DIGEST)
    compiled.throw_away(folder, DIGEST)
    assert compiled.read(folder, DIGEST) is None
    compiled.write(folder, DIGEST, PROGRAMS)
    assert compiled.read(folder, DIGEST) == PROGRAMS


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_another_user_owns_is_not_believed(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    mine, theirs = os.geteuid(), os.geteuid() + 1
    uid = {"folder": mine if what == "file" else theirs, "file": theirs}
    real_lstat, real_fstat = os.lstat, os.fstat

    def owned(found: os.stat_result, owner: int) -> os.stat_result:
        return os.stat_result((*found[:4], owner, *found[5:10]))
    monkeypatch.setattr(compiled.os, "lstat", lambda path: owned(real_lstat(path), uid["folder"]))
    monkeypatch.setattr(compiled.os, "fstat", lambda fd: owned(real_fstat(fd), uid["file"]))
    with pytest.raises(Distrusted, match=f"owned by uid {theirs}"):
        compiled.read(folder, DIGEST)


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "compiled").write_text("")
    with pytest.raises(Distrusted, match="something else"):
        compiled.read(tmp_path / "compiled", DIGEST)
    compiled.throw_away(tmp_path / "compiled", DIGEST)
    compiled.write(tmp_path / "compiled", DIGEST, PROGRAMS)
    assert compiled.read(tmp_path / "compiled", DIGEST) == PROGRAMS


def row(**fields: object) -> dict[str, object]:
    return {"programs": {"a": {"code": "", "maps": {}, "target": 0, "is_taken": True, **fields}}}


@pytest.mark.parametrize("body", [
    [], 3, {}, {"programs": []}, {"programs": {"a": {}}}, row(code=1), row(code="%"), row(maps=[]), row(target="0"),
    row(is_taken=1), row(maps={"0": "x"}), row(maps={"-1": "x"}), row(maps={"x": "x"})])
def test_a_whole_file_with_nonsense(folder: Path, body: object) -> None:
    content = json.dumps({"digest": DIGEST, **body} if isinstance(body, dict) else body).encode()
    title = f"{compiled.TITLE} {compiled.FORMAT} {hashlib.sha256(content).hexdigest()}\n"
    (folder / DIGEST).write_bytes(title.encode() + content)
    with pytest.raises(Distrusted, match="no such file"):
        compiled.read(folder, DIGEST)


# -- how many


def test_the_newest_few_are_kept(folder: Path) -> None:
    for number in range(compiled.KEPT):
        os.utime(folder / DIGEST, (number + 10, number + 10))
        compiled.write(folder, f"{number:016x}", PROGRAMS)
        os.utime(folder / f"{number:016x}", (number, number))
    assert len(list(folder.iterdir())) == compiled.KEPT
    assert not (folder / f"{0:016x}").exists() and (folder / DIGEST).exists()


def test_reading_makes_it_new(folder: Path) -> None:
    os.utime(folder / DIGEST, (1, 1))
    compiled.read(folder, DIGEST)
    assert (folder / DIGEST).stat().st_mtime > 1
