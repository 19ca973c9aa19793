"""What /proc says of a process, all of one process and of one program.

An open /proc/PID folder stays with its process: once that is gone, reading below it fails, whoever has the number
then.  An exec in between is found by looking at the executable before and after.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

UNSET_ID = 0xFFFFFFFF
ATTEMPTS = 16


@dataclass(frozen=True)
class ProcessFacts:
    """A process (thread group) at one moment."""

    pid: int
    ppid: int
    start_ticks: int    # since boot, 1/100 s; with the pid it names the process for ever
    comm: str
    exe: str            # "" for a kernel thread, or when we may not look
    exe_dev: int        # st_dev of the executable, 0 without one
    exe_ino: int
    uid: int
    euid: int
    loginuid: int       # UNSET_ID: not set, or no audit in this kernel
    sessionid: int
    cgroup: str         # path in the cgroup-v2 tree
    cmdline: tuple[str, ...]


def process_facts(pid: int) -> ProcessFacts | None:
    """Return the facts of a process, None when there is none of that number (or no longer)."""
    try:
        folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        for _ in range(ATTEMPTS):
            before = _exe(folder)
            facts = _read_facts(pid, folder, before)
            if _exe(folder) == before:
                return facts
    except (FileNotFoundError, ProcessLookupError):
        pass
    finally:
        os.close(folder)
    return None


def snapshot() -> dict[int, ProcessFacts]:
    """Return the facts of every process there is, by pid."""
    found = ((pid, process_facts(pid)) for pid in psutil.pids())
    return {pid: facts for pid, facts in found if facts is not None}


def ancestors(pid: int, limit: int = 8) -> tuple[ProcessFacts, ...]:
    """Return a process's parents, the nearest first."""
    found: list[ProcessFacts] = []
    facts = process_facts(pid)
    while facts is not None and facts.ppid and len(found) < limit:
        facts = process_facts(facts.ppid)
        if facts is not None:
            found.append(facts)
    return tuple(found)


def open_pidfd(pid: int, start_ticks: int) -> int | None:
    """Return a pidfd of exactly that process, None when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    facts = process_facts(pid)
    if facts is not None and facts.start_ticks == start_ticks:
        return descriptor
    os.close(descriptor)
    return None


def is_alive(pid: int, start_ticks: int) -> bool:
    """Tell whether exactly that process still exists."""
    facts = process_facts(pid)
    return facts is not None and facts.start_ticks == start_ticks


def _read_facts(pid: int, folder: int, exe: tuple[str, int, int]) -> ProcessFacts:
    comm, fields = _parse_stat(_read(folder, "stat"))
    status = dict(line.split(":\t", 1) for line in _read(folder, "status").splitlines() if ":\t" in line)
    uid, euid = (int(word) for word in status["Uid"].split()[:2])
    return ProcessFacts(
        pid=pid, ppid=int(fields[1]), start_ticks=int(fields[19]), comm=comm, exe=exe[0], exe_dev=exe[1],
        exe_ino=exe[2], uid=uid, euid=euid, loginuid=_read_id(folder, "loginuid"),
        sessionid=_read_id(folder, "sessionid"), cgroup=_parse_cgroup(_read(folder, "cgroup")),
        cmdline=_parse_cmdline(_read(folder, "cmdline")))


def _parse_stat(text: str) -> tuple[str, list[str]]:
    """Return the name, which may hold blanks and brackets, and the fields from the third (state) on."""
    head, _, tail = text.rpartition(")")
    return head.partition("(")[2], tail.split()


def _parse_cgroup(text: str) -> str:
    return next((line[3:] for line in text.splitlines() if line.startswith("0::")), "")


def _parse_cmdline(text: str) -> tuple[str, ...]:
    return tuple(text.removesuffix("\0").split("\0")) if text else ()


def _exe(folder: int) -> tuple[str, int, int]:
    try:
        found = os.stat("exe", dir_fd=folder)
        return os.readlink("exe", dir_fd=folder), found.st_dev, found.st_ino
    except (FileNotFoundError, PermissionError):
        return "", 0, 0


def _read_id(folder: int, name: str) -> int:
    try:
        return int(_read(folder, name))
    except FileNotFoundError:
        return UNSET_ID


def _read(folder: int, name: str) -> str:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
    with open(descriptor, "rb") as file:
        return os.fsdecode(file.read())
