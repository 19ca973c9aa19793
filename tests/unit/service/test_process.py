"""The daemon as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from nbspd.control.client import ask
from nbspd.errors import EXIT_OK
from nbspd.paths import Settings

from .running import kinds

MAIN = """
import sys
from pathlib import Path
import tests.conftest
from tests.unit.fakes import Begin
from nbspd import service
import nbspd.programs
import types
fake = types.ModuleType("nbspd.programs.enforcer")
class Enforcer:
    start = Begin()
fake.Enforcer = Enforcer
sys.modules["nbspd.programs.enforcer"] = fake
from nbspd.paths import Settings
root = Path(sys.argv[1])
sys.exit(service.run(Settings(rules=root / "rules.d", state=root / "state", runtime=root / "run")))
"""


@contextmanager
def killed(daemon: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a daemon whatever failed: leaving a Popen waits for it."""
    try:
        yield
    finally:
        daemon.kill()


def test_as_a_process_with_systemd_a_second_daemon_and_sigterm(settings: Settings, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        environment.pop("WATCHDOG_PID", None)
        command = ["/usr/bin/python3", "-c", MAIN, str(tmp_path)]
        with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE) as daemon, killed(daemon):
            assert manager.recv(999) == b"READY=1\nSTATUS=enforcing: generation 1, 1 rules, tier lsm"
            assert manager.recv(999) == b"WATCHDOG=1"
            assert ask("ping", settings.control_socket)["pid"] == daemon.pid
            second = subprocess.run(command, cwd=root, env=os.environ | {"NOTIFY_SOCKET": ""}, capture_output=True,
                                    text=True, timeout=30)
            assert second.returncode != 0 and f"another nbspd is running (pid {daemon.pid})" in second.stderr
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == EXIT_OK
            heard = b""
            while b"STOPPING=1" not in heard:
                heard = manager.recv(999)
    assert kinds(settings) == ["start", "stop"]
