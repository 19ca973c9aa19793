"""What the drill tries on sockets handed over or older than the rules, and on other transports."""

from __future__ import annotations

import json
from typing import Any

from . import Guest

TRIED = ("h5-passed-", "h5-taken-", "h5-older-tcp", "h5-older-udp", "h5-older-subscription", "packet-bypass", "h4-xdp",
         "h4-tun-localnet", "sctp", "udplite", "h4-raw-", "h4-fast-open-")
# tier socket has no hook for files and none that sees a descriptor arrive; 32-bit system calls leave out one it has
OPEN_IN_SOCKET = ("h5-passed-", "h5-taken-", "h3-packet-bypass-32-")
DRILL_TIMEOUT_S = 900


def drill(guest: Guest, *only: str) -> dict[str, Any]:
    """Run a part of the drill in the guest and return its report."""
    words = " ".join(f"--only {part}" for part in only)
    result = guest.run(f"nbsp drill --json {words} < /dev/null", timeout_s=DRILL_TIMEOUT_S)
    report: dict[str, Any] = json.loads(result.output)
    assert report.get("results"), result.output
    return report


def test_no_socket_leads_around(guest: Guest) -> None:
    report = drill(guest, *TRIED)
    outcomes = {result["id"]: result["outcome"] for result in report["results"]}
    open_here = OPEN_IN_SOCKET if guest.tier == "socket" else ()
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome not in ("blocked", "absent")
             and not (outcome in ("through", "open") and name.startswith(open_here or ("-",)))}
    assert not wrong
    assert outcomes["h4-tcp-sctp-v4-connect"] == outcomes["h4-sctp-many-v6-send"] == "blocked"     # Debian has SCTP
    assert len(outcomes) > 40 and not report["leftovers"]
