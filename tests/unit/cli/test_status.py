from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Callable

import pytest

from .replies import status
from .running import FakeDaemon, Runner

Start = Callable[..., FakeDaemon]
GAP = {"kind": "gap", "time_ns": 1, "seq": 9, "cause": "the daemon was killed",
       "gaps": [{"rule": "db", "hits": 5, "journaled": 5, "lost": 0, "gone": 0}]}


def test_words(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    start_daemon(status=lambda _: status())
    done = nbsp("status", "--runtime", tmp_path)
    assert done.code == 0
    lines = done.out.splitlines()
    assert any(line.split() == ["db", "payroll-db", "pooler,", "backup", "12", "7", "3", "1", "1", "enforced"]
               for line in lines)
    assert any(line.split() == ["key", "host-key", "nobody", "0", "0", "0", "0", "0", "audit"] for line in lines)
    assert "lsm, 1 of 2 programs attached" in done.out


def test_json_is_the_reply(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    start_daemon(status=lambda _: status())
    assert nbsp("status", "--json", "--runtime", tmp_path).json == status()


@pytest.mark.parametrize("differences, words", [
    ({"rules": [], "state": "idle"}, "no rules: nothing is enforced"),
    ({"pending": {"generation": 3, "by": "uid 0", "remaining_s": 12.5}}, "12.5 s unless confirmed"),
    ({"detached": {"by": "uid 0", "reason": "moving", "at": 1.0}, "generation": 0, "tier": ""}, "by uid 0: moving"),
    ({"troubles": ["the rules are broken", "disk full"]}, "! disk full"),
    ({"gaps": [GAP]}, "db: 5 hits, 5 with details in the journal"),
    ({"missing_paths": [f"/srv/{number}" for number in range(7)]}, "/srv/3, /srv/4 and 2 more"),
    ({"tier": "socket", "tried": ["lsm: refused"]}, "not in tier  lsm: refused"),
    ({"origin": "last-good"}, "the last good one"), ({"adopted": True}, "taken over"), ({"bugs": 2}, "bugs"),
    ({"programs": [], "tier": "", "generation": 0, "rules": []}, "none")])
def test_what_must_be_seen(differences: dict[str, object], words: str, nbsp: Runner, start_daemon: Start,
                           tmp_path: Path) -> None:
    start_daemon(status=lambda _: status(**differences))
    done = nbsp("status", "--runtime", tmp_path)
    assert done.code == 0 and words in done.out


def test_pending_paths_say_why_and_what_to_do(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    programs = [{"name": name, "hook": name, "attached": True, "reason": ""}
                for name in ("inode_mkdir", "inode_symlink", "inode_rename")]
    reply = status(missing_paths=["/srv/a/key"], programs=programs)
    start_daemon(status=lambda _: reply)
    for words in ("nbspd is told when it appears", "this tier has no hook that tells"):
        line = next(line for line in nbsp("status", "--runtime", tmp_path).out.splitlines() if "/srv/a/key" in line)
        assert line.startswith("pending paths ") and words in line and line.endswith("nbsp reload")
        reply["programs"] = []


def test_waiting_for_a_daemon(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    timer = threading.Timer(0.3, lambda: start_daemon(status=lambda _: status()))
    timer.start()
    assert nbsp("status", "--wait", "10", "--runtime", tmp_path).code == 0
    timer.join()


def test_waiting_in_vain(nbsp: Runner, tmp_path: Path) -> None:
    before = time.monotonic()
    done = nbsp("status", "--wait", "300ms", "--runtime", tmp_path)
    assert done.code == 1 and "systemctl start nbspd" in done.err
    assert 0.3 <= time.monotonic() - before < 5


def test_waiting_for_one_that_has_detached(nbsp: Runner, start_daemon: Start, tmp_path: Path) -> None:
    detached = {"by": "uid 0", "reason": "moving", "at": 1.0}
    start_daemon(status=lambda _: status(detached=detached, generation=0))
    assert nbsp("status", "--wait", "5", "--runtime", tmp_path).code == 1
    assert nbsp("status", "--runtime", tmp_path).code == 0
