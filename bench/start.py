"""Start of the daemon: compiling, from the cache, adopting pins after a stop and after a kill; its memory and its rest.

Budget: 1.5 s compiling, 0.3 s adopting, 45 MB resident, no CPU when idle. The clock runs from exec to READY=1, Python's
own start included.
"""

from __future__ import annotations

import json
import signal
import time

from .bed import Bed
from .figures import Figure

ROUNDS = 5
IDLE_S = 5.0
RULES = """\
version: 1
checkpoints:
  pooler: {exe: /usr/bin/env}
resources:
  db: {tcp: ["127.0.0.1:5432", "10.0.0.0/8:5432"], udp: ["127.0.0.1:5433"], unix: ["@nbspd-bench"]}
rules:
  - {id: db-through-pooler, protect: db, only-through: [pooler], owner: bench, reason: bench}
"""


def origin(bed: Bed) -> str:
    """Return how the programs came into the kernel when they were loaded last."""
    return str(json.loads((bed.state / "programs.json").read_text())["origin"])


def run(tier: str) -> list[Figure]:
    """Return the figures."""
    compiling, cached, adopting, after_kill, compiling_cpu, cached_cpu, adopting_cpu = [], [], [], [], [], [], []
    for _ in range(ROUNDS):
        with Bed(tier) as bed:
            (bed.rules / "rules.yaml").write_text(RULES)
            compiling.append(bed.start())
            compiling_cpu.append(bed.cpu_s())
            fresh_mib = bed.resident_mib()
            assert origin(bed) == "compiled"
            bed.ask("detach", reason="the next start is to find no pins")
            bed.stop()
            cached.append(bed.start())
            cached_cpu.append(bed.cpu_s())
            assert origin(bed) == "from the cache"
            bed.stop()
            adopting.append(bed.start())
            bed.stop(signal.SIGKILL)
            after_kill.append(bed.start())
            adopting_cpu.append(bed.cpu_s())
            status = bed.ask("status")
            assert status["adopted"] and status["state"] == "enforcing", status
            adopted_mib, private_mib = bed.resident_mib(), bed.private_mib()
            if len(compiling) == ROUNDS:
                time.sleep(1)       # a refresh of adopted names follows the start
                cpu_s, wakeups = bed.cpu_s(), bed.wakeups()
                time.sleep(IDLE_S)
                idle_s, idle_wakeups = bed.cpu_s() - cpu_s, bed.wakeups() - wakeups
    shown = f"tier {status['tier']}, median of {ROUNDS}"
    return [Figure.median("start, compiling", "s", compiling, "1.5", shown),
            Figure.median("start, loading what was compiled before", "s", cached, "", shown),
            Figure.median("start, adopting pins after SIGTERM", "s", adopting, "0.3", shown),
            Figure.median("start, adopting pins after SIGKILL", "s", after_kill, "0.3", shown),
            Figure.median("processor time, compiling", "s", compiling_cpu, "", "the daemon and its children"),
            Figure.median("processor time, loading what was compiled before", "s", cached_cpu, "",
                          "the daemon and its children"),
            Figure.median("processor time, adopting", "s", adopting_cpu, "", "the daemon and its children"),
            Figure("resident, after compiling", fresh_mib, "MiB", "42.9 (45 MB)"),
            Figure("resident, after adopting", adopted_mib, "MiB", "42.9 (45 MB)"),
            Figure("  of it of no file, shared with nobody", private_mib, "MiB"),
            Figure("processor time while idle", idle_s, "s", "0", f"in {IDLE_S:.0f} s"),
            Figure("wake-ups while idle", idle_wakeups, "", "0", f"in {IDLE_S:.0f} s")]
