"""Rules in a folder, a kernel that is a fake, and the daemon over both."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from nbspd.paths import Settings

from ..fakes import Begin
from .running import RULES, Running, write


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(rules=tmp_path / "rules.d", state=tmp_path / "state", runtime=tmp_path / "run",
                     pins=tmp_path / "pins")
    for folder in (found.rules, found.state, found.runtime):
        folder.mkdir()
    write(found, RULES)
    return found


@pytest.fixture
def begin() -> Begin:
    return Begin()


@pytest.fixture
def running(settings: Settings, begin: Begin) -> Iterator[Running]:
    found = Running(settings, begin)
    yield found
    found.stop()
