"""What the loop waits on: timers, network news, systemd."""

import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from nbspd.control import netlink
from nbspd.control.loop import WRITE, Loop
from nbspd.control.netlink import HEADER, RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, NetworkNews, messages
from nbspd.control.notify import Notifier, inherited_socket, watchdog_interval_s
from nbspd.control.timer import Timer, boot_time_s


def test_a_timer_fires_once_or_again_and_again() -> None:
    loop, timer, fired = Loop(), Timer(), []
    loop.watch(timer, lambda events: fired.append(timer.read()))
    timer.after(0.01)
    assert timer.is_armed
    loop.run_once(5)
    loop.run_once(0.05)
    assert fired == [1]
    timer.every(0.01)
    loop.run_once(5)
    loop.run_once(5)
    assert len(fired) == 3 and timer.read() == 0
    timer.cancel()
    loop.run_once(0.03)
    assert len(fired) == 3 and not timer.is_armed
    timer.close()
    loop.close()


def test_a_moment_in_the_past_fires_at_once() -> None:
    loop, timer, fired = Loop(), Timer("boot"), []
    loop.watch(timer, lambda events: fired.append(timer.read()))
    for moment in (-5.0, 0.0, boot_time_s() - 100, boot_time_s() + 0.02):
        timer.at(moment)
        loop.run_once(5)
    assert len(fired) == 4
    timer.close()
    loop.close()


def test_a_handler_may_forget_what_is_ready_too() -> None:
    loop = Loop()
    pairs = [os.pipe() for _ in range(2)]
    served = []

    def serve(index: int) -> None:
        served.append(index)
        for reader, _ in pairs:
            loop.forget(reader)
    for index, (reader, writer) in enumerate(pairs):
        os.write(writer, b"x")
        loop.watch(reader, lambda events, index=index: serve(index))    # type: ignore[misc]
    loop.run_once(5)
    loop.run_once(0)
    assert len(served) == 1
    loop.watch(pairs[0][1], lambda events: served.append(events), WRITE)
    loop.run_once(5)
    assert served[-1] & WRITE
    loop.close()
    for pair in pairs:
        os.close(pair[0])
        os.close(pair[1])


def message(kind: int, index: int, length: int | None = None) -> bytes:
    body = struct.pack("=BxHi", 0, 0, index) + bytes(8)
    return HEADER.pack(HEADER.size + len(body) if length is None else length, kind, 0, 0, 0) + body


def test_messages_are_found_and_broken_ones_are_not_followed() -> None:
    data = message(RTM_NEWLINK, 3) + message(99, 4) + message(RTM_NEWADDR, 5) + message(RTM_DELADDR, 6)
    assert list(messages(data)) == [(RTM_NEWLINK, 3), (RTM_NEWADDR, 5), (RTM_DELADDR, 6)]
    assert list(messages(message(RTM_DELLINK, 3)[:20])) == []
    assert list(messages(message(RTM_NEWLINK, 3, 0))) == [] == list(messages(message(RTM_NEWLINK, 3, 9000)))
    assert list(messages(message(RTM_NEWLINK, 3, 17) + bytes(7))) == []


def in_new_namespace(script: str) -> str:
    """Run a script in a network namespace of its own."""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(["unshare", "--net", "/usr/bin/python3", "-c", "import tests.conftest\n" + script], cwd=root,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_interface_and_a_new_address_are_news() -> None:
    output = in_new_namespace("""
import select, subprocess
from nbspd.control.netlink import NetworkNews
news = NetworkNews()
run = lambda text: subprocess.run(["/usr/bin/env", "ip", *text.split()], check=True)
def look():
    assert select.select([news], [], [], 10)[0]
    found = news.read()
    print([name for _, name in found.appeared], found.addresses, found.lost)
run("link add name one0 type bridge")
look()
run("link set one0 up")
news.read()
run("address add 192.0.2.1/24 dev one0")
look()
run("link del one0")
news.read()
run("link add name two0 type bridge")
look()
""")
    assert output.splitlines() == ["['one0'] False False", "[] True False", "['two0'] False False"]


def test_after_lost_news_every_interface_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    news = NetworkNews()

    class Overrun:
        answers: list[OSError] = [OSError(105, "No buffer space available"), BlockingIOError()]

        def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
            raise self.answers.pop(0)

        def close(self) -> None:
            pass
    news.socket.close()
    news.socket = Overrun()     # type: ignore[assignment]
    found = news.read()
    assert found.lost and found.addresses and found.appeared == tuple(socket.if_nameindex())
    assert netlink.RTMGRP_LINK == 1


def test_what_systemd_hears(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        notifier = Notifier(str(tmp_path / "notify"))
        notifier.ready("enforcing")
        assert manager.recv(999) == b"READY=1\nSTATUS=enforcing"
        notifier.reloading()
        first, second = manager.recv(999).decode().split("\n")
        assert first == "RELOADING=1" and second.startswith("MONOTONIC_USEC=")
        assert 0 <= time.monotonic() * 1e6 - int(second.partition("=")[2]) < 5e6
        notifier.alive()
        assert manager.recv(999) == b"WATCHDOG=1"
        notifier.stopping()
        assert manager.recv(999).startswith(b"STOPPING=1\n")
        notifier.status("x")
        assert manager.recv(999) == b"STATUS=x"


def test_systemd_in_the_abstract_namespace_absent_or_deaf(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0nbspd-test-notify")
        Notifier("@nbspd-test-notify").alive()
        assert manager.recv(999) == b"WATCHDOG=1"
    Notifier("").ready("x")
    Notifier(str(tmp_path / "nobody")).ready("x")


def test_the_watchdog_is_fed_at_half_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert watchdog_interval_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_interval_s() == 15.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_interval_s() is None
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_interval_s() == 15.0
    monkeypatch.setenv("WATCHDOG_USEC", "0")
    assert watchdog_interval_s() is None


def test_a_socket_of_somebody_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert inherited_socket() is None
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert inherited_socket() is None
