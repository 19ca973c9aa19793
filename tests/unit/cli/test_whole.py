"""Every verb against the real daemon (its kernel is a fake): what it says is shown, and described in the manual."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

from .running import Runner
from .test_manual import MANUAL, keys

ROOT = Path(__file__).parents[3]
RULES = """\
version: 1
checkpoints: {pooler: {exe: /usr/bin/true, user: root}}
resources: {db: {tcp: ["192.0.2.1:5432"]}, key: {files: [/srv/nbspd-test/key]}}
rules:
  - {id: db-through-pooler, protect: db, only-through: [pooler], owner: dba@example.org, reason: pooled only}
  - {id: key-for-nobody, protect: key, only-through: [], mode: audit}
"""


@pytest.fixture
def folder(tmp_path: Path, nbsp: Runner) -> Iterator[Path]:
    for name in ("rules.d", "state", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "rules.d/a.yaml").write_text(RULES)
    daemon = subprocess.Popen([sys.executable, "-m", "tests.unit.cli.serving", str(tmp_path)], cwd=ROOT)
    try:
        waited = nbsp("status", "--wait", "30", "--runtime", tmp_path / "run")
        assert waited.code == 0, waited.err
        yield tmp_path
    finally:
        daemon.terminate()
        assert daemon.wait(30) == 0


def test_what_is_answered_is_described(nbsp: Runner, folder: Path) -> None:
    for words in (("status",), ("coverage",), ("coverage", "--rule", "db-through-pooler"), ("journal",),
                  ("explain", "1"), ("explain", "--exe", "/bin/cat", "--connect", "192.0.2.1:5432"),
                  ("lineage", str(os.getpid())), ("audit",), ("reload",),
                  ("detach", "--reason", "the test is over"), ("doctor",)):
        done = nbsp(*words, "--json", "--runtime", folder / "run")
        assert done.code == 0 or words in (("doctor",), ("audit",))       # what they find is this machine's
        assert {key for key in keys(done.json) if f'"{key}"' not in MANUAL} == set(), words
        assert nbsp(*words, "--runtime", folder / "run").code in (0, 1)


def test_a_life(nbsp: Runner, folder: Path) -> None:
    runtime = ("--runtime", folder / "run")
    assert "db-through-pooler" in nbsp("status", *runtime).out
    (folder / "rules.d/a.yaml").write_text(RULES.replace("5432", "5433"))
    done = nbsp("reload", "--confirm-within", "5m", *runtime)
    assert done.code == 0 and "~ resource db" in done.out
    assert "unless confirmed" in nbsp("status", *runtime).out
    assert nbsp("confirm", *runtime).code == 0
    assert nbsp("confirm", *runtime).code == 1
    assert "denied" in nbsp("explain", "--exe", "/bin/cat", "--connect", "192.0.2.1:5433", *runtime).out
    (folder / "rules.d/b.yaml").write_text("version: 1\nnonsense: 1\n")
    done = nbsp("reload", *runtime)
    assert done.code == 1 and "b.yaml:2:1: " in done.err
    (folder / "rules.d/b.yaml").unlink()
    assert "~ resource db" in nbsp("rollback", *runtime).out
    lines = nbsp("journal", *runtime).out
    assert all(word in lines for word in ("START", "RELOAD", "CONFIRM", "ROLLBACK"))
    assert nbsp("detach", "--reason", "the test is over", *runtime).code == 0
    assert "the test is over" in nbsp("status", *runtime).out
    assert nbsp("status", "--wait", "1", *runtime).code == 1
    assert nbsp("coverage", *runtime).code == 1
    assert nbsp("journal", "verify", "--state", folder / "state").code == 0


def test_no_such_process_or_record(nbsp: Runner, folder: Path) -> None:
    assert nbsp("lineage", "4194304", "--runtime", folder / "run").code in (1, 2)
    assert nbsp("explain", "4711", "--runtime", folder / "run").code == 1
