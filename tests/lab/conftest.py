"""The guests that the lab's tests run in: one boot for each combination of kernel and tier, one after the other."""

from __future__ import annotations

import os
from typing import Iterator

import pytest

from . import KERNELS, TIERS, Guest, LabError

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


@pytest.fixture(scope="session", params=combinations(), ids=":".join)
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A booted Debian with nbspd installed; tests leave it as they found it, since all of them share it."""
    kernel, tier = request.param
    with Guest(kernel, tier) as booted:
        yield booted
        bugs = [sign for sign in KERNEL_BUGS if sign in booted.console()]
        assert not bugs, f"the kernel reported {bugs}:\n{booted.console()[-8000:]}"


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
