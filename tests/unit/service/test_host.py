"""The host changes below a running daemon."""

from __future__ import annotations

import time
from typing import Any

from nbspd.errors import LoadError

from .running import MORE, Running, records, write


def test_new_interfaces_and_addresses_reach_the_enforcer(running: Running) -> None:
    class News:
        def read(self) -> Any:
            from nbspd.control.netlink import News as Found
            return Found(((7, "eth7"),), True, False)

        def close(self) -> None:
            pass
    assert running.service.news is not None
    running.service.loop.forget(running.service.news)
    running.service.news.close()
    running.service.news = News()   # type: ignore[assignment]
    running.enforcer.refreshed = ("192.0.2.9 is ours now",)
    running.service.on_network(1)
    assert running.enforcer.appeared == [(7, "eth7")]
    running.turn(0.4)
    assert records(running.settings)[-1].text == "192.0.2.9 is ours now"
    running.enforcer.failure = LoadError("a map is full", "")
    running.service.on_refresh(1)
    assert "a map is full" in running.ask("status")["troubles"][0]
    running.enforcer.failure = None
    running.service.on_refresh(1)
    assert running.ask("status")["troubles"] == []


def test_a_new_name_is_looked_at_a_moment_later_and_not_all_the_time(running: Running) -> None:
    running.enforcer.refreshed = ("/srv/a is there now",)
    began = time.monotonic()
    while time.monotonic() - began < 0.4:
        running.enforcer.notices.kernel.ring.append(b"notice")
        running.enforcer.notices.signal()
        running.turn(0.005)
    running.turn(0.1)
    assert running.enforcer.notices.pending_bytes() == 0
    said = [record.text for record in records(running.settings)].count("/srv/a is there now")
    assert 3 <= said <= 9


def test_after_a_long_look_and_a_rest_the_next_one_comes_at_once(running: Running) -> None:
    running.service.rests_until_s = time.monotonic() + 0.5      # a look took long
    running.enforcer.refreshed = ("/srv/a is there now",)
    running.service.ask_refresh()
    running.turn(0.2)
    assert records(running.settings)[-1].text != "/srv/a is there now"
    running.turn(0.8)
    assert records(running.settings)[-1].text == "/srv/a is there now"
    running.enforcer.refreshed = ("/srv/b is there now",)
    running.service.rests_until_s = time.monotonic() - 100.0    # and the rest is over since long
    running.service.ask_refresh()
    running.turn(0.5)
    assert records(running.settings)[-1].text == "/srv/b is there now"


def test_a_folder_that_appears_is_pending_no_more(running: Running) -> None:
    write(running.settings, MORE)
    running.enforcer.missing = ("/srv/nbspd-test/key",)
    running.service.rests_until_s = time.monotonic() + 3.0      # longer than what is asked in between
    running.ask("reload")
    rows = [row for row in running.ask("coverage")["rows"] if row["channel"] == "missing-folder"]
    assert [(row["rule"], row["state"]) for row in rows] == [("key-for-nobody", "open")]
    assert running.ask("status")["missing_paths"] == ["/srv/nbspd-test/key"]
    running.enforcer.missing = ()           # it appeared between the look and the flip: nobody told
    running.turn(3.5)
    assert running.ask("status")["missing_paths"] == []
    assert not [row for row in running.ask("coverage")["rows"] if row["channel"] == "missing-folder"]
    assert records(running.settings)[-1].text == "names: 1 new, 1 gone"
    running.turn(0.2)
    assert not running.service.refresh_due.is_armed


def test_what_a_former_daemon_left_behind_is_shown(running: Running) -> None:
    assert running.ask("status")["loaded"] == "compiled in 0.1 s"
    running.enforcer.left_behind = ("links-1-1 of a former daemon cannot be removed: Device or resource busy",)
    status = running.ask("status")
    assert status["state"] == "degraded" and status["troubles"] == list(running.enforcer.left_behind)
