"""TCP and UDP: every way to a protected endpoint, refused with EPERM, and the same way through the checkpoint."""

from __future__ import annotations

import errno

import pytest

from .host import TCP_PORT, UDP_PORT, Host, assert_allowed, assert_denied

MPTCP = 262         # IPPROTO_MPTCP, which Python 3.11 does not name

# family and address of every name that this host has for its loopback endpoint
LOCAL = (("inet", "127.0.0.1"), ("inet", "127.0.0.2"), ("inet", "127.200.3.4"), ("inet", "0.0.0.0"), ("inet6", "::1"),
         ("inet6", "::"), ("inet6", "::ffff:127.0.0.1"), ("inet6", "::ffff:127.9.9.9"), ("inet6", "::ffff:0.0.0.0"),
         ("inet", "10.20.30.1"), ("inet6", "::ffff:10.20.30.1"), ("inet6", "fd20::1"))


@pytest.mark.parametrize("declared", ["127.0.0.1", "[::1]"])
def test_a_loopback_endpoint_by_all_its_names(host: Host, declared: str) -> None:
    rule = f"names-{declared.strip('[]').replace(':', '')}".replace(".", "-")
    host.apply({"tcp": [f"{declared}:{TCP_PORT}"]}, id=rule)
    client, pooler = host.actor(), host.actor("pooler")
    assert_denied((address, client.do("connect", family, "stream", [address, TCP_PORT])) for family, address in LOCAL)
    assert_allowed((address, pooler.do("ask", family, "stream", [address, TCP_PORT])) for family, address in LOCAL)
    assert_allowed((address, client.do("ask", family, "stream", [address, TCP_PORT + 10])) for family, address in LOCAL)
    assert host.counters(rule)["hits"] == len(LOCAL)
    record = host.violations(rule)[0]
    assert (record["channel"], record["verdict"], record["missing"]) == ("connect", "denied", ["pooler"])
    assert (record["pid"], record["object"]) == (client.pid, f"tcp 127.0.0.1:{TCP_PORT}")


def test_a_network(host: Host) -> None:
    host.apply({"tcp": [f"10.20.0.0/16:{TCP_PORT}", f"[fd20::/16]:{TCP_PORT}"]}, id="network")
    client, pooler = host.actor(), host.actor("pooler")
    inside = (("inet", "10.20.30.1"), ("inet6", "::ffff:10.20.30.1"), ("inet6", "fd20::1"))
    outside = (("inet", "10.21.0.1"), ("inet", "127.0.0.1"), ("inet6", "::1"))
    assert_denied((address, client.do("connect", family, "stream", [address, TCP_PORT])) for family, address in inside)
    assert_allowed((address, client.do("ask", family, "stream", [address, TCP_PORT])) for family, address in outside)
    assert_allowed((address, pooler.do("ask", family, "stream", [address, TCP_PORT])) for family, address in inside)


def test_datagrams(host: Host) -> None:
    host.apply({"udp": [f"127.0.0.1:{UDP_PORT}"]}, id="datagrams")
    client, pooler = host.actor(), host.actor("pooler")
    assert_denied((("connect", address), client.do("connect", family, "dgram", [address, UDP_PORT]))
                  for family, address in LOCAL)
    assert_denied((("sendto", address), client.do("send_to", family, [address, UDP_PORT])) for family, address in LOCAL)
    assert_denied([("sendmmsg", client.do("send_many", "127.0.0.1", UDP_PORT))])
    assert host.counters("datagrams")["hits"] == 2 * len(LOCAL) + 1
    assert host.database.do("heard").value == []
    assert_allowed(((address, act), pooler.do(act, *arguments)) for family, address in LOCAL for act, arguments in (
        ("connect", [family, "dgram", [address, UDP_PORT]]), ("send_to", [family, [address, UDP_PORT]])))
    assert pooler.do("send_many", "127.0.0.1", UDP_PORT).value == 3


def test_tcp_and_udp_are_apart(host: Host) -> None:
    host.apply({"udp": [f"127.0.0.1:{TCP_PORT}"]}, id="apart")
    assert_allowed([("tcp", host.actor().do("ask", "inet", "stream", ["127.0.0.1", TCP_PORT]))])


def test_fast_open(host: Host) -> None:
    client, pooler = host.actor(), host.actor("pooler")
    where = ["127.0.0.1", TCP_PORT]
    assert_allowed([("before the rules", client.do("fast_open", "inet", where))])     # leaves a cookie behind
    host.apply({"tcp": [f"127.0.0.1:{TCP_PORT}"]}, id="fast-open")
    assert_denied([("client", client.do("fast_open", "inet", where))])
    assert_denied([("client", client.do("fast_open", "inet6", ["::1", TCP_PORT]))])
    assert_allowed([("pooler", pooler.do("fast_open", "inet", where))])


