"""Every attempt works on this kernel when nobody guards anything: through, or absent with its proof, and never broken.

In mounts, a network and a table of processes of their own, so that nothing of this machine is touched. In tier
`socket` the network families are blocked, by the daemon of the other native tests.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .daemon import Daemon
from .place import Place

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300
ALONE = ("unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
         'ip link set lo up && exec "$@"', "sh")
DRILL = (sys.executable, "-m", "tests.native.command", "nbsp", "drill", "--json")
# what is open in every tier
KNOWN_OPEN = {
    "as if from outside": ("h4-tun-tun-send", "h4-tun-tap-send")}
SOCKET_FAMILIES = ("--family", "H4", "--only", "h4-tcp", "--only", "h4-udp", "--only", "h4-raw", "--only", "h4-fast",
                   "--only", "h4-packet", "--only", "h4-new", "--only", "h4-any", "--only", "h4-dnat")


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    subprocess.run(["make", "--silent", "-C", str(ROOT / "drill")], check=True)


def answered(done: subprocess.CompletedProcess[str]) -> Any:
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}") from error


def alone(*arguments: str) -> Any:
    return answered(subprocess.run([*ALONE, *DRILL, *arguments], cwd=ROOT, text=True, capture_output=True,
                                   stdin=subprocess.DEVNULL, timeout=TIMEOUT_S))


def test_without_rules_every_attempt_gets_through_or_is_absent() -> None:
    report = alone("--without")
    wrong = [result for result in report["results"] if result["outcome"] not in ("through", "absent")]
    assert not wrong
    assert not [result for result in report["results"] if result["outcome"] == "absent" and not result["reason"]]
    assert report["good"] and not report["leftovers"]
    assert report["controls"]["total"] > 0 and report["controls"]["failed"] == 0
    assert len({result["id"] for result in report["results"]}) > 250


def test_the_network_is_blocked_on_this_kernel(elsewhere: Place) -> None:
    daemon = Daemon(elsewhere)
    daemon.start()
    before = daemon.nbsp_json("status")["rules"]
    report = answered(subprocess.run([*DRILL, "--runtime", str(daemon.settings.runtime), *SOCKET_FAMILIES], cwd=ROOT,
                                     text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S,
                                     preexec_fn=elsewhere.enter_guarded))
    expected = {name for names in KNOWN_OPEN.values() for name in names}
    assert not [result for result in report["results"] if result["outcome"] == "through"]
    assert {result["id"] for result in report["results"] if result["outcome"] == "open"} <= expected
    assert all(result["coverage"] for result in report["results"] if result["outcome"] == "open")
    assert report["counts"]["broken"] == 0 and report["counts"]["blocked"] > 80
    assert not report["leftovers"]
    assert daemon.nbsp_json("status")["rules"] == before and list(daemon.settings.rules.iterdir()) == []
    daemon.nbsp("detach", "--reason", "the test is over")
    daemon.stop()


def test_an_interrupted_drill_leaves_nothing(elsewhere: Place) -> None:
    daemon = Daemon(elsewhere)
    daemon.start()

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)    # a shell that runs tests with & ignores it
        elsewhere.enter_guarded()

    drill = subprocess.Popen([*DRILL, "--runtime", str(daemon.settings.runtime), *SOCKET_FAMILIES], cwd=ROOT, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=begin)
    while "drill-files" not in {rule["id"] for rule in daemon.nbsp_json("status")["rules"]}:
        assert drill.poll() is None, drill.communicate()
    drill.send_signal(signal.SIGINT)
    output, _ = drill.communicate(timeout=60)
    assert drill.returncode == 1 and json.loads(output)["error"]["cause"] == "interrupted"
    assert daemon.nbsp_json("status")["rules"] == [] and list(daemon.settings.rules.iterdir()) == []
    assert list(Path("/run").glob("nbspd-drill*")) == []
    daemon.nbsp("detach", "--reason", "the test is over")
    daemon.stop()
