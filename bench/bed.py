"""A daemon of its own for a benchmark: folders, cgroup and pins that nobody else uses, all of it gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conftest import ROOT
from nbspd.control.client import Client
from nbspd.kernel.mounts import cgroup2_root

DAEMON = "import sys, tests.conftest; from nbspd.cli.nbspd import main; sys.exit(main())"
READY_TIMEOUT_S = 300.0
CHANGE_TIMEOUT_S = 300.0
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A benchmark could not be run."""


class Bed:
    """Starts and stops nbspd as often as wanted over the same folders; use it in a `with` statement."""

    def __init__(self, tier: str = "auto") -> None:
        self.tier = tier
        self.folder = Path(tempfile.mkdtemp(prefix="nbspd-bench-"))
        self.rules, self.state, self.runtime = (self.folder / name for name in ("rules", "state", "run"))
        self.rules.mkdir()
        self.pins = Path("/sys/fs/bpf", self.folder.name)
        self.cgroup = cgroup2_root() / self.folder.name
        self.daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Bed:
        self.cgroup.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if self.daemon is None:
                self.start()
            self.ask("detach", reason="the benchmark is over")
        finally:
            self.stop()
            self.cgroup.rmdir()
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> float:
        """Start the daemon and return the seconds until it said READY: rules are active from then on."""
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self.folder / "notify"
        address.unlink(missing_ok=True)
        told.bind(str(address))
        told.settimeout(READY_TIMEOUT_S)
        words = [sys.executable, "-c", DAEMON, "--tier", self.tier]
        for option in ("rules", "state", "runtime", "pins", "cgroup"):
            words += [f"--{option}", str(getattr(self, option))]
        with told, open(self.folder / "log", "wb") as log:
            begin = time.monotonic()
            self.daemon = subprocess.Popen(words, cwd=ROOT, stderr=log, preexec_fn=self._die_with_us,
                                           env={**os.environ, "NOTIFY_SOCKET": str(address)})
            while True:
                try:
                    heard = told.recv(4096)
                except TimeoutError:
                    raise BenchError(f"nbspd did not start: {self.log()}") from None
                if b"READY=1" in heard:
                    return time.monotonic() - begin
                if self.daemon.poll() is not None or b"STOPPING=1" in heard:
                    raise BenchError(f"nbspd ended: {self.log()}")

    @staticmethod
    def _die_with_us() -> None:
        import ctypes
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the daemon; what is enforced stays."""
        if self.daemon is not None:
            self.daemon.send_signal(number)
            self.daemon.wait()
            self.daemon = None

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Return the daemon's reply to a verb of the control protocol."""
        with Client(self.runtime / "control.sock", timeout_s=CHANGE_TIMEOUT_S) as client:
            return dict(client.ask(verb, **fields))

    def resident_mib(self) -> float:
        """Return the memory of the daemon that is resident, shared pages included."""
        return int(self._proc("statm").split()[1]) * PAGE_KIB / 1024

    def private_mib(self) -> float:
        """Return the part of it that belongs to no file and is shared with nobody."""
        line = next(line for line in self._proc("status").splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) / 1024

    def cpu_s(self) -> float:
        """Return the processor time that the daemon and its children have used."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * TICK_S

    def wakeups(self) -> int:
        """Return how often the daemon has given up the processor to wait."""
        line = next(line for line in self._proc("status").splitlines() if line.startswith("voluntary_ctxt"))
        return int(line.split()[1])

    def _proc(self, name: str) -> str:
        assert self.daemon is not None
        return Path("/proc", str(self.daemon.pid), name).read_text()

    def log(self) -> str:
        """Return the end of what the daemon said."""
        return (self.folder / "log").read_text(errors="replace")[-2000:].strip()
