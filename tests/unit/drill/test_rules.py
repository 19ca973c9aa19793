"""The rules of a drill are rules that nbspd accepts, whatever is drilled."""

from __future__ import annotations

from pathlib import Path

from nbspd.drill.catalogue import ATTEMPTS
from nbspd.drill.ground import KNOBS
from nbspd.drill.stage import GUARDED, Stage, rule_text
from nbspd.rules.compile import compile_rules
from nbspd.rules.load import Source, parse_sources

WORDS = {"checkpoint": "/run/nbspd-drill-x/disk/bin/checkpoint", "bastion": "/run/nbspd-drill-x/disk/bin/bastion",
         "tcp": "40001", "udp": "40002", "abstract": "@nbspd-drill-x-abstract",
         "abstract_dgram": "@nbspd-drill-x-dgram"}


def stage(number: int, **named: object) -> Stage:
    folder = Path(f"/run/nbspd-drill-x/disk/{number}")
    return Stage(("plain",), b"secret", "token", folder, True, **named)     # type: ignore[arg-type]


def test_a_drill_of_everything() -> None:
    stages = [stage(number, files=(f"/run/nbspd-drill-x/disk/{number}/g/file",),
                    trees=(f"/run/nbspd-drill-x/disk/{number}/g/tree",),
                    programs=(f"/run/nbspd-drill-x/disk/{number}/g/tool",),
                    sockets=(f"/run/nbspd-drill-x/disk/{number}/g/stream",),
                    checkpoint=f"/run/nbspd-drill-x/disk/{number}/c/own" if number % 30 == 0 else "",
                    knobs=tuple(KNOBS.values()))
              for number in range(len(ATTEMPTS))]
    plan = compile_rules(parse_sources([Source("99-drill-x.yaml", rule_text(stages, WORDS))]))
    assert {rule.id for rule in plan.rules} == {"drill-files", "drill-endpoints", "drill-knobs"}
    assert len(plan.paths) == 4 * len(stages) + len(KNOBS)
    assert len(plan.endpoints) == 2 * len(GUARDED)


def test_a_drill_of_the_network_alone() -> None:
    plan = compile_rules(parse_sources([Source("99-drill-x.yaml", rule_text([stage(1)], WORDS))]))
    assert [checkpoint.name for checkpoint in plan.checkpoints] == ["drill-bastion", "drill-checkpoint"]
