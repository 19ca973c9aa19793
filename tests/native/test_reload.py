"""Reload, confirmation, rollback; and no verdict that mixes two rule sets."""

from __future__ import annotations

import os
from typing import Any

import pytest

from .actor import PYTHON
from .host import TCP_PORT, UDP_PORT, Host, assert_allowed, assert_denied

DB = {"tcp": [f"127.0.0.1:{TCP_PORT}"]}
CONNECT = ("connect", "inet", "stream", ["127.0.0.1", TCP_PORT])
RELOADS = int(os.environ.get("NBSPD_RELOADS", "40"))     # 1000 for the whole proof
NICE = 10                   # the load takes what the daemon leaves
X, Y, Z = UDP_PORT, UDP_PORT + 10, UDP_PORT + 20


def test_errors_change_nothing_and_are_all_told(host: Host) -> None:
    generation = host.apply(DB, id="errors")
    client = host.actor()
    folder = host.daemon.settings.rules
    (folder / "b.yaml").write_text("version: 1\nnonsense: 1\nrules:\n"
                                   "  - {id: dangling, protect: nowhere, only-through: [noone], mode: maybe}\n")
    (folder / "c.yaml").write_text("version: 1\nresources: {bad: {tcp: ['127.0.0.1:70000', '10.0.0.1/8:1']}}\n")
    try:
        done = host.daemon.nbsp("reload")
        assert done.returncode == 1
        for where in ("b.yaml:2:1:", "b.yaml:4:", "c.yaml:2:"):
            assert where in done.stderr
        for what in ("nonsense", "nowhere", "noone", "maybe", "70000", "10.0.0.1/8"):
            assert what in done.stderr, done.stderr
    finally:
        for name in ("b.yaml", "c.yaml"):
            (folder / name).unlink()
    assert host.status()["generation"] == generation
    assert host.last("reload-failed")["text"]
    assert_denied([("client", client.do(*CONNECT))])


def test_what_only_this_host_can_tell(host: Host) -> None:
    generation = host.apply(DB, id="host-errors")
    script = host.folder / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    host.write({"gone": {"exe": host.path("nothing-here")}, "script": {"exe": str(script)},
                "user": {"exe": str(host.programs["pooler"]), "user": "no-such-user"},
                "sum": {"exe": str(host.programs["bastion"]), "sha256": "0" * 64}},
               {"db": DB}, [{"id": "host-errors", "protect": "db", "only-through": ["gone", "script", "user", "sum"]}])
    done = host.daemon.nbsp("reload")
    assert done.returncode == 1
    for what in ("nothing-here", "script", "no-such-user", "sha256"):
        assert what in done.stderr, done.stderr
    assert host.status()["generation"] == generation
    assert_denied([("client", host.actor().do(*CONNECT))])


def test_confirmation(host: Host) -> None:
    host.apply(DB, id="confirm")
    client = host.actor()
    host.write()
    host.daemon.ask("reload", confirm_within_s=1)
    assert_allowed([("the rules are gone", client.do(*CONNECT))])
    seen = host.status()["journal"]["last"]
    while not any(record["kind"] == "rollback" for record in host.daemon.ask(
            "journal", after=seen, follow=True)["records"]):
        continue
    assert_denied([("they are back by themselves", client.do(*CONNECT))])
    host.write({}, {"db": {"tcp": [f"127.0.0.1:{TCP_PORT + 10}"]}},
               [{"id": "confirm", "protect": "db", "only-through": []}])
    host.daemon.ask("reload", confirm_within_s=60)
    assert host.status()["pending"]
    host.daemon.ask("confirm")
    assert host.status()["pending"] is None
    assert_allowed([("kept", client.do(*CONNECT))])


