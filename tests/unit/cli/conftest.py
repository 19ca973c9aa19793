from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from .running import FakeDaemon, Runner


@pytest.fixture
def nbsp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch, capsys)


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Callable[..., FakeDaemon]]:
    started: list[FakeDaemon] = []

    def start(**answers: Callable[[dict[str, Any]], dict[str, Any]]) -> FakeDaemon:
        started.append(FakeDaemon(tmp_path, answers))
        return started[-1]
    yield start
    for daemon in started:
        daemon.close()
