"""rules/20: the web is reached only through squid. The outside is a network namespace with a web server."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .example import Applied, as_alice, assert_refused, assert_told, perform

RULE = "egress-through-squid"
OUTSIDE = ("http://10.99.0.2/page", "http://[fd00:99::2]/page")
CURL = "curl -sS --max-time 30"
NETWORK = """set -e
ip netns add outside
ip link add inside0 type veth peer name outside0 netns outside
ip addr add 10.99.0.1/24 dev inside0
ip addr add fd00:99::1/64 dev inside0 nodad
ip link set inside0 up
ip -n outside addr add 10.99.0.2/24 dev outside0
ip -n outside addr add fd00:99::2/64 dev outside0 nodad
ip -n outside link set outside0 up
ip -n outside link set lo up
mkdir -p /srv/outside
echo outside > /srv/outside/page
systemd-run --quiet --collect --unit=outside-web \
    ip netns exec outside python3 -m http.server 80 --bind :: --directory /srv/outside
"""
SQUID = "pinger_enable off\nshutdown_lifetime 1 second\ncache deny all\n"


@pytest.fixture(scope="module")
def applied(guest: Guest) -> Iterator[Applied]:
    """The proxy runs before the rules come."""
    guest.put("/etc/squid/conf.d/lab.conf", SQUID)
    try:
        guest.run(NETWORK, 60, check=True)
        guest.run("systemctl restart squid", 240, check=True)
        for url in OUTSIDE:
            answered = guest.run(f"{CURL} --retry 30 --retry-connrefused --retry-delay 1 {url}", 90)
            assert (answered.status, answered.output) == (0, "outside\n"), "without rules the direct way works"
        with Applied.shipped(guest, "20-egress-through-squid.yaml") as applied:
            yield applied
    finally:
        guest.run("systemctl stop squid outside-web; ip link del inside0; ip netns del outside", 120)


def through_squid(guest: Guest) -> list[tuple[int, str]]:
    """Ask for the pages by the proxy."""
    done = [guest.run(f"{CURL} --retry 10 --retry-connrefused --retry-delay 1 -x http://127.0.0.1:3128 '{url}'", 90)
            for url in OUTSIDE]
    return [(each.status, each.output) for each in done]


def test_proxy_that_ran_already_fetches(guest: Guest, applied: Applied) -> None:
    assert through_squid(guest) == [(0, "outside\n")] * 2


def test_curl_around_the_proxy_is_refused_and_told(guest: Guest, applied: Applied) -> None:
    for url, thing in zip(OUTSIDE, ("tcp 10.99.0.2:80", "tcp [fd00:99::2]:80")):
        assert_refused(guest.run(as_alice(f"{CURL} -v '{url}'"), 60))
        record = applied.violations(RULE, object=thing, comm="curl")[-1]
        assert_told(record, RULE, ["squid"])
        assert "/page" in " ".join(record["argv"])


def test_every_way_out_is_closed(guest: Guest, applied: Applied) -> None:
    acts = [["connect", "10.99.0.2", 80], ["connect", "10.99.0.2", 443], ["connect", "fd00:99::2", 443],
            ["connect", "::ffff:10.99.0.2", 80], ["fast-open", "10.99.0.2", 80], ["send", "10.99.0.2", 443],
            ["send", "fd00:99::2", 443]]
    assert dict(zip(map(str, acts), perform(guest, acts))) == {str(act): "EPERM" for act in acts}


def test_other_ports_are_open(guest: Guest, applied: Applied) -> None:
    assert perform(guest, [["connect", "10.99.0.2", 8080]]) == ["ECONNREFUSED"]


def test_restarted_proxy_fetches(guest: Guest, applied: Applied) -> None:
    guest.run("systemctl restart squid", 240, check=True)
    assert through_squid(guest) == [(0, "outside\n")] * 2


def test_squid_of_somebody_else_does_not_count(guest: Guest, applied: Applied) -> None:
    config = "http_port 127.0.0.1:3129\nhttp_access allow all\npid_filename /run/own-squid.pid\n" + SQUID
    guest.put("/run/own-squid.conf", config)
    guest.run("/usr/sbin/squid -f /run/own-squid.conf", 60, check=True)
    try:
        answered = guest.run(f"{CURL} --retry 10 --retry-connrefused --retry-delay 1 -x http://127.0.0.1:3129 "
                             f"{OUTSIDE[0]}", 90)
        assert "outside\n" != answered.output and "Operation not permitted" in answered.output
        assert applied.violations(RULE, object="tcp 10.99.0.2:80", comm="squid")
    finally:
        guest.run("/usr/sbin/squid -f /run/own-squid.conf -k kill", 30)


def test_coverage_calls_the_plain_ways_enforced(guest: Guest, applied: Applied) -> None:
    assert applied.state(RULE).startswith("enforced")
    assert {applied.coverage(RULE)[channel] for channel in ("connect", "send", "older-connection")} == {"enforced"}
