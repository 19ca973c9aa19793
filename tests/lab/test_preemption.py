"""Processes that are stopped inside our programs: no access of others gets through meanwhile, or coverage says so."""

from __future__ import annotations

import json

import pytest

from . import Guest
from .example import Applied

SECRET = "/srv/storm/secret"
RULES = f"""version: 1
resources:
  storm: {{files: [{SECRET}], access: [read]}}
rules:
  - {{id: storm, protect: storm, only-through: [], reason: "for the test"}}
"""
# Four processes that open what is not protected keep each other from running to the end; a fifth tries what is.
STORM = f"""
import os, time
end = time.monotonic() + 12
for number in range(4):
    if not os.fork():
        while time.monotonic() < end:
            os.close(os.open("/etc/passwd", os.O_RDONLY))
        os._exit(0)
through = tried = 0
while time.monotonic() < end:
    tried += 1
    try:
        os.close(os.open("{SECRET}", os.O_RDONLY))
        through += 1
    except PermissionError:
        pass
print(through, tried)
"""


def test_a_storm_of_opens(guest: Guest) -> None:
    if guest.tier == "socket":
        pytest.skip("tier socket refuses no open: coverage says so")
    guest.run(f"mkdir -p /srv/storm && echo 4711 > {SECRET}", 30, check=True)
    try:
        with Applied(guest, "50-storm.yaml", RULES):
            through, tried = map(int, guest.run(f"/usr/bin/python3 -I -c '{STORM}'", 120, check=True).output.split())
            status = json.loads(guest.run("nbsp status --json", 60).output)
            rows = json.loads(guest.run("nbsp coverage --rule storm --json", 60).output)["rows"]
            states = {row["channel"]: row["state"] for row in rows}
            said = guest.run("nbsp doctor", 60).output
        assert tried > 100, "the storm left no room"
        if guest.tier == "fmod_ret" and guest.kernel == "newest":   # Debian's is preempted, and tells
            assert states["open"] == "open" and "is preempted" in json.dumps(status)
            assert "can be got around" in said, "and the remedy stands there"
        else:
            assert not through, "not one"
            assert states["open"] == "enforced" and "is preempted" not in json.dumps(status)
    finally:
        guest.run("rm -rf /srv/storm", 30)
