"""nbsp drill: what it lists, what it asks the daemon, how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from nbspd.cli import drill
from nbspd.drill.attempt import row
from nbspd.drill.claims import Claim
from nbspd.drill.outcome import Result
from nbspd.drill.report import Report
from nbspd.drill.stage import Stage, rule_text

from .running import FakeDaemon, Runner

Start = Callable[..., FakeDaemon]

READ = row("H1", "names", "symlink", "read", "read a file through a link")
RAW = row("H1", "devices", "backing-file", "read", "read the image")
WORDS = {"checkpoint": "/run/c", "bastion": "/run/b", "tcp": "1", "udp": "2", "abstract": "@a", "abstract_dgram": "@b"}


def test_the_list_names_the_channels(nbsp: Runner) -> None:
    done = nbsp("drill", "--list", "--only", "h1-attribute-flags")
    assert done.code == 0 and "open, ioctl" in done.out and "channels" in done.out.splitlines()[0]
    listed = nbsp("drill", "--list", "--only", "h1-attribute-flags", "--json").json["attempts"]
    assert listed[0]["covers"] == ["open", "ioctl"]


@pytest.mark.parametrize("results, last", [
    ([Result(RAW, "root", "open", "x", coverage="raw-device: not protected")],
     "1 got through where coverage says open"),
    ([Result(RAW, "root", "open", "x", coverage="raw-device: y"), Result(READ, "user", "through", "x")],
     "1 got through, 1 got through where coverage says open"),
    ([Result(READ, "user", "through", "x")], "1 got through"),
])
def test_whatever_gets_through_is_said_in_the_last_line(results: list[Result], last: str, nbsp: Runner,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "carry_out", lambda *_: Report(tuple(results), True, "lsm", 7))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    done = nbsp("drill")
    assert done.code == 1 and done.out.splitlines()[-1] == last


def test_a_clean_drill_ends_with_its_counts(nbsp: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "carry_out", lambda *_: Report((Result(READ, "user", "blocked", "x"),), True, "lsm", 7))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    done = nbsp("drill")
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("1 attempts, tier lsm, generation 7: 0 through, 0 open, 1 blocked")


def test_the_daemon_is_asked_while_the_rules_are_active(start_daemon: Start, tmp_path: Path) -> None:
    folder = tmp_path / "rules.d"
    folder.mkdir()
    status = {"state": "enforcing", "pending": None, "rules_folder": str(folder), "tier": "lsm", "rules": [], "pid": 1}
    asked: list[tuple[str, int]] = []

    def coverage(request: dict[str, Any]) -> dict[str, Any]:
        asked.append((request["rule"], len(list(folder.glob("99-drill-*.yaml")))))
        rows = [{"channel": "overlay", "state": "open", "reason": "not known"}]
        return {"generation": 8, "tier": "lsm", "rows": rows, "offset": 0, "total": 1, "why": {}}
    start_daemon(status=lambda _: status, reload=lambda _: {"generation": 8}, coverage=coverage)
    guard = drill.LiveGuard(tmp_path / "control.sock")
    assert guard.claims == {}
    guard.apply(rule_text([Stage(("plain",), b"", "", tmp_path, True, ("/run/f",))], WORDS))
    assert guard.claims == {"overlay": Claim("open", "not known")} and guard.generation == 8
    assert asked == [("drill-files", 1), ("drill-endpoints", 1)]
    guard.remove()
    assert list(folder.iterdir()) == []
