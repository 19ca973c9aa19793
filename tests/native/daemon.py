"""The daemon under test: a process of the checkout's nbspd in a place of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from .place import Place

from nbspd.control.client import ask

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class DaemonFailed(Exception):
    """The daemon ended, or was not active in time; the argument is what it said."""


class Daemon:
    """Starts, asks and stops it; what it says goes to a file."""

    def __init__(self, place: Place, root: Path = ROOT, tier: str = "auto") -> None:
        """`root` is the checkout, or a copy of it, whose daemon is to run."""
        self.place = place
        self.settings = place.settings()
        self.root = root
        self.tier = tier
        self.log = place.folder / "nbspd.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command line."""
        told = self.settings
        return [sys.executable, "-m", "tests.native.command", "nbspd", "--rules", str(told.rules), "--state",
                str(told.state), "--runtime", str(told.runtime), "--pins", str(told.pins), "--cgroup", str(told.cgroup),
                "--tier", self.tier]

    def launch(self) -> subprocess.Popen[bytes]:
        """Start a process with that command line, in the namespace but outside what is guarded."""
        self.settings.rules.mkdir(exist_ok=True)
        with open(self.log, "ab") as log:
            return subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root,
                                    preexec_fn=self.settle)

    def settle(self) -> None:
        """Move a child to where it belongs."""
        self.place.cgroup.join()
        self.place.network.join()

    def start(self) -> None:
        """Start it and wait until rules are active. Raises DaemonFailed."""
        self.process = self.launch()
        self.wait_active()

    def wait_active(self) -> None:
        """Wait until rules are active. Raises DaemonFailed."""
        done = self.nbsp("status", "--wait", str(START_TIMEOUT_S))
        if done.returncode != 0:
            raise DaemonFailed(f"{done.stdout}{done.stderr}{self.said()}")

    def nbsp(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the operator's command against it."""
        where = ["--runtime", str(self.settings.runtime)]
        if arguments[:2] == ("journal", "verify"):
            where += ["--state", str(self.settings.state)]
        return subprocess.run([sys.executable, "-m", "tests.native.command", "nbsp", *arguments, *where], cwd=ROOT,
                              text=True, capture_output=True, stdin=subprocess.DEVNULL)

    def nbsp_json(self, *arguments: str) -> Any:
        """Run the operator's command and return the object that it prints."""
        return json.loads(self.nbsp(*arguments, "--json").stdout)

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Ask over the control socket. Raises NbspdError."""
        reply: dict[str, Any] = ask(verb, self.settings.control_socket, timeout_s=START_TIMEOUT_S, **fields)
        return reply

    def said(self) -> str:
        """Return what it wrote to its log."""
        return self.log.read_text() if self.log.exists() else ""

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> int:
        """End it as systemd would; return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)
