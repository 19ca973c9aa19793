"""nbsp doctor: what this host offers, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ..errors import EXIT_OK, EXIT_TOLD, ControlError
from .table import clean, paint, table
from .verb import Answer, verb

if TYPE_CHECKING:
    from ..kernel.features import Feature

NEEDED = ("kernel", "btf", "root", "bcc", "cgroup2", "lockdown")    # without one of these nothing can be enforced
PACKAGES = {"click": "python3-click", "cryptography": "python3-cryptography", "psutil": "python3-psutil",
            "pyroute2": "python3-pyroute2", "yaml": "python3-yaml"}
OPTIONAL = {"systemd": ("python3-systemd", "records go to the journal of systemd as well")}


@dataclass(frozen=True)
class Package:
    """One Python package that the daemon uses."""

    name: str
    state: str      # yes | no
    reason: str
    remedy: str
    is_needed: bool


@dataclass(frozen=True)
class Daemon:
    """What the daemon says of itself."""

    state: str      # yes | no | unknown
    reason: str
    remedy: str
    generation: int = 0
    tier: str = ""


@verb("doctor", "sudo nbsp doctor")
def doctor(socket: Path) -> Answer:
    """Say what this host offers, what is missing, and the one command that mends it.

    The exit code is 1 when nothing could be enforced here.
    """
    from ..kernel.features import probe_all
    return diagnose(probe_all(), packages(), daemon(socket))


def diagnose(features: Sequence[Feature], parts: Sequence[Package], running: Daemon) -> Answer:
    """Return the answer of the three sources together. Being root matters only as long as no daemon runs."""
    is_running = running.state == "yes"
    needed = [name for name in NEEDED if not (is_running and name == "root")]
    missing = [feature.name for feature in features if feature.state == "no" and feature.name in needed]
    missing += [part.name for part in parts if part.state == "no" and part.is_needed]
    tier = running.tier or expected_tier({feature.name: feature.state for feature in features})
    data = {"can_enforce": not missing, "missing": missing, "tier": None if missing else tier,
            "features": [asdict(feature) for feature in features],
            "packages": [asdict(part) for part in parts], "daemon": asdict(running)}
    everything: list[Any] = [*features, *parts]
    rows = [(each.name, each.state, each.reason) for each in everything]
    rows.append(("daemon", running.state, running.reason))
    lines = [table(("what", "here", "because"), rows)]
    remedies = [(each.name, each.remedy) for each in everything if each.state != "yes" and each.remedy]
    if running.state != "yes":
        remedies.append(("daemon", running.remedy))
    if remedies:
        lines += ["", table(("missing", "what mends it"), remedies)]
    if missing:
        lines += ["", paint(clean(f"Nothing can be enforced here: {', '.join(missing)}."), "no")]
    else:
        lines += ["", f"Rules can be enforced here, in tier {tier}."]
    return Answer(data, "\n".join(lines), EXIT_TOLD if missing else EXIT_OK)


def expected_tier(states: Mapping[str, str]) -> str:
    """Return the tier that the daemon will most likely find; it tries, this only looks."""
    if states.get("lsm") == "yes" and states.get("lsm_program") != "no":
        return "lsm"
    return "socket" if states.get("fmod_ret_program") == "no" else "fmod_ret"


def packages() -> list[Package]:
    """Return the state of the Python packages, without importing them."""
    found = []
    for module, name in PACKAGES.items():
        found.append(package(name, module, True, "the daemon needs it"))
    for module, (name, use) in OPTIONAL.items():
        found.append(package(name, module, False, f"with it {use}"))
    return found


def package(name: str, module: str, is_needed: bool, use: str) -> Package:
    """Return the state of one package."""
    if importlib.util.find_spec(module) is not None:
        return Package(name, "yes", "installed", "", is_needed)
    return Package(name, "no", f"not installed; {use}", f"apt install {name}", is_needed)


def daemon(socket: Path) -> Daemon:
    """Return whether the daemon answers, and with which generation."""
    from ..control.client import ask
    try:
        reply = ask("status", socket, timeout_s=5.0)
    except ControlError as error:
        from .permission import explained
        told = explained(error, ["doctor"])
        return Daemon("unknown" if told is not error or socket.exists() else "no", told.cause, told.remedy)
    trouble = f"; {'; '.join(reply['troubles'])}" if reply["troubles"] else ""
    return Daemon("yes", f"{reply['state']}, generation {reply['generation']}{trouble}", "", reply["generation"],
                  reply["tier"])
