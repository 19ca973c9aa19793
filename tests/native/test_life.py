"""The daemon comes and goes; what it put into the kernel stays until it is told to go."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Iterator

import pytest

from nbspd.kernel import bpf

from .actor import Actor
from .daemon import ROOT, Daemon
from .host import TCP_PORT, UDP_PORT, Host, assert_allowed, assert_balanced, assert_denied
from .place import Pinned, Place

DB = {"tcp": [f"127.0.0.1:{TCP_PORT}"], "udp": [f"127.0.0.1:{UDP_PORT}"]}
CONNECT = ("connect", "inet", "stream", ["127.0.0.1", TCP_PORT])
FIRE = ("fire", "inet", ["127.0.0.1", UDP_PORT])
FLOOD = 30_000              # more than the kernel's ring has room for
RULES = """
version: 1
resources: {db: {udp: ["127.0.0.1:5433"], tcp: ["127.0.0.1:5432"]}}
rules: [{id: nobody, protect: db, only-through: []}]
"""


@pytest.fixture
def mortal(host: Host) -> Iterator[Host]:
    """The host, whose daemon runs again after the test whatever happened to it."""
    try:
        yield host
    finally:
        assert host.daemon.process is not None
        if host.daemon.process.poll() is not None:
            host.write()
            host.daemon.start()


@pytest.fixture
def own(elsewhere: Place) -> Iterator[Daemon]:
    """A daemon of the test's own with one rule, not yet running."""
    daemon = Daemon(elsewhere)
    daemon.settings.rules.mkdir()
    (daemon.settings.rules / "a.yaml").write_text(RULES)
    yield daemon


def programs(pins: Path) -> set[int]:
    """Return the ids of the pinned programs."""
    return Pinned(pins).programs


@pytest.mark.parametrize("count, is_flood", [(7, False), (FLOOD, True)])
def test_after_a_crash(mortal: Host, count: int, is_flood: bool) -> None:
    rule = f"crash-{count}"
    generation = mortal.apply(DB, id=rule)
    client, pooler = mortal.actor(), mortal.actor("pooler")
    assert_denied([("before", client.do(*CONNECT))])
    before = mortal.counters(rule)
    loaded = programs(mortal.place.pins)
    mortal.daemon.kill()
    assert client.do("repeat", count, *FIRE).value == [0, count, 0]
    assert_allowed([("pooler", pooler.do(*CONNECT)), ("a new pooler", mortal.actor("pooler").do(*CONNECT))])
    mortal.daemon.start()
    status = mortal.status()
    assert status["adopted"] and status["generation"] == generation
    assert programs(mortal.place.pins) == loaded, "something was compiled"
    gap = mortal.last("gap")
    row, = (row for row in gap["gaps"] if row["rule"] == rule)
    assert row["hits"] == count == row["journaled"] + row["lost"] and bool(row["lost"]) == is_flood
    after = mortal.counters(rule)
    assert after["hits"] == before["hits"] + count and after["lost"] == row["lost"]
    assert mortal.last("adopt")["generation"] == generation
    assert_denied([("after", client.do(*CONNECT))])


def test_a_stopped_daemon_leaves_enforcement(mortal: Host) -> None:
    mortal.apply(DB, id="stopped")
    client = mortal.actor()
    assert mortal.daemon.stop() == 0
    assert_denied([("nobody there", client.do(*CONNECT))])
    mortal.daemon.start()
    assert mortal.status()["adopted"]
    assert mortal.counters("stopped")["hits"] == 1


def test_broken_rules_at_start(mortal: Host) -> None:
    generation = mortal.apply(DB, id="broken")
    mortal.daemon.kill()
    (mortal.daemon.settings.rules / "test.yaml").write_text("version: 1\nnonsense: 1\n")
    mortal.daemon.start()
    status = mortal.status()
    assert (status["generation"], status["origin"], status["state"]) == (generation, "last-good", "degraded")
    assert "test.yaml:2:1" in " ".join(status["troubles"])
    assert_denied([("client", mortal.actor().do(*CONNECT))])


def test_a_second_daemon_is_refused(host: Host) -> None:
    host.apply(DB, id="second")
    second = host.daemon.launch()
    assert second.wait(20) == 1
    assert host.daemon.process is not None
    assert f"another nbspd is running (pid {host.daemon.process.pid})" in host.daemon.said().splitlines()[-2]
    assert_denied([("client", host.actor().do(*CONNECT))])


def test_something_foreign_where_the_pins_belong(own: Daemon) -> None:
    fd = bpf.map_create(bpf.BPF_MAP_TYPE_ARRAY, 4, 4, 1, name="foreign")
    bpf.obj_pin(fd, own.settings.pins)
    os.close(fd)
    try:
        process = own.launch()
        assert process.wait(60) == 1
        said = own.said()
        assert str(own.settings.pins) in said and "remedy" in said and "bug" not in said
        os.close(bpf.obj_get(own.settings.pins))
    finally:
        own.settings.pins.unlink()


