"""Checkpoints that are none: their program runs without the stamp, or is another file than the one that was bound."""

from __future__ import annotations

from typing import Iterator

from ..kernel.process import ProcessFacts
from .finding import Finding, Holder, Kind
from .knowledge import CheckpointFacts, Object
from .places import Place, Table, look
from .verdicts import Verdicts


def checkpoint_findings(verdicts: Verdicts, table: Table) -> Iterator[Finding]:
    """Yield what is wrong with checkpoints; `table` are our own mounts."""
    by_object: dict[Object, list[ProcessFacts]] = {}
    by_place: dict[Place, list[ProcessFacts]] = {}
    for pid, (objects, place) in verdicts.holdings.exes.items():
        for one in objects:
            by_object.setdefault(one, []).append(verdicts.holdings.processes[pid])
        if place is not None:
            by_place.setdefault(place, []).append(verdicts.holdings.processes[pid])
    for checkpoint in verdicts.known.checkpoints:
        seen = look(checkpoint.exe, table)
        if seen is None or checkpoint.object not in seen.objects:
            what = "is gone" if seen is None else "is another file than the one that the rules were bound to"
            yield Finding(Kind.REPLACED, Holder(), f"{checkpoint.exe} {what}: what runs it earns no stamp",
                          path=checkpoint.exe, only_through=(checkpoint.name,),
                          remedy="install it again, then: nbsp reload" if seen is None else
                          "if that was an upgrade: nbsp reload, and restart what runs it")
        same = {one.pid: one for one in by_object.get(checkpoint.object, ())}
        place = seen.place if seen is not None else None
        former = {one.pid: one for one in by_place.get(place, ()) if one.pid not in same} if place is not None else {}
        for before in (*same.values(), *former.values()):
            yield from without_stamp(verdicts, checkpoint, before, before.pid in former)


def without_stamp(verdicts: Verdicts, checkpoint: CheckpointFacts, before: ProcessFacts,
                  is_former: bool) -> Iterator[Finding]:
    """Yield a process that runs the checkpoint's program, or what was at its place, and does not count as it."""
    facts = verdicts.current(before)
    if facts is None or checkpoint.name in verdicts.stamps(facts):
        return
    if is_former:
        what, remedy = (f"runs a file that was at {checkpoint.exe} before the present one",
                        "restart it: " + verdicts.end_it(facts))
    else:
        what = f"runs {checkpoint.exe} without the stamp {checkpoint.name}: {why(verdicts, checkpoint, facts)}"
        remedy = "nothing to do if it is not meant to be the checkpoint"
    yield Finding(Kind.UNSTAMPED, verdicts.holder(facts), what, path=facts.exe, only_through=(checkpoint.name,),
                  harmless=True, remedy=remedy)


def why(verdicts: Verdicts, checkpoint: CheckpointFacts, facts: ProcessFacts) -> str:
    """Return why a process that runs a checkpoint's program does not count as the checkpoint."""
    if checkpoint.uid not in (None, facts.euid):
        user = verdicts.naming.user(facts.euid) or f"uid {facts.euid}"
        return f"it runs as {user}, not as {checkpoint.user}"
    if checkpoint.cgroup and not f"{facts.cgroup}/".startswith(f"{checkpoint.cgroup}/"):
        return f"it does not run in {checkpoint.unit}"
    carried = frozenset(name for one in verdicts.ancestry(facts) for name in verdicts.known.held(one))
    missing = [name for name in checkpoint.after if name not in carried]
    if missing:
        return f"it was not started through {' and '.join(missing)}"
    return "it could not earn it when it started: that was before the rules, the table was full, or it had eight"
