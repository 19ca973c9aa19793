"""The whole drill: nothing of the catalogue gets through but what coverage calls open, and legitimate accesses do."""

from __future__ import annotations

import json
import os

import pytest

from . import Guest

DRILL_TIMEOUT_S = 1500
ALWAYS = (("6.12", "lsm"), ("6.1", "fmod_ret"))
LEAST = {"lsm": 800, "fmod_ret": 800}           # attempts that this kernel must be able to make
OPEN_MOST = 40                                  # of them that may get through because coverage calls their channel open


def test_nothing_gets_through(guest: Guest) -> None:
    if guest.tier == "socket":
        pytest.skip("of files tier socket refuses nothing; tests/native tries its network families on this kernel")
    if (guest.kernel, guest.tier) not in ALWAYS and "NBSPD_LAB_MATRIX" not in os.environ:
        pytest.skip("it takes five minutes: where no kernel is chosen, two of the combinations make the drill")
    report = json.loads(guest.run("nbsp drill --json < /dev/null", timeout_s=DRILL_TIMEOUT_S).output)
    attempts = [one for one in report["results"] if not one["id"].startswith("control-")]
    controls = [one for one in report["results"] if one["id"].startswith("control-")]
    wrong = [f"{one['outcome']} as {one['who']}: {one['id']}: {one['reason']}" for one in attempts
             if one["outcome"] in ("through", "broken")]
    refused = [f"{one['who']}: {one['id']}: {one['reason']}" for one in controls if one["outcome"] != "through"]
    assert not wrong and not refused
    outcomes = [one["outcome"] for one in attempts]
    assert outcomes.count("blocked") >= LEAST[guest.tier] and outcomes.count("open") <= OPEN_MOST
    assert all(one["coverage"] for one in attempts if one["outcome"] == "open"), "each with coverage's own reason"
    assert len(controls) > 60 and not report["leftovers"]
