"""The tables of knobs and brokers, and the shipped rule that follows from the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbspd.rules.brokers import BROKERS, broker_of
from nbspd.rules.judge import Access, Judge, Subject, Wanted
from nbspd.rules.compile import compile_rules
from nbspd.rules.knobs import KNOBS
from nbspd.rules.lint import find_advice
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.model import RuleSet
from nbspd.rules.pseudo import places

SHIPPED = Path(__file__).parents[3] / "rules" / "01-kernel-knobs.yaml"
COMMENTED = {"/sys/firmware/efi/efivars"}       # in the file as a comment: too many write there


@pytest.fixture(scope="module")
def shipped() -> RuleSet:
    return parse_sources([Source(SHIPPED.name, SHIPPED.read_text())])


def test_every_knob_is_in_the_shipped_rule(shipped: RuleSet) -> None:
    files = {path for resource in shipped.resources.values() for path in resource.files}
    trees = {path for resource in shipped.resources.values() for path in resource.trees}
    assert files == {knob.path for knob in KNOBS if not knob.is_tree}
    assert trees == {knob.path for knob in KNOBS if knob.is_tree} - COMMENTED
    assert all(f"[{path}]" in SHIPPED.read_text() for path in COMMENTED)
    assert not find_advice(shipped)


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: str(knob.path))
def test_a_knob_is_on_a_pseudo_file_system_and_decided(shipped: RuleSet, knob: object) -> None:
    assert isinstance(knob, type(KNOBS[0])) and places(knob.path) and knob.effect
    assert knob.purpose in ("helper", "lock", "eye")
    if knob.path not in COMMENTED:
        judge = Judge(compile_rules(shipped))
        path = knob.path.replace("**", "memory/a")
        assert not judge.verdict(Subject(), Access(path, int(Wanted.WRITE))).allowed
        assert judge.verdict(Subject(), Access(path, int(Wanted.READ))).allowed != knob.is_read


def test_brokers() -> None:
    assert len({broker.name for broker in BROKERS}) == len(BROKERS)
    assert all(broker.exes and broker.asked_by and broker.starts for broker in BROKERS)
    assert all(path.startswith("/") for broker in BROKERS for path in (*broker.exes, *broker.asked_by))


@pytest.mark.parametrize("exe, name", [("/usr/sbin/cron", "cron"), ("/lib/systemd/systemd", "systemd"),
                                       ("/snap/lxd/12/bin/lxd", "LXD"), ("/usr/bin/sudo", ""), ("/usr/sbin/sshd", "")])
def test_which_program_is_a_broker(exe: str, name: str) -> None:
    broker = broker_of(exe)
    assert (broker.name if broker else "") == name


def advice(stamp: str) -> list[str]:
    text = ("version: 1\ncheckpoints:\n  jobs: {exe: /usr/sbin/cron, stamp: %s}\n"
            "resources:\n  x: {files: [/srv/x]}\nrules:\n  - {id: a, protect: x, only-through: [jobs]}\n" % stamp)
    return [str(one) for one in find_advice(parse_sources([Source("a.yaml", text)]))]


def test_a_broker_whose_children_keep_the_stamp_is_warned_of() -> None:
    said, = advice("children")
    assert said.startswith("a.yaml:3:3: the checkpoint 'jobs' is cron, and everything that it starts for anybody "
                           "carries the stamp (command lines at their time); write stamp: self")
    assert advice("self") == []
