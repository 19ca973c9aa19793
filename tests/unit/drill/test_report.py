"""The table, the object and the sentences that a drill ends with."""

from __future__ import annotations

import json

from nbspd.drill.attempt import row
from nbspd.drill.outcome import Result
from nbspd.drill.report import CONTROL, Report, summary

READ = row("H1", "names", "symlink", "read", "read a file through a link")
SEND = row("H4", "udp", "udp-sendto", "send", "send", target="")
LEGITIMATE = row(CONTROL, "checkpoint", "plain", "read", "the checkpoint reads a file")


def report(*outcomes: str, has_rules: bool = True, control: str = "through") -> Report:
    found = [Result(READ if number % 2 else SEND, "user", outcome, "because") for number,
             outcome in enumerate(outcomes)]
    return Report((*found, Result(LEGITIMATE, "root", control, "because")), has_rules, "lsm", 7)


def test_good_is_only_what_is_blocked_or_absent() -> None:
    assert report("blocked", "absent").is_good
    assert not report("blocked", "through").is_good
    assert not report("blocked", "broken").is_good
    assert not report("blocked", control="blocked").is_good


def test_without_rules_through_is_good() -> None:
    assert report("through", "absent", has_rules=False).is_good
    assert not report("broken", has_rules=False).is_good


def test_what_is_left_behind_is_not_good() -> None:
    left = Report((), True, leftovers=("the folder /run/x",))
    assert not left.is_good and left.findings() == ["left behind: the folder /run/x"]


def test_what_got_through_is_named_with_what_it_means() -> None:
    assert report("blocked", "through").findings() == [
        "through: h1-symlink-read as user: read a file through a link: because; "
        "channel symlink: the resource has another name by which it can be reached"]
    assert report("blocked", control="blocked").findings() == [
        "denied though legitimate: the checkpoint reads a file, as root: because"]


def test_counts_leave_out_the_controls() -> None:
    made = report("blocked", "through", "absent")
    assert made.counts() == {"through": 1, "open": 0, "blocked": 1, "absent": 1, "broken": 0}
    assert made.rows() == [("H1", 1, 1, 0, 0, 0, 0), ("H4", 2, 0, 0, 1, 1, 0)]
    assert summary(made.results, True) == "drill of 3 attempts: 1 through, 0 open, 1 blocked, 1 absent, 0 broken"


def test_what_is_known_to_be_open_is_shown_apart_and_not_good() -> None:
    made = report("blocked", "through", "blocked")
    known = Result(SEND, "root", "open", "the server heard it", coverage="send: no hook")
    made = Report((*made.results, known, known), True)
    assert not made.is_good and made.counts()["open"] == 2 and known not in made.wrong
    assert made.findings()[-2:] == ["open: 2 where coverage says send: no hook",
                                    "    h4-udp-sendto-send as root, h4-udp-sendto-send as root"]
    assert made.verdict() == "1 got through, 2 got through where coverage says open"
    only = Report((known,), True)
    assert not only.is_good and only.verdict() == "1 got through where coverage says open"
    assert report("blocked", "absent").verdict() == ""
    assert json.loads(json.dumps(only.to_json()))["results"][0]["coverage"] == "send: no hook"


def test_without_rules_nothing_is_called_open() -> None:
    made = report("through", "absent", has_rules=False)
    assert made.verdict() == "" and "open" not in made.counts() and "open" not in made.outcomes
    assert all(len(row) == 2 + len(made.outcomes) for row in made.rows())


def test_too_many_for_a_line_each_are_grouped_by_channel() -> None:
    many = Report(tuple(Result(READ, "user", "through", "x") for _ in range(41)), True).findings()
    assert many[0] == ("through: 41 of H1, names, channel symlink: the resource has another name by which it can be "
                       "reached")
    assert many[1].startswith("    h1-symlink-read, h1-symlink-read") and len(many) > 2


def test_the_object() -> None:
    made = json.loads(json.dumps(report("blocked", "absent").to_json()))
    assert made["good"] is True and made["tier"] == "lsm" and made["generation"] == 7
    assert made["families"]["H4"] == {"through": 0, "open": 0, "blocked": 1, "absent": 0, "broken": 0}
    assert made["controls"] == {"total": 1, "failed": 0}
    assert made["results"][0] == {
        "id": "h4-udp-sendto-send", "channel": "H4", "family": "udp", "title": "send", "goal": "send",
        "technique": "udp-sendto", "covers": ["send"], "who": "user", "outcome": "blocked", "reason": "because",
        "coverage": "", "seconds": 0.0}


def test_absences_are_told_once_each() -> None:
    assert report("absent", "absent", "blocked").absences() == ["absent: because (h4-udp-sendto-send and 1 more)"]
