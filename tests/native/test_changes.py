"""The host changes under the rules: a new address, another program in a checkpoint's place."""

from __future__ import annotations

import os
import shutil
from typing import Iterator

import pytest

from .host import TCP_PORT, Host, assert_allowed, assert_denied

DB = {"tcp": [f"127.0.0.1:{TCP_PORT}"]}
NEW = "10.88.0.1"
ASK = ("ask", "inet", "stream", ["127.0.0.1", TCP_PORT])


@pytest.fixture
def address(host: Host) -> Iterator[str]:
    """An address that the host gets after the rules."""
    host.apply(DB, id="address")
    host.place.network.run("ip", "address", "add", f"{NEW}/32", "dev", "lo")
    yield NEW
    host.place.network.run("ip", "address", "del", f"{NEW}/32", "dev", "lo")


def test_a_new_address_of_the_host(host: Host, address: str) -> None:
    client, where = host.actor(), ["inet", "stream", [address, TCP_PORT]]
    at_once = client.do("connect", *where)
    assert not at_once.is_allowed, "the packet layer knows no addresses, it must see the loopback device"
    while not any("endpoints" in record.get("text", "") for record in host.daemon.ask("journal")["records"][-5:]):
        host.daemon.ask("ping")
    assert_denied([("connect", client.do("connect", *where))])
    assert_allowed([("pooler", host.actor("pooler").do("ask", *where))])


def held_inodes(host: Host) -> set[int]:
    """Return the numbers of the inodes that the daemon holds open."""
    assert host.daemon.process is not None
    found = set()
    for entry in os.scandir(f"/proc/{host.daemon.process.pid}/fd"):
        try:
            found.add(os.stat(entry.path).st_ino)
        except FileNotFoundError:
            continue
    return found


def test_another_program_in_the_place_of_a_checkpoint(host: Host) -> None:
    program = host.programs["other"]
    host.apply(DB, id="replaced", only_through=["other"])
    old = host.actor("other")
    assert_allowed([("the checkpoint", old.do(*ASK))])
    before = os.stat(program).st_ino
    fresh = program.with_name("fresh")
    shutil.copy(program, fresh)
    os.rename(fresh, program)                   # as a package upgrade does it
    assert os.stat(program).st_ino != before
    assert held_inodes(host) >= {before}, "its number may be given to a file of anybody's"
    if host.tier == "socket":
        assert_denied([("not declared yet", host.actor("other").do(*ASK))])
    host.reload()
    assert before not in held_inodes(host) and os.stat(program).st_ino in held_inodes(host)
    assert_allowed([("declared", host.actor("other").do(*ASK))])
    assert_denied([("the program of before", old.do(*ASK))])
