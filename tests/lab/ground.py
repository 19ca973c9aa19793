"""Where a guest plays generated worlds: a folder on its disk, the actor, and nbspd's own socket."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Mapping

from ..worlds.compare import build
from ..worlds.declare import OURS
from ..worlds.play import Sight
from .example import RULES
from .guest import Guest

BASE = "/srv/worlds"
ACTOR = f"{BASE}/actor"
FILE = f"{RULES}/70-world.yaml"
# a Python that starts for each question costs a guest more than all the acts of a world
ASK = ["nc", "-U", "-N", "-w", "60", "/run/nbspd/control.sock"]


class LabGround:
    """A ground for the length of a `with` block."""

    base = BASE
    actor = ACTOR

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._serving: list[str] = []
        attached = {program["name"] for program in self.status()["programs"] if program["attached"]}
        self.sight = Sight(self.status()["tier"], bool(attached & {"cgroup_connect_unix", "unix_stream_connect"}))

    def __enter__(self) -> "LabGround":
        with tempfile.TemporaryDirectory() as folder:
            self._guest.put(ACTOR, build(Path(folder)).read_bytes(), 0o755)
        for address in OURS:
            self._guest.run(["ip", "address", "add", address, "dev", "lo"], check=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._serving:
            self._guest.run(["kill", "-KILL", *self._serving])
        self._guest.run(["rm", "-f", FILE])
        self._ask("reload")
        self._guest.run(["rm", "-rf", BASE])
        for address in OURS:
            self._guest.run(["ip", "address", "del", f"{address}/{128 if ':' in address else 32}", "dev", "lo"])

    def drive(self, script: str) -> str:
        """Run a script."""
        return self._guest.run([ACTOR, "drive"], 120, stdin=script, check=True).output

    def serve(self, listeners: str) -> None:
        """Listen at these addresses too."""
        self._serving.append(self._guest.run([ACTOR, "serve"], stdin=listeners, check=True).output.strip())

    def apply(self, rules: str) -> None:
        """Make rules active."""
        self._guest.put(FILE, rules)
        reply = self._ask("reload")
        assert reply["ok"], f"{reply['cause']}: {reply['problems']}\n{rules}"

    def status(self) -> Mapping[str, Any]:
        """Return the daemon's status."""
        return self._ask("status")

    def _ask(self, verb: str) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(self._guest.run(ASK, 90, stdin=f'{{"verb": "{verb}"}}\n', check=True).output)
        return reply
