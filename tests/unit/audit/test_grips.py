"""Tracers of checkpoints, and who has their memory open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbspd.audit import grips
from nbspd.audit.finding import Finding, Kind
from nbspd.audit.grips import grip_findings, tracer_of
from nbspd.kernel.process import ProcessFacts

from .conftest import Start
from .made import holdings, knowledge, pooler, process, stamped, verdicts
from .test_holdings import searcher


def found(holder: ProcessFacts, *carriers: ProcessFacts, tracer: int = 0, memories: tuple[int, ...] = (),
          gone: tuple[int, ...] = (), monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """Return what is found of a holder and the pooler, of whom some carry its stamp."""
    monkeypatch.setattr(grips, "tracer_of", lambda pid: tracer if pid == 88 else 0)
    held = holdings(holder, pooler())
    held.memories = [(holder, 9, pid) for pid in memories]
    return list(grip_findings(verdicts(stamped(knowledge(), *carriers), held, *gone)))


def test_a_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    one, = found(process(), pooler(), tracer=77, monkeypatch=monkeypatch)
    assert one.kind is Kind.GRIP and one.holder.pid == 77 and one.only_through == ("pooler",) and not one.harmless
    assert one.what == "traces pooler[88], which carries the stamp pooler" and "then restart pooler[88]" in one.remedy


def test_open_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    one, = found(process(), pooler(), memories=(88, 99), monkeypatch=monkeypatch)
    assert one.fd == 9 and one.what.startswith("descriptor 9 on the memory of pooler[88]")


@pytest.mark.parametrize("carriers, gone", [((), ()), ((pooler(), process()), ()), ((pooler(),), (77,)),
                                            ((pooler(),), (88,))])
def test_no_grip(carriers: tuple[ProcessFacts, ...], gone: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(process(), *carriers, tracer=77, memories=(88,), gone=gone, monkeypatch=monkeypatch) == []


def test_a_process_may_look_at_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(pooler(), pooler(), memories=(88,), monkeypatch=monkeypatch) == []


def test_who_traces_nobody() -> None:
    assert tracer_of(os.getpid()) == 0 == tracer_of(1 << 30)


def test_memory_is_seen(running: Start) -> None:
    target = running("")
    pid = running("import sys; f = open(f'/proc/{sys.argv[1]}/mem', 'rb')", str(target))
    memories = searcher(knowledge()).search([pid]).memories
    assert [(facts.pid, whose) for facts, _, whose in memories] == [(pid, target)]
    assert Path(f"/proc/{pid}/fd/{memories[0][1]}").readlink() == Path(f"/proc/{target}/mem")
