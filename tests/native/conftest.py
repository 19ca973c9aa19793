"""One daemon for the whole session, in a place of its own; processes and the check of the accounts for each test."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Iterator

import pytest

from .host import Host, assert_balanced
from .place import Place


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than five seconds")


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def session_host() -> Iterator[Host]:
    signal.signal(signal.SIGTERM, interrupt)        # so that everything is removed also then
    with Place("nbspd-native") as place:
        yield Host(place)


@pytest.fixture
def host(session_host: Host) -> Iterator[Host]:
    session_host.database.do("heard")
    try:
        yield session_host
    finally:
        session_host.close_actors()
    assert_balanced(session_host.status())


@pytest.fixture
def elsewhere() -> Iterator[Place]:
    """Another place, for a daemon of its own."""
    with Place("nbspd-native-2") as place:
        yield place
