"""Facts of processes: our own, children with awkward names, and those that are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from nbspd.kernel import process


@pytest.fixture
def waiter(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child whose name holds blanks and brackets."""
    program = tmp_path / "a) R (b c"
    program.write_bytes(Path("/bin/sh").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "-c", "read forever", "", "last"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def running(child: subprocess.Popen[bytes]) -> process.ProcessFacts:
    facts = process.process_facts(child.pid)
    assert facts is not None
    return facts


def test_ourselves() -> None:
    facts = process.process_facts(os.getpid())
    assert facts is not None
    exe = os.stat("/proc/self/exe")
    assert (facts.ppid, facts.uid, facts.euid) == (os.getppid(), os.getuid(), os.geteuid())
    assert (facts.exe_dev, facts.exe_ino) == (exe.st_dev, exe.st_ino)
    assert facts.exe == os.path.realpath(sys.executable) and facts.cgroup.startswith("/")
    assert facts.start_ticks > 0 and len(facts.cmdline) >= 1
    assert facts.loginuid == int(Path("/proc/self/loginuid").read_text())


def test_awkward_names(waiter: subprocess.Popen[bytes]) -> None:
    facts = running(waiter)
    assert facts.comm == "a) R (b c" and facts.ppid == os.getpid()
    assert facts.exe.endswith("/a) R (b c") and facts.cmdline[1:] == ("-c", "read forever", "", "last")


def test_gone(waiter: subprocess.Popen[bytes]) -> None:
    facts = running(waiter)
    assert process.is_alive(facts.pid, facts.start_ticks)
    assert not process.is_alive(facts.pid, facts.start_ticks + 1)
    waiter.kill()
    waiter.wait()
    assert process.process_facts(facts.pid) is None
    assert not process.is_alive(facts.pid, facts.start_ticks)
    assert process.open_pidfd(facts.pid, facts.start_ticks) is None


def test_pidfd_is_of_exactly_that_process(waiter: subprocess.Popen[bytes]) -> None:
    facts = running(waiter)
    assert process.open_pidfd(facts.pid, facts.start_ticks - 1) is None
    descriptor = process.open_pidfd(facts.pid, facts.start_ticks)
    assert descriptor is not None
    os.close(descriptor)


def test_deleted_executable(waiter: subprocess.Popen[bytes], tmp_path: Path) -> None:
    before = running(waiter)
    (tmp_path / "a) R (b c").unlink()
    after = running(waiter)
    assert after.exe == before.exe + " (deleted)" and after.exe_ino == before.exe_ino


def test_zombie_has_no_executable() -> None:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    facts = process.process_facts(child.pid)
    child.wait()
    assert facts is not None and facts.exe == "" and facts.exe_ino == 0 and facts.cmdline == ()


def test_snapshot_holds_us_and_our_parent() -> None:
    found = process.snapshot()
    assert {os.getpid(), os.getppid()} <= set(found)
    assert all(pid == facts.pid for pid, facts in found.items())


def test_ancestors_nearest_first(waiter: subprocess.Popen[bytes]) -> None:
    found = process.ancestors(waiter.pid)
    assert found[0].pid == os.getpid() and found[1].pid == os.getppid()
    assert process.ancestors(waiter.pid, 1) == found[:1]


def test_exec_between_two_looks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([("/a", 1, 1), ("/b", 1, 2), ("/b", 1, 2), ("/b", 1, 2)])
    monkeypatch.setattr(process, "_exe", lambda folder: next(looks))
    facts = process.process_facts(os.getpid())
    assert facts is not None and facts.exe == "/b"
