"""What systemd is told: the protocol of sd_notify(3), which is one datagram."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Tells the service manager of the daemon's state; does nothing outside a service manager."""

    def __init__(self, address: str | None = None) -> None:
        self.address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address

    def send(self, *lines: str) -> None:
        """Send some assignments. A service manager that does not listen is no reason to fail."""
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, name)
            except OSError:
                pass

    def ready(self, status: str) -> None:
        """Say that rules are active."""
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload began; READY=1 must follow whatever comes of it (Type=notify-reload)."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that the daemon stops reading."""
        self.send("STOPPING=1", "STATUS=stopped; enforcement goes on in the kernel")

    def status(self, status: str) -> None:
        """Say something for `systemctl status`."""
        self.send(f"STATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self.send("WATCHDOG=1")

    def patience(self, limit_s: float) -> None:
        """Ask the watchdog to wait so long from now on."""
        self.send(f"WATCHDOG_USEC={int(limit_s * 1e6)}")


def watchdog_interval_s() -> float | None:
    """Return half the time systemd's watchdog waits, or None when it does not watch this process."""
    watched = os.environ.get("WATCHDOG_PID", "")
    limit = os.environ.get("WATCHDOG_USEC", "")
    if not limit.isdigit() or int(limit) == 0 or (watched and watched != str(os.getpid())):
        return None
    return int(limit) / 2e6


def inherited_socket() -> socket.socket | None:
    """Return the socket that systemd made for us (socket activation), or None."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=3)
