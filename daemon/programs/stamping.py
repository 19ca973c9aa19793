"""Stamp the processes that run already when a generation is applied.

The kernel stamps at exec; who was there before is found in /proc. The tables of the new generation are in place before
the scan, so that whatever forks or executes meanwhile is seen to by the kernel; the scan goes on until a pass finds
nothing new. A stale `self` stamp does no harm, since it counts only while the process runs that very program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence

from .. import abi
from ..kernel import bpf
from ..kernel.process import ProcessFacts, snapshot
from .bound import BoundCheckpoint
from .foreign import why_not
from .inspect import Key
from .tables import Tables

PASSES = 16


@dataclass(frozen=True)
class Candidate:
    """A checkpoint with its stamp bit."""

    bit: int
    checkpoint: BoundCheckpoint
    after: frozenset[int]


def deserved(processes: Mapping[int, ProcessFacts], exes: Mapping[tuple[int, int], tuple[Candidate, ...]],
             held: Mapping[int, frozenset[int]], children: frozenset[int],
             fresh: frozenset[int] | None = None,
             refused: Mapping[int, frozenset[int]] | None = None) -> dict[int, frozenset[int]]:
    """Return the stamps that each process should carry, those it has included; pure.

    `exes` is by (device, inode number) of the program; `held` by pid. A process inherits what its ancestors' stamps of
    kind `children` give it, and earns its program's own; only stamps in `fresh` (None: all) are given so, since of
    the others the kernel knows better who earned them. What is `refused` to a process it does not earn.
    """
    found: dict[int, frozenset[int]] = {}

    def of(pid: int) -> frozenset[int]:
        chain: list[int] = []
        while pid in processes and pid not in found and pid not in chain:
            chain.append(pid)
            pid = processes[pid].ppid
        for one in reversed(chain):
            process = processes[one]
            before = found.get(process.ppid, frozenset())
            mine = held.get(one, frozenset())
            kept = before & children if fresh is None else before & children & fresh
            earned = {candidate.bit for candidate in exes.get((process.exe_dev, process.exe_ino), ())
                      if (fresh is None or candidate.bit in fresh) and candidate.after <= before | kept | mine
                      and _runs_in(process, candidate.checkpoint.cgroup)} - (refused or {}).get(one, frozenset())
            found[one] = kept | mine | earned
        return found.get(pid, frozenset())

    for pid in processes:
        of(pid)
    return found


def _runs_in(process: ProcessFacts, cgroup: str | None) -> bool:
    return cgroup is None or process.cgroup == cgroup or process.cgroup.startswith(cgroup + "/")


def read_stamps(tables: Tables) -> dict[int, tuple[int, frozenset[int]]]:
    """Return start time in ticks and stamp bits of every stamped process, by pid."""
    stamps = {}
    for key, value in bpf.lookup_batch(tables.fd("stamps")):
        stamp = abi.Stamp.from_buffer_copy(value)
        stamps[int.from_bytes(key, "little")] = stamp.start_ticks, frozenset(bit - 1 for bit in stamp.list if bit)
    return stamps


def stamp_value(start_ticks: int, bits: Iterable[int]) -> bytes:
    """Return a stamp as the kernel keeps it; what is more than a process can carry is left out."""
    stamp = abi.Stamp(start_ticks=start_ticks)
    for place, bit in enumerate(sorted(bits)[:abi.STAMPS_HELD]):
        stamp.bits[bit >> 6] |= 1 << (bit & 63)
        stamp.list[place] = bit + 1
    return bytes(stamp)


def refusals(processes: Mapping[int, ProcessFacts], exes: Mapping[tuple[int, int], tuple[Candidate, ...]],
             fresh: frozenset[int]) -> dict[int, dict[int, str]]:
    """Return by pid and stamp bit why processes that run sealed checkpoints' programs must not have the stamp."""
    found: dict[int, dict[int, str]] = {}
    for pid, process in processes.items():
        program = process.exe_dev, process.exe_ino
        for candidate in exes.get(program, ()):
            if candidate.bit in fresh and candidate.checkpoint.is_sealed:
                trouble = why_not(pid, candidate.checkpoint.checkpoint, program)
                if trouble:
                    found.setdefault(pid, {})[candidate.bit] = trouble
    return found


def stamp_running(tables: Tables, candidates: Sequence[Candidate], devices: Mapping[Key, int],
                  fresh: frozenset[int]) -> tuple[str, ...]:
    """Give the stamps in `fresh` to every running process that deserves them; return in words who must not have one.

    A checkpoint that was declared before is not among them: the kernel saw each of its processes start, and /proc can
    be made to lie (PR_SET_MM_EXE_FILE), nor does it tell a child that is older than its parent's program.
    `devices` gives the st_dev of each checkpoint's program, since /proc speaks of that and not of the superblock.
    What was given in a scan before and must not be had is taken away: foreign code may have come in between.
    """
    if not fresh:
        return ()
    exes: dict[tuple[int, int], tuple[Candidate, ...]] = {}
    children = frozenset(one.bit for one in candidates if one.checkpoint.checkpoint.stamp == "children")
    for one in candidates:
        key = devices[one.checkpoint.exe], one.checkpoint.exe[1]
        exes[key] = exes.get(key, ()) + (one,)
    names = {one.bit: one.checkpoint.checkpoint for one in candidates}
    told: dict[tuple[int, int], str] = {}
    for _ in range(PASSES):
        processes = snapshot()
        stamps = read_stamps(tables)
        refused = refusals(processes, exes, fresh)
        told.update({(pid, bit): f"process {pid} ({processes[pid].comm}) runs {names[bit].exe} and is not "
                                 f"{names[bit].name}: {trouble}; restart it"
                     for pid, troubles in refused.items() for bit, trouble in troubles.items()})
        _take_away(tables, stamps, refused)
        held = {pid: bits for pid, (ticks, bits) in stamps.items()
                if pid in processes and processes[pid].start_ticks == ticks}
        barred = {pid: frozenset(troubles) for pid, troubles in refused.items()}
        held = {pid: bits - barred.get(pid, frozenset()) for pid, bits in held.items()}
        wanted = deserved(processes, exes, held, children, fresh, barred)
        news = {pid: bits for pid, bits in wanted.items() if bits - held.get(pid, frozenset())
                and len(held.get(pid, frozenset())) < abi.STAMPS_HELD}
        if not news:
            break
        for pid, bits in news.items():
            bpf.map_update(tables.fd("stamps"), pid.to_bytes(4, "little"),
                           stamp_value(processes[pid].start_ticks, bits))
    return tuple(told.values())


def _take_away(tables: Tables, stamps: Mapping[int, tuple[int, frozenset[int]]],
               refused: Mapping[int, Mapping[int, str]]) -> None:
    for pid, troubles in refused.items():
        ticks, bits = stamps.get(pid, (0, frozenset()))
        if bits & troubles.keys():
            bpf.map_update(tables.fd("stamps"), pid.to_bytes(4, "little"), stamp_value(ticks, bits - troubles.keys()))
