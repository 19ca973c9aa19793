"""Where stamps come from and go to, as a pure model: exec gives and takes, fork copies, and only some count at a time.

The kernel does the same in bpf/lineage.c and bpf/subject.h; tests hold the two side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .judge import Subject
from .plan import Plan

__all__ = ["Process", "counting", "execute"]


@dataclass(frozen=True)
class Process:
    """A process as far as its stamps go; a fork is an equal one.

    `carried`: the checkpoints whose stamps it carries, also those that do not count at the moment.
    """

    program: str                    # the real path of what it runs
    user: str = "root"              # the effective user, as `user:` of a checkpoint names it
    unit: str | None = None         # the declared unit that it runs in
    carried: frozenset[str] = frozenset()


def execute(plan: Plan, process: Process, program: str) -> Process:
    """Return what a process is after exec: stamps of kind `children` stay, and the program earns its own.

    `after:` asks what the process carried before, whether that counted or not. That a process can hold no more than
    abi.STAMPS_HELD stamps is left out.
    """
    kept = {one.name for one in plan.checkpoints if one.name in process.carried and one.stamp == "children"}
    earned = {one.name for one in plan.checkpoints
              if one.exe == program and one.unit in (None, process.unit) and process.carried.issuperset(one.after)}
    return replace(process, program=program, carried=frozenset(kept | earned))


def counting(plan: Plan, process: Process) -> Subject:
    """Return the subject that a process is now: a `self` stamp counts in its own program, any only with its user."""
    return Subject(frozenset(
        one.name for one in plan.checkpoints
        if one.name in process.carried and one.user in (None, process.user)
        and (one.stamp == "children" or one.exe == process.program)))
