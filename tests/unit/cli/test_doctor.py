from __future__ import annotations

import pytest

from nbspd.cli.doctor import NEEDED, Daemon, Package, diagnose, expected_tier, packages
from nbspd.kernel.features import PROBES, Feature

from .running import Runner

RUNS = Daemon("yes", "it runs", "", 3)
ABSENT = Daemon("no", "nobody listens", "systemctl start nbspd")
GOOD = [Feature(name, "yes", "fine") for name in PROBES]


def with_state(name: str, state: str) -> list[Feature]:
    return [Feature(f.name, state, "because", "a remedy") if f.name == name else f for f in GOOD]


def test_what_is_needed_is_probed() -> None:
    assert set(NEEDED) <= set(PROBES)


def test_a_good_host() -> None:
    answer = diagnose(GOOD, [], RUNS)
    assert answer.exit_code == 0 and answer.data["tier"] == "lsm" and "missing" not in answer.text


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_need_is_fatal(name: str) -> None:
    answer = diagnose(with_state(name, "no"), [], ABSENT)
    assert answer.exit_code == 1 and answer.data["missing"] == [name] and answer.data["tier"] is None
    assert "a remedy" in answer.text and f"Nothing can be enforced here: {name}." in answer.text


@pytest.mark.parametrize("name", NEEDED)
def test_not_known_is_not_missing(name: str) -> None:
    assert diagnose(with_state(name, "unknown"), [], ABSENT).exit_code == 0


def test_who_asks_does_not_matter_once_the_daemon_runs() -> None:
    assert diagnose(with_state("root", "no"), [], RUNS).exit_code == 0


def test_a_missing_package() -> None:
    needed = Package("python3-psutil", "no", "not installed", "apt install python3-psutil", True)
    assert diagnose(GOOD, [needed], ABSENT).exit_code == 1
    optional = Package("python3-systemd", "no", "not installed", "apt install python3-systemd", False)
    answer = diagnose(GOOD, [optional], ABSENT)
    assert answer.exit_code == 0 and "apt install python3-systemd" in answer.text


def test_packages_are_found() -> None:
    assert {part.name: part.state for part in packages()}["python3-click"] == "yes"


@pytest.mark.parametrize("states, tier", [
    ({"lsm": "yes", "lsm_program": "yes"}, "lsm"), ({"lsm": "yes", "lsm_program": "unknown"}, "lsm"),
    ({"lsm": "no", "fmod_ret_program": "yes"}, "fmod_ret"),
    ({"lsm": "yes", "lsm_program": "no", "fmod_ret_program": "no"}, "socket"), ({"fmod_ret_program": "no"}, "socket")])
def test_expected_tier(states: dict[str, str], tier: str) -> None:
    assert expected_tier(states) == tier


def test_the_whole_verb(nbsp: Runner, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = nbsp("doctor", "--json", "--runtime", tmp_path_factory.mktemp("run")).json
    assert found["daemon"]["state"] == "no" and found["daemon"]["remedy"]
    assert {each["name"] for each in found["features"]} == set(PROBES)
