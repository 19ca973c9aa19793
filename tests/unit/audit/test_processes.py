"""A process through its /proc folder; children of this test stand for everybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

from nbspd.audit import processes
from nbspd.audit.processes import OpenProcess, Vanished, have_same_files, parse_fdinfo

HOLD = "import os, sys, mmap; f = os.open(sys.argv[1], os.O_RDONLY); m = mmap.mmap(f, 0, prot=mmap.PROT_READ)"
THREAD = """
import ctypes, os, sys, threading
done = threading.Event()
def run():
    assert not ctypes.CDLL(None).unshare(0x400)
    os.open(sys.argv[1], os.O_RDONLY)
    done.set()
    threading.Event().wait()
threading.Thread(target=run, daemon=True).start()
done.wait()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file with blanks"
    path.write_text("secret")
    return path


def start(text: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a process that does something and then waits."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", f"{text}\nprint(flush=True)\ninput()",
                              *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "\n"
    return child


def stop(child: subprocess.Popen[str]) -> None:
    """End it."""
    child.kill()
    child.communicate()


@pytest.fixture
def holder(file: Path) -> Iterator[int]:
    child = start(HOLD, file)
    yield child.pid
    stop(child)


def test_what_a_process_holds(holder: int, file: Path) -> None:
    with OpenProcess(holder) as process:
        found = [one for one in process.descriptors() if one.link == str(file)]
        info = process.info(found[0])
        facts = process.stat(found[0])
        mapped = [one for one in process.mappings() if one.path == str(file)]
        assert process.facts.pid == holder and process.link("root") == "/"
    assert info is not None and info.flags & os.O_ACCMODE == os.O_RDONLY and info.mount > 0
    assert facts is not None and facts.st_ino == file.stat().st_ino and info.inode in (None, facts.st_ino)
    assert len(mapped) == 1 and mapped[0].rights[0] == "r" and mapped[0].inode == facts.st_ino


def test_a_thread_with_descriptors_of_its_own(file: Path) -> None:
    child = start(THREAD, file)
    try:
        with OpenProcess(child.pid) as process:
            tables = process.tables()
            found = [one for one in process.descriptors() if one.link == str(file)]
    finally:
        stop(child)
    assert len(tables) == 2 and [one.table for one in found] == tables[1:] and tables[1].startswith("task/")


def test_threads_that_share_are_one(holder: int) -> None:
    with OpenProcess(holder) as process:
        assert process.tables() == ["fd"]
    assert have_same_files(os.getpid(), os.getpid()) and not have_same_files(os.getpid(), holder)


def test_without_kcmp_every_thread_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "KCMP", {})
    assert not have_same_files(os.getpid(), os.getpid())


def test_who_is_gone() -> None:
    with pytest.raises(Vanished):
        with OpenProcess(1 << 30):
            raise AssertionError
    child = start("")
    with OpenProcess(child.pid) as process:
        stop(child)
        assert process.link("exe") == ""
        with pytest.raises((FileNotFoundError, ProcessLookupError)):
            process.tables()


def test_a_number_that_was_given_to_another_process(monkeypatch: pytest.MonkeyPatch, holder: int) -> None:
    own = processes.process_facts(os.getpid())
    monkeypatch.setattr(processes, "process_facts", lambda _pid: own)
    with pytest.raises(Vanished):
        with OpenProcess(holder):
            raise AssertionError


@pytest.mark.parametrize("facts", [KeyError("Uid"), IndexError(), ValueError()])
def test_a_process_that_ended_while_it_was_read(facts: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_pid: int) -> None:
        raise facts
    monkeypatch.setattr(processes, "process_facts", fail)
    with pytest.raises(Vanished):
        with OpenProcess(os.getpid()):
            raise AssertionError


def test_fdinfo() -> None:
    info = parse_fdinfo("pos:\t0\nflags:\t012100000\nmnt_id:\t27\nino:\t1234\n")
    assert info.flags & os.O_PATH and (info.mount, info.inode) == (27, 1234)
    assert parse_fdinfo("flags:\t02\nmnt_id:\t9\n").inode is None
    assert parse_fdinfo("").mount == 0
