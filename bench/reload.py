"""Reload of 10,000 rules. Budget: 1 s.

Two sets that differ in every rule take turns, so that each reload parses, compiles, binds, writes, reads back and flips
all of it. The clock runs from the request on the control socket to the reply.
"""

from __future__ import annotations

import time

from .bed import Bed
from .figures import Figure

RULES = 10_000
ROUNDS = 6
HEAD = """\
version: 1
checkpoints:
  pooler: {{exe: /usr/bin/env}}
  agent: {{exe: /usr/bin/id}}
resources:
{}rules:
{}"""


def text(count: int, salt: int) -> str:
    """Return a file with so many rules, each on a resource of its own: TCP, UDP, unix sockets and files by turns."""
    resources, rules = [], []
    for index in range(count):
        address = f"10.{salt}.{index >> 8}.{index & 255}:{1024 + index % 40000}"
        what = (f'tcp: ["{address}"]', f'udp: ["{address}"]', f'unix: ["@bench-{salt}-{index}"]',
                f"files: [/run/nbspd-bench-{salt}-{index}]")[index % 4]
        resources.append(f"  r{index}: {{{what}}}\n")
        rules.append(f"  - {{id: rule-{index}, protect: r{index}, only-through: [{('pooler', 'agent')[index & 1]}], "
                     f"owner: bench, reason: bench}}\n")
    return HEAD.format("".join(resources), "".join(rules))


def run(tier: str) -> list[Figure]:
    """Return the figures."""
    import nbspd.rules.compile as compiler
    import nbspd.rules.load as load
    texts = [text(RULES, salt) for salt in (1, 2)]
    began = time.monotonic()
    compiler.compile_rules(load.parse_sources([load.Source("rules.yaml", texts[0])]))
    alone_s = time.monotonic() - began
    took, used = [], []
    with Bed(tier) as bed:
        bed.start()
        empty_mib = bed.resident_mib()
        for number in range(ROUNDS):
            (bed.rules / "rules.yaml").write_text(texts[number % 2])
            began, cpu_s = time.monotonic(), bed.cpu_s()
            bed.ask("reload")
            took.append(time.monotonic() - began)
            used.append(bed.cpu_s() - cpu_s)
        status = bed.ask("status")
        assert status["generation"] >= ROUNDS and len(status["rules"]) == RULES, status["generation"]
        full_mib = bed.resident_mib()
        bed.stop()
        adopt_s = bed.start()
    return [Figure.median(f"reload of {RULES:,} rules", "s", took[1:], "1",
                          f"tier {status['tier']}, median of {ROUNDS - 1}"),
            Figure.median("  processor time", "s", used[1:], "", "the daemon"),
            Figure(f"  the first one, from no rules to {RULES:,}", took[0], "s"),
            Figure("  of it reading and compiling the text, alone", alone_s, "s", "", "in a process without daemon"),
            Figure(f"start, adopting pins with {RULES:,} rules", adopt_s, "s"),
            Figure("resident, without rules", empty_mib, "MiB", "42.9 (45 MB)"),
            Figure(f"resident, with {RULES:,} rules", full_mib, "MiB")]