@pytest.mark.slow
def test_detach_and_again(own: Daemon) -> None:
    own.settings.pins.mkdir()
    foreign = own.settings.pins / "foreign"
    fd = bpf.map_create(bpf.BPF_MAP_TYPE_ARRAY, 4, 4, 1, name="foreign")
    bpf.obj_pin(fd, foreign)
    os.close(fd)
    own.start()
    client = Actor(Path("/usr/bin/python3"), own.place.enter_guarded, own.place.folder)
    try:
        assert_denied([("client", client.do(*FIRE))])
        pinned = Pinned(own.settings.pins)
        assert own.nbsp("detach", "--reason", "a test").returncode == 0
        assert foreign.exists(), "somebody else's pin was removed"
        foreign.unlink()
        assert pinned.left("link", "program") == []
        assert_allowed([("client", client.do(*FIRE))])
        assert own.nbsp_json("status")["detached"]["reason"] == "a test"
        assert own.nbsp("reload").returncode == 0
        assert_denied([("client", client.do(*FIRE))])
        assert own.nbsp("detach", "--reason", "the end").returncode == 0
        assert own.stop() == 0
        assert pinned.left() == [] and not own.settings.pins.exists()
    finally:
        client.close()


def origin(daemon: Daemon) -> str:
    """Return how the programs came into the kernel when they were loaded last."""
    return str(json.loads((daemon.settings.state / "programs.json").read_text())["origin"])


@pytest.mark.slow
def test_what_was_compiled_once_is_loaded_from_the_disk(own: Daemon) -> None:
    client = Actor(Path("/usr/bin/python3"), own.place.enter_guarded, own.place.folder)
    try:
        for expected, is_spoilt in (("compiled", False), ("from the cache", False), ("compiled", True),
                                    ("from the cache", False)):
            for path in (own.settings.state / "compiled").iterdir() if is_spoilt else ():
                path.write_bytes(path.read_bytes()[:-1])
            own.start()
            assert origin(own) == expected
            assert ("is thrown away, compiling anew: it is damaged" in own.said()) == is_spoilt
            assert_denied([("datagram", client.do(*FIRE)), ("connection", client.do(*CONNECT))])
            assert own.nbsp("detach", "--reason", "a test").returncode == 0
            assert_allowed([("detached", client.do(*FIRE))])
            assert own.stop() == 0
            own.log.unlink()
    finally:
        client.close()


@pytest.mark.slow
def test_an_upgrade_leaves_no_gap(own: Daemon) -> None:
    copy = own.place.folder / "copy"
    for name in ("bpf", "daemon", "tests/native"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tests/__init__.py", "tests/conftest.py"):
        shutil.copy(ROOT / name, copy / name)
    source = copy / "bpf/cgroup_sock.c"
    source.write_text(source.read_text() + "\n/* a newer version */\n")
    own.start()
    stop = own.place.folder / "stop"
    clients = [Actor(Path("/usr/bin/python3"), own.place.enter_guarded, own.place.folder) for _ in range(2)]
    try:
        before = Pinned(own.settings.pins)
        for client in clients:
            client.start("alternate", [{"act": act, "args": args} for act, *args in (FIRE, CONNECT)], str(stop))
        own.kill()
        newer = Daemon(own.place, copy)
        newer.start()
        stop.touch()
        counts = [count for client in clients for count in client.finish().value]
        assert all((allowed, other) == (0, 0) and denied > 100 for allowed, denied, other in counts), counts
        after = Pinned(own.settings.pins)
        status = newer.nbsp_json("status")
        records = newer.nbsp_json("journal")["records"]
        assert status["adopted"] and status["generation"] == 1
        assert [record["text"].split()[0] for record in records if record["kind"] == "adopt"] == ["new"]
        assert not before.programs & after.programs and before.maps <= after.maps
        assert before.left("program") == []     # links of cgroups were given the new programs
        assert not before.links - after.links & set(bpf.link_ids())
        assert_balanced(status)
        attempts = sum(denied for _, denied, _ in counts)
        assert status["totals"]["hits"] == attempts, "old and new programs both counted, or neither did"
        assert newer.stop() == 0
    finally:
        for client in clients:
            client.close()


def test_the_journal_is_verified_before_anything_is_signed(own: Daemon) -> None:
    """In the first minute there is a key and no signature: what the daemon wrote last is compared all the same."""
    own.start()
    young = own.nbsp("journal", "verify")
    assert young.returncode == 0 and "nothing is signed yet" in young.stdout, young.stderr
    assert "compared with what the daemon wrote" in young.stdout
    with sqlite3.connect(own.settings.state / "journal.db") as database:
        database.execute("DELETE FROM records WHERE seq = (SELECT max(seq) FROM records)")
    database.close()
    assert own.nbsp("journal", "verify").returncode == 1
