"""A full disk and a deleted journal: enforcement does not depend on them, and the accounts stay exact."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from .actor import PYTHON, Actor
from .daemon import Daemon
from .host import UDP_PORT, assert_balanced, assert_denied
from .place import Place

FIRE = ("fire", "inet", ["127.0.0.1", UDP_PORT])
DISK_BYTES = 4 << 20
RULES = """
version: 1
resources: {db: {udp: ["127.0.0.1:5433"]}}
rules: [{id: nobody, protect: db, only-through: []}]
"""


@pytest.fixture
def small(elsewhere: Place) -> Iterator[Daemon]:
    """A running daemon whose state folder is on a small disk."""
    daemon = Daemon(elsewhere)
    daemon.settings.rules.mkdir()
    (daemon.settings.rules / "a.yaml").write_text(RULES)
    daemon.settings.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", daemon.settings.state], check=True)
    daemon.start()
    yield daemon


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    try:
        with open(path, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        return


@pytest.mark.slow
def test_a_full_disk_and_a_deleted_journal(small: Daemon) -> None:
    filler = small.settings.state / "filler"
    fill(filler)
    clients = [Actor(PYTHON, small.place.enter_guarded, small.place.folder) for _ in range(40)]
    try:
        assert_denied((client.pid, client.do(*FIRE)) for client in clients)
        status = small.ask("status")
        assert status["totals"]["hits"] == 40 and status["journal"]["trouble"] and status["state"] == "degraded"
        assert_balanced(status)
        filler.unlink()
        while small.ask("status")["totals"]["waiting"]:
            small.ask("ping")
        status = small.ask("status")
        assert status["totals"]["journaled"] == status["totals"]["hits"] == 40
        small.settings.journal.unlink()
        assert_denied((client.pid, client.do(*FIRE)) for client in clients)
        while small.ask("status")["totals"]["waiting"]:
            small.ask("ping")
        status = small.ask("status")
        assert_balanced(status)
        assert status["totals"]["hits"] == 80 and status["totals"]["lost"] == 0
        assert small.settings.journal.exists() and small.nbsp("journal", "verify").returncode == 0
    finally:
        for client in clients:
            client.close()
    assert small.stop() == 0
