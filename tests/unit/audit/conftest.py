"""Processes for a test to look at."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest

from .test_processes import start, stop

Start = Callable[..., int]


@pytest.fixture
def running() -> Iterator[Start]:
    children: list[subprocess.Popen[str]] = []

    def run(text: str, *arguments: str | Path) -> int:
        children.append(start(text, *arguments))
        return children[-1].pid
    yield run
    for child in children:
        stop(child)
