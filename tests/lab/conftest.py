"""The guests that the lab's tests run in: one boot for each combination of kernel and tier."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from . import KERNELS, TIERS, Guest, LabError
from .fleet import Fleet

# NBSPD_LAB_MATRIX="newest:lsm,newest:fmod_ret" chooses others.
MATRIX = "6.1:lsm,6.1:fmod_ret,6.12:lsm,6.12:fmod_ret,6.12:socket"
KERNEL_BUGS = ("BUG: unable to handle", "Oops:", "general protection fault", "kernel BUG at", "Kernel panic")


def combinations() -> list[tuple[str, str]]:
    """Return the (kernel, tier) pairs to test; a misspelt one stops the run, so that nothing is left out unseen."""
    pairs = [tuple(word.strip().split(":")) for word in os.environ.get("NBSPD_LAB_MATRIX", MATRIX).split(",")]
    for pair in pairs:
        if len(pair) != 2 or pair[0] not in KERNELS or pair[1] not in TIERS:
            raise pytest.UsageError(f"NBSPD_LAB_MATRIX: {':'.join(pair)}: KERNEL:TIER with {', '.join(KERNELS)} and "
                                    f"{', '.join(TIERS)}")
    return [(pair[0], pair[1]) for pair in pairs]


FLEET = Fleet()


@pytest.fixture(scope="session", params=combinations(), ids=":".join)
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A booted Debian with nbspd installed; tests leave it as they found it, since all of them share it."""
    if left := os.environ.get("NBSPD_LAB_GUEST"):      # one that --keep left running, to try a test again and again
        with Guest.attach(Path(left)) as attached:
            attached.kernel, attached.tier = request.param
            yield attached
        return
    booted = FLEET.take(request.param)
    yield booted
    console = booted.console()
    booted.stop()
    bugs = [sign for sign in KERNEL_BUGS if sign in console]
    assert not bugs, f"the kernel reported {bugs}:\n{console[-8000:]}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell the fleet which guests the chosen tests will want."""
    wanted = [item.callspec.params.get("guest") for item in session.items if hasattr(item, "callspec")]
    FLEET.expect([pair for pair in dict.fromkeys(wanted) if pair])


def pytest_sessionfinish() -> None:
    """Leave nothing running."""
    FLEET.close()


def pytest_exception_interact(node: pytest.Item, report: pytest.TestReport) -> None:
    """Show beside a failure what the daemon said, and the command that reproduces it."""
    used = getattr(node, "funcargs", {}).get("guest")
    if report.when != "call" or not isinstance(used, Guest):
        return
    name = getattr(node, "originalname", node.name)
    report.sections.append(("reproduce", f"make lab KERNEL={used.kernel} TIER={used.tier} ARGS='-k {name}'"))
    try:
        said = used.run("journalctl -u nbspd --no-pager -n 40 -o cat", 30).output
    except LabError as error:
        said = str(error)
    report.sections.append(("nbspd's last words in the guest", said))