def test_rollback(host: Host) -> None:
    host.apply(DB, id="rollback")
    client, bastion = host.actor(), host.actor("bastion")
    host.apply(DB, id="rollback", only_through=["bastion"])
    assert_allowed([("bastion", bastion.do(*CONNECT))])
    assert host.daemon.nbsp("rollback").returncode == 0
    assert_denied([("bastion", bastion.do(*CONNECT)), ("client", client.do(*CONNECT))])
    assert_allowed([("pooler", host.actor("pooler").do(*CONNECT))])
    assert host.reload()


def two_sets(host: Host) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two sets over the same resources that accept opposite checkpoints."""
    def rules(one: str, two: str) -> list[dict[str, Any]]:
        return [{"id": "x-1", "protect": "x", "only-through": [one, "agent"]},
                {"id": "x-2", "protect": "x", "only-through": [one]},
                {"id": "y", "protect": "y", "only-through": [two]},
                {"id": "z", "protect": "z", "only-through": ["agent"]}]

    same = {"checkpoints": {name: {"exe": str(host.programs[name])} for name in ("pooler", "bastion", "agent")},
            "resources": {name: {"udp": [f"127.0.0.1:{port}"]} for name, port in (("x", X), ("y", Y), ("z", Z))}}
    return {**same, "rules": rules("pooler", "bastion")}, {**same, "rules": rules("bastion", "pooler")}


@pytest.mark.slow
def test_no_verdict_mixes_two_rule_sets(host: Host) -> None:
    set_a, set_b = two_sets(host)
    host.write(**set_a)
    first = host.reload()
    names, stop = ("pooler", "bastion", "agent", "client"), host.folder / "stop-alternating"
    actors = {name: host.actor(name) for name in names}
    acts = [{"act": "fire", "args": ["inet", ["127.0.0.1", port]]} for port in (X, Y, Z)]
    for actor in actors.values():
        actor.do("nice", NICE)
        actor.start("alternate", acts, str(stop))
    z = ("fire", "inet", ["127.0.0.1", Z])
    family = host.actor("agent")            # whose children come and go while the sets change
    family.start("alternate", [{"act": "in_fork", "args": z},
                               {"act": "children", "args": [str(host.programs["agent"]), *z]},
                               {"act": "children", "args": [str(PYTHON), *z]}], str(stop))
    generations = {first: "A"}
    try:
        for number in range(RELOADS):
            host.write(**(set_a, set_b)[(number + 1) % 2])
            generations[host.reload()] = "AB"[(number + 1) % 2]
    finally:
        stop.touch()
    counts = {name: actor.finish().value for name, actor in actors.items()}
    forked, executed, strangers = family.finish().value
    stop.unlink()
    assert forked[1:] == executed[1:] == [0, 0] and strangers[0] == strangers[2] == 0, (forked, executed, strangers)
    assert forked[0] and executed[0] and strangers[1]
    for name, ports in counts.items():
        assert all(other == 0 for _, _, other in ports), (name, ports)
    for name in ("pooler", "bastion"):                      # each allowed at either, now and then
        assert all(allowed and denied for allowed, denied, _ in counts[name][:2]), counts
    assert all(allowed == 0 for allowed, _, _ in counts["client"]), counts
    assert counts["agent"][0][0] == counts["agent"][1][0] == 0, counts
    assert counts["agent"][2][1] == 0 and counts["agent"][2][0], counts
    hits = {row["id"]: row["counters"]["hits"] for row in host.status()["rules"]}
    # x-1 and x-2 refuse the same accesses in either set, except the agent's, whom x-1 accepts in both
    assert hits["x-2"] - hits["x-1"] == counts["agent"][0][1], (hits, counts)
    refused = {"A": {("x-1", "bastion"), ("x-2", "bastion"), ("y", "pooler")},
               "B": {("x-1", "pooler"), ("x-2", "pooler"), ("y", "bastion")}}
    for rule in ("x-1", "x-2", "y", "z"):
        for record in host.violations(rule):
            name = os.path.basename(record["exe"])
            if name in ("pooler", "bastion") and rule != "z":
                assert (rule, name) in refused[generations[record["generation"]]], record
