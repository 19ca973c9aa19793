"""Network devices that appear while the daemon runs are filtered too."""

from __future__ import annotations

import errno
import subprocess
import time
from typing import Iterator

import pytest

from .host import UDP_PORT, Host, assert_allowed, assert_denied

THERE = "10.77.0.2"         # beyond the device: nobody answers there, but the packets leave
APPEARS_WITHIN_S = 10.0


@pytest.fixture
def veth(host: Host) -> Iterator[Host]:
    """The host with a new pair of devices, nbspd-a with an address and nbspd-b."""
    run = host.place.network.run
    run("ip", "link", "add", "nbspd-a", "type", "veth", "peer", "name", "nbspd-b")
    try:
        for words in (("address", "add", "10.77.0.1/24", "dev", "nbspd-a"), ("link", "set", "nbspd-b", "up"),
                      ("link", "set", "nbspd-a", "up"),
                      ("neighbour", "add", THERE, "lladdr", "02:00:00:00:00:02", "dev", "nbspd-a")):
            run("ip", *words)
        yield host
    finally:
        run("ip", "link", "del", "nbspd-a")


def filters(host: Host, device: str) -> str:
    """Return the filters on what leaves by a device, as tc shows them."""
    return subprocess.run(["tc", "filter", "show", "dev", device, "egress"], text=True, stdout=subprocess.PIPE,
                          check=True, preexec_fn=host.place.network.join).stdout


def test_a_new_device(veth: Host) -> None:
    deadline = time.monotonic() + APPEARS_WITHIN_S
    unfiltered = {"nbspd-a", "nbspd-b"}         # each is announced by itself, and gets its filter by itself
    while unfiltered and time.monotonic() < deadline:
        veth.daemon.ask("ping")
        unfiltered = {device for device in unfiltered if "nbspd" not in filters(veth, device)}
    assert not unfiltered
    client, pooler = veth.actor(), veth.actor("pooler")
    fire, frame = ("fire", "inet", [THERE, UDP_PORT]), (
        "send_frame", THERE, UDP_PORT, "by hand", "nbspd-a", "10.77.0.1")
    veth.write()
    veth.reload()
    assert_allowed([("fire", client.do(*fire)), ("frame", client.do(*frame))])
    veth.apply({"udp": [f"10.77.0.0/24:{UDP_PORT}"]}, id="veth")
    assert_denied([("fire", client.do(*fire))])
    assert client.do(*frame).errno == errno.ENOBUFS
    assert_allowed([("pooler", pooler.do(*fire))])
    assert pooler.do(*frame).errno == errno.ENOBUFS      # a frame has no stamp, whoever sends it
    assert [(record["channel"], record["object"]) for record in veth.violations("veth")] == [
        ("send", f"udp {THERE}:{UDP_PORT}"), ("interface", f"udp {THERE}:{UDP_PORT} by nbspd-a"),
        ("interface", f"udp {THERE}:{UDP_PORT} by nbspd-a")]
