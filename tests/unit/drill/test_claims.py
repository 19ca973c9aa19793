"""What got through is called open only where coverage says so of every channel on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbspd.coverage.rows import UNCLOSED as COVERAGE_OPEN
from nbspd.drill.attempt import row
from nbspd.drill.claims import UNCLOSED, Claim, claims_of, weighed, weighed_all
from nbspd.drill.outcome import ABSENT, BLOCKED, BROKEN, OPEN, THROUGH, Result
from nbspd.drill.report import CONTROL

OVERLAY = Result(row("H1", "mounts", "overlay", "read", "x"), "user", THROUGH, "it printed the secret")
RUN = Result(row("H1", "mounts", "overlay", "exec", "x"), "user", THROUGH, "the program ran")     # overlay and exec
YES, NO = Claim("open", "not known"), Claim("enforced", "")


def test_the_word_is_that_of_coverage() -> None:
    assert UNCLOSED == COVERAGE_OPEN


def test_through_where_coverage_says_open() -> None:
    found = weighed(OVERLAY, {"overlay": YES})
    assert (found.outcome, found.coverage, found.reason) == (OPEN, "overlay: not known", OVERLAY.reason)


@pytest.mark.parametrize("claims", [
    {}, {"symlink": YES}, {"overlay": NO}, {"overlay": Claim("observed", "late")},
    {"overlay": Claim("absent", "none")}])
def test_through_stays_through_where_it_does_not(claims: dict[str, Claim]) -> None:
    assert weighed(OVERLAY, claims) == OVERLAY


def test_every_channel_on_the_way_must_be_open() -> None:
    assert weighed(RUN, {"overlay": YES, "exec": NO}).outcome == THROUGH
    assert weighed(RUN, {"overlay": YES, "exec": YES}).coverage == "overlay: not known; exec: not known"
    assert weighed(RUN, {"overlay": YES}).outcome == OPEN           # exec does not matter to these rules


@pytest.mark.parametrize("outcome", [BLOCKED, ABSENT, BROKEN])
def test_other_outcomes_stay(outcome: str) -> None:
    result = replace(OVERLAY, outcome=outcome)
    assert weighed(result, {"overlay": YES}) == result


def test_a_control_is_to_get_through() -> None:
    control = Result(row(CONTROL, "checkpoint", "overlay", "read", "x"), "user", THROUGH, "x")
    assert weighed_all([control, OVERLAY], {"overlay": YES}, CONTROL)[0] == control
    assert weighed_all([control, OVERLAY], {"overlay": YES}, CONTROL)[1].outcome == OPEN


def test_rules_that_coverage_judges_differently() -> None:
    rows = [{"channel": "connect", "state": "open", "reason": "one cgroup"},
            {"channel": "connect", "state": "enforced", "reason": ""},
            {"channel": "xdp", "state": "open", "reason": "below"}, {"channel": "xdp", "state": "open", "reason": "y"}]
    for order in (rows, rows[::-1]):
        found = claims_of(order)
        assert found["connect"] == NO and found["xdp"].state == "open"
