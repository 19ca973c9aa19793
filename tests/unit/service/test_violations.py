"""From the kernel's ring to the journal's words."""

from __future__ import annotations

import signal
import subprocess

from nbspd import service as module
from nbspd.abi import Channel, VerdictCode
from nbspd.journal.chain import verify
from nbspd.kernel.process import process_facts
from nbspd.paths import Settings

from ..events.hits import record as raw_record
from ..fakes import Begin
from .running import MORE, RULES, Running, counters, kinds, records, write


def test_a_violation_is_journaled_with_its_words(running: Running) -> None:
    running.hit()
    running.hit()
    running.hit(tgid=4001)
    running.turn()
    record = [record for record in records(running.settings) if record.kind == "violation"][0]
    assert (record.rule, record.resource, record.missing) == ("db-through-pooler", "db", ("pooler",))
    assert (record.owner, record.reason) == ("dba@example.org", "pooled only")
    status = running.ask("status")
    assert counters(status) == (3, 2, 1, 0, 0)
    assert status["totals"] == {"hits": 3, "journaled": 2, "coalesced": 1, "lost": 0, "waiting": 0}


def test_repeats_are_written_at_the_end(settings: Settings, begin: Begin) -> None:
    running = Running(settings, begin)
    for _ in range(5):
        running.hit()
    running.turn()
    running.stop()
    assert kinds(settings) == ["start", "violation", "repeat", "stop"]
    verify(settings.journal)


def test_records_of_a_rule_that_is_gone_keep_its_name(running: Running) -> None:
    write(running.settings, MORE)
    running.ask("reload")
    write(running.settings, RULES)
    running.hit(rule=2, generation=2)
    running.service.activation.reload(module.DAEMON_BY_SIGNAL)
    running.turn()
    assert [record.rule for record in records(running.settings) if record.kind == "violation"] == ["key-for-nobody"]


def test_a_rule_that_kills_kills_exactly_the_process(settings: Settings, begin: Begin) -> None:
    write(settings, RULES.replace("owner:", "on-bypass: kill, owner:"))
    running = Running(settings, begin)
    victims = [subprocess.Popen(["sleep", "60"]) for _ in range(4)]
    facts = [process_facts(victim.pid) for victim in victims]
    cases = ({}, {"start_ticks": 1}, {"channel": Channel.PACKET}, {"verdict": VerdictCode.AUDITED})
    for found, changes in zip(facts, cases):
        assert found is not None
        fields = {"rule": 1, "generation": 1, "tgid": found.pid, "start_ticks": found.start_ticks, **changes}
        begin.kernel.hit(raw_record(**fields), 1)
    begin.last.ring.signal()
    running.turn()
    assert victims[0].wait(10) == -signal.SIGKILL
    assert [victim.poll() for victim in victims[1:]] == [None] * 3
    for victim in victims[1:]:
        victim.kill()
        victim.wait()
    running.stop()
    assert [record.verdict for record in records(settings) if record.kind == "violation"] == [
        "killed", "denied", "denied", "audited"]
