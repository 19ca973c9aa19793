"""Channels that a host does not have at all, by asking it."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def absent_channels(proc: Path = PROC) -> dict[str, str]:
    """Return the ids of the channels that do not exist on this host now, each with the reason."""
    found: dict[str, str] = {}
    if read_number(proc / "sys/kernel/io_uring_disabled") == 2:
        for channel in ("io-uring-file", "io-uring-change", "io-uring-socket", "uring-file"):
            found[channel] = "kernel.io_uring_disabled is 2"
    mptcp = proc / "sys/net/mptcp/enabled"
    if not mptcp.exists():
        found["mptcp"] = "this kernel has no MPTCP"
    elif read_number(mptcp) == 0:
        found["mptcp"] = "net.mptcp.enabled is 0"
    fast_open = read_number(proc / "sys/net/ipv4/tcp_fastopen")
    if fast_open is not None and not fast_open & 1:
        found["fast-open"] = "net.ipv4.tcp_fastopen is off for clients"
    return found


def read_number(path: Path) -> int | None:
    """Return the number in a file, None when there is none to be had."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
