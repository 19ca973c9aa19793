"""Which cgroup a systemd unit has or will have."""

from __future__ import annotations

import subprocess
from typing import Sequence

TIMEOUT_S = 20.0


def slice_path(name: str) -> str:
    """Return the cgroup of a slice: a-b.slice lies in a.slice (systemd.slice(5))."""
    if name in ("", "-.slice"):
        return ""
    parts = name.removesuffix(".slice").split("-")
    return "".join(f"/{'-'.join(parts[:count])}.slice" for count in range(1, len(parts) + 1))


def unit_cgroups(units: Sequence[str]) -> tuple[dict[str, str], dict[str | None, str]]:
    """Return the cgroup path of each unit, and for those that systemd does not know the reason."""
    if not units:
        return {}, {}
    try:
        done = subprocess.run(["systemctl", "show", "--property=Id,LoadState,Slice,ControlGroup", "--", *units],
                              capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, {unit: f"systemctl: {error}" for unit in units}
    if done.returncode:
        reason = done.stderr.strip().partition("\n")[0] or f"systemctl exited with {done.returncode}"
        return {}, {unit: reason for unit in units}
    found: dict[str, str] = {}
    unknown: dict[str | None, str] = {}
    for unit, block in zip(units, done.stdout.strip().split("\n\n")):
        facts = dict(line.partition("=")[::2] for line in block.splitlines())
        if facts.get("LoadState") in ("not-found", "bad-setting", "error"):
            unknown[unit] = f"systemd says {facts['LoadState']}"
        else:
            found[unit] = facts.get("ControlGroup") or f"{slice_path(facts.get('Slice', ''))}/{facts.get('Id') or unit}"
    return found, unknown
