"""The inode of a program stays as long as it is held."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbspd.programs.held import hold, release


def test_a_deleted_program_keeps_its_inode(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch()
    number = program.stat().st_ino
    held = hold([(str(program), (0, number, 0))])
    program.unlink()
    assert os.fstat(held[0]).st_nlink == 0
    others = [tmp_path / str(count) for count in range(50)]
    for other in others:
        other.touch()
    assert number not in {other.stat().st_ino for other in others}
    kept = list(held)
    release(held)
    assert held == []
    with pytest.raises(OSError):
        os.fstat(kept[0])


def test_a_program_that_was_replaced_or_is_gone(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch()
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match="replaced"):
        hold([(str(program), (0, program.stat().st_ino, 0)), (str(program), (0, 1, 0))])
    with pytest.raises(OSError):
        hold([(str(program), (0, program.stat().st_ino, 0)), (str(tmp_path / "none"), (0, 1, 0))])
    assert sorted(os.listdir("/proc/self/fd")) == before
