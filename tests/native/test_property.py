"""The verdict of this machine's kernel is the model's: generated rules, processes and accesses, in a thousand cases."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Iterator, Mapping

import pytest

from ..worlds.compare import build, chosen_seed, compare
from ..worlds.declare import OURS
from ..worlds.play import Sight
from .host import Host

WORLDS = 6
CASES = 1000


class NativeGround:
    """The guarded cgroup of the host."""

    def __init__(self, host: Host, actor: Path) -> None:
        self._host = host
        self._serving: list[int] = []
        self.sight = Sight(host.tier, host.has_unix)
        self.base = str(actor.parent)
        self.actor = str(actor)

    def _run(self, verb: str, text: str) -> str:
        return subprocess.run([self.actor, verb], input=text, text=True, stdout=subprocess.PIPE, check=True, timeout=60,
                              preexec_fn=self._host.place.enter_guarded, cwd=self._host.folder).stdout

    def drive(self, script: str) -> str:
        """Run a script."""
        return self._run("drive", script)

    def serve(self, listeners: str) -> None:
        """Listen at these addresses too."""
        self._serving.append(int(self._run("serve", listeners)))

    def close(self) -> None:
        """Stop listening."""
        while self._serving:
            os.kill(self._serving.pop(), signal.SIGKILL)

    def apply(self, rules: str) -> None:
        """Make rules active."""
        (self._host.daemon.settings.rules / "test.yaml").write_text(rules)
        self._host.reload()

    def status(self) -> Mapping[str, Any]:
        """Return the daemon's status."""
        return self._host.daemon.ask("status")


@pytest.fixture
def ground(host: Host) -> Iterator[NativeGround]:
    """A folder of its own, and the addresses of the generated worlds."""
    folder = host.folder / "worlds"
    folder.mkdir()
    for address in OURS:
        host.place.network.run("ip", "address", "add", address, "dev", "lo")
    ground = NativeGround(host, build(folder))
    yield ground
    ground.close()
    host.write()
    host.reload()
    for address in OURS:
        host.place.network.run("ip", "address", "del", f"{address}/{128 if ':' in address else 32}", "dev", "lo")


def test_the_kernel_decides_like_the_model(ground: NativeGround) -> None:
    tally = compare(ground, chosen_seed(), WORLDS,
                    "/usr/bin/python3 -m pytest -s tests/native/test_property.py")
    assert tally.cases >= CASES
    assert tally.results["0"] and tally.results["1"] and tally.results["killed"] and tally.hits
