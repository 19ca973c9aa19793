"""mode, on-bypass, coalescing, and what is told of a violation."""

from __future__ import annotations

import signal

import pytest

from .actor import PYTHON, Dead
from .host import TCP_PORT, UDP_PORT, Host, assert_allowed, assert_denied

DB = {"tcp": [f"127.0.0.1:{TCP_PORT}"], "udp": [f"127.0.0.1:{UDP_PORT}"]}
CONNECT = ("connect", "inet", "stream", ["127.0.0.1", TCP_PORT])


def test_audit_allows_and_tells(host: Host) -> None:
    host.apply(DB, id="audit", mode="audit")
    client = host.actor()
    assert_allowed([("tcp", client.do("ask", "inet", "stream", ["127.0.0.1", TCP_PORT]))])
    records = host.violations("audit")
    assert {record["verdict"] for record in records} == {"audited"}
    assert {record["pid"] for record in records if record["channel"] == "connect"} == {client.pid}
    assert_allowed([("pooler", host.actor("pooler").do(*CONNECT))])
    assert len(host.violations("audit")) == len(records)


@pytest.mark.parametrize("act, arguments", [CONNECT[:1] + (CONNECT[1:],), (
    "fire", ("inet", ["127.0.0.1", UDP_PORT]))])
def test_kill(host: Host, act: str, arguments: tuple[object, ...]) -> None:
    rule = f"kill-{act}"
    host.apply(DB, id=rule, on_bypass="kill")
    client = host.actor()
    client.start(act, *arguments)
    with pytest.raises(Dead) as ended:
        client.finish()                         # perhaps it still says that it was refused
        client.do("pause", 20)
    assert ended.value.args == (-signal.SIGKILL,)
    record, = host.violations(rule)
    assert record["pid"] == client.pid and record["verdict"] in ("killed", "denied")
    assert_allowed([("pooler", host.actor("pooler").do(act, *arguments))])


def test_repeats_are_counted_in_one_record(host: Host) -> None:
    host.apply(DB, id="repeats")
    client = host.actor()
    assert_denied((number, client.do(*CONNECT)) for number in range(50))
    counters = host.counters("repeats")
    assert (counters["hits"], counters["journaled"], counters["lost"]) == (50, 1, 0)
    assert counters["coalesced"] == 49
    assert_denied([("another process", host.actor().do(*CONNECT))])
    assert host.counters("repeats")["journaled"] == 2


def test_what_is_told(host: Host) -> None:
    generation = host.apply(DB, id="told", owner="dba@example.org", reason="pooled only")
    client = host.actor()
    assert_denied([("client", client.do(*CONNECT))])
    record, = host.violations("told")
    assert record["generation"] == generation
    assert (record["owner"], record["reason"], record["missing"]) == ("dba@example.org", "pooled only", ["pooler"])
    assert (record["exe"], record["pid"], record["uid"], record["stamps"] if "stamps" in record else []) == (
        str(PYTHON.resolve()), client.pid, 0, [])
    assert record["cgroup"] == "/nbspd-native/guarded" and record["argv"][0] == str(PYTHON)
    assert record["ancestry"][0]["pid"] > 1
    story = host.daemon.nbsp("explain", str(record["seq"]))
    assert story.returncode == 0 and "told" in story.stdout and "dba@example.org" in story.stdout
    what_if = host.daemon.nbsp_json("explain", "--pid", str(client.pid), "--connect", f"127.0.0.1:{TCP_PORT}")
    assert what_if["allowed"] is False and what_if["missing"][0]["name"] == "pooler"
    assert host.daemon.nbsp("journal", "verify").returncode == 0