def test_multipath_tcp(host: Host) -> None:
    where = ("inet", "stream", ["127.0.0.1", TCP_PORT], MPTCP)
    host.write()
    host.reload()
    client, pooler = host.actor(), host.actor("pooler")
    outcome = client.do("connect", *where)
    host.apply({"tcp": [f"127.0.0.1:{TCP_PORT}"]}, id="mptcp")
    if outcome.errno in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EINVAL):       # not in this kernel
        assert client.do("connect", *where).errno == outcome.errno
        return
    assert_allowed([("before the rules", outcome)])
    assert_denied([("client", client.do("connect", *where))])
    assert_allowed([("pooler", pooler.do("connect", *where))])


def test_connections_older_than_the_rules_are_cut(host: Host) -> None:
    host.write()
    host.reload()
    client, tcp, udp = host.actor(), ["127.0.0.1", TCP_PORT], ["127.0.0.1", UDP_PORT]
    assert_allowed([("hold", client.do("hold", "tcp", "inet", "stream", tcp)),
                    ("hold", client.do("hold", "udp", "inet", "dgram", udp)),
                    ("use", client.do("use", "tcp")), ("use", client.do("use", "udp"))])
    host.database.do("heard")
    host.apply({"tcp": [f"127.0.0.1:{TCP_PORT}"], "udp": [f"127.0.0.1:{UDP_PORT}"]}, id="older")
    assert_denied([("udp", client.do("use", "udp", "late"))])
    outcome = client.do("use", "tcp", "late")
    assert outcome.errno is None and "timed out" in outcome.error
    assert "late" not in host.database.do("heard").value
    assert {record["channel"] for record in host.violations("older")} == {"packet"}
    host.write()
    host.reload()
    assert_allowed([("the rules are gone", client.do("use", "udp"))])


@pytest.mark.parametrize("is_guarded", [False, True])
def test_a_server_talks_to_an_older_connection_in_vain(host: Host, is_guarded: bool) -> None:
    host.write()
    host.reload()
    client, pooler = host.actor(), host.actor("pooler")
    for actor in (client, pooler):
        for kind, port in (("stream", TCP_PORT), ("dgram", UDP_PORT)):
            assert_allowed([("hold", actor.do("hold", kind, "inet", kind, ["127.0.0.1", port]))])
            if actor is client:
                assert_allowed([("tell", actor.do("tell", kind, "slowly"))])
    if is_guarded:
        host.apply({"tcp": [f"127.0.0.1:{TCP_PORT}"], "udp": [f"127.0.0.1:{UDP_PORT}"]}, id="answers")
    heard = [client.do("hear", kind) for kind in ("stream", "dgram")]
    assert [outcome.is_allowed for outcome in heard] == [not is_guarded] * 2, heard
    if is_guarded:
        assert {record["channel"] for record in host.violations("answers")} == {"arrival"}
        assert_allowed([("anew", pooler.do("ask", "inet", "stream", ["127.0.0.1", TCP_PORT]))])


def test_frames_below_every_filter(host: Host) -> None:
    """A packet socket that leaves out the queue, and a ring of AF_XDP to send from."""
    packet, ring = (17, 263, 20, 1), (44, 283, 3, 4)
    client, pooler = host.actor(), host.actor("pooler")
    host.apply({"unix": ["@nobody-is-there"]}, id="no-network")
    assert_allowed((what, client.do("set_option", *what)) for what in (packet, ring))
    host.apply({"tcp": [f"127.0.0.1:{TCP_PORT}"]}, id="frames")
    assert_denied((what, client.do("set_option", *what)) for what in (packet, ring))
    assert_allowed((what, pooler.do("set_option", *what)) for what in (packet, ring))
    assert_allowed([("another option", client.do("set_option", 17, 263, 8, 1))])
    record = host.violations("raw-frames")[-1]
    assert (record["channel"], record["object"]) == ("raw_frames", "frames that no filter sees")


def test_packets_made_by_hand(host: Host) -> None:
    client, frame = host.actor(), ["127.0.0.1", UDP_PORT, "by hand"]
    host.write()
    host.reload()
    host.database.do("heard")
    for act in ("send_frame", "send_raw"):
        assert_allowed([(act, client.do(act, *frame))])
        host.database.do("pause", 0.1)
        assert host.database.do("heard").value == ["by hand"], "the act itself does not work here"
    host.apply({"udp": [f"127.0.0.1:{UDP_PORT}"]}, id="by-hand")
    assert_denied([("raw", client.do("send_raw", *frame))])
    assert client.do("send_frame", *frame).errno == errno.ENOBUFS     # as a full queue would say it: the device refused
    host.database.do("pause", 0.1)
    assert host.database.do("heard").value == []
    assert [record["channel"] for record in host.violations("by-hand")] == ["packet", "interface"]


def test_first_fragment_without_data(host: Host) -> None:
    """It brings its data in the next one, which has no ports; whole and without data it may be the kernel's own."""
    client = host.actor()
    host.apply({"tcp": [f"127.0.0.1:{TCP_PORT}"]}, id="fragment")
    assert_allowed([("whole", client.do("send_bare", "127.0.0.1", TCP_PORT))])
    assert_denied([("fragment", client.do("send_bare", "127.0.0.1", TCP_PORT, 0x2000))])
    host.write()
    host.reload()
    assert_allowed([("without rules", client.do("send_bare", "127.0.0.1", TCP_PORT, 0x2000))])
