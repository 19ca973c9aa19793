"""Where things live on a host, and the settings the daemon is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RULES = Path("/etc/nbspd/rules.d")
STATE = Path("/var/lib/nbspd")
RUNTIME = Path("/run/nbspd")
PINS = Path("/sys/fs/bpf/nbspd")
GROUP = "nbspd"

INSTALLED_BPF = Path("/usr/share/nbspd/bpf")
SOURCE_BPF = Path(__file__).resolve().parent.parent / "bpf"


def bpf_sources() -> Path:
    """Return the folder of the BPF sources: the checkout's, else the installed one."""
    return SOURCE_BPF if SOURCE_BPF.is_dir() else INSTALLED_BPF


@dataclass(frozen=True)
class Settings:
    """What the daemon was told on its command line."""

    rules: Path = RULES
    state: Path = STATE
    runtime: Path = RUNTIME
    pins: Path = PINS
    cgroup: Path | None = None      # None: the root of the cgroup-v2 tree
    tier: str = "auto"              # auto | lsm | fmod_ret | socket

    @property
    def control_socket(self) -> Path:
        """Return the path of the control socket."""
        return self.runtime / "control.sock"

    @property
    def journal(self) -> Path:
        """Return the path of the journal's SQLite file."""
        return self.state / "journal.db"
