"""Who has a grip on a checkpoint: traces it, or has its memory open, from before that was refused."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

from ..kernel.process import ProcessFacts
from .finding import Finding, Kind
from .verdicts import Verdicts


def grip_findings(verdicts: Verdicts) -> Iterator[Finding]:
    """Yield the tracers of processes that carry stamps, and who has their memory open."""
    processes = verdicts.holdings.processes
    for target in processes.values():
        if verdicts.known.held(target):
            tracer = processes.get(tracer_of(target.pid))
            if tracer is not None:
                yield from grip(verdicts, tracer, target, "traces")
    for holder, fd, pid in verdicts.holdings.memories:
        if pid in processes:
            yield from grip(verdicts, holder, processes[pid], f"descriptor {fd} on the memory of", fd)


def grip(verdicts: Verdicts, before: ProcessFacts, target_before: ProcessFacts, words: str,
         fd: int = -1) -> Iterator[Finding]:
    """Yield a grip of one process on another that carries stamps which the first does not carry itself."""
    holder, target = verdicts.current(before), verdicts.current(target_before)
    if holder is None or target is None or holder.pid == target.pid:
        return
    names = verdicts.known.held(target)
    if not names <= verdicts.known.held(holder):
        stamps = tuple(sorted(names))
        what = f"{words} {target.comm}[{target.pid}], which carries the stamp {', '.join(stamps)}"
        remedy = f"{verdicts.end_it(holder)}; then restart {target.comm}[{target.pid}]"
        yield Finding(Kind.GRIP, verdicts.holder(holder), what, fd=fd, only_through=stamps, remedy=remedy)


def tracer_of(pid: int) -> int:
    """Return who traces a process, 0 for nobody or when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("TracerPid:")), 0)
