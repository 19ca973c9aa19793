"""The unit and the package agree with one another and with the commands."""

from __future__ import annotations

import configparser
import importlib
import re
from pathlib import Path

import pytest

from nbspd import __version__, paths

ROOT = Path(__file__).parents[3]
UNIT = (ROOT / "systemd/nbspd.service").read_text()
SETTINGS = dict(line.split("=", 1) for line in UNIT.splitlines() if "=" in line and not line.startswith("#"))

# systemd.exec(5): each of these gives the service a mount namespace, in which the paths of rules may mean other things
MOUNT_NAMESPACE = (
    "ProtectSystem", "ProtectHome", "ProtectProc", "ProcSubset", "ProtectKernelTunables", "ProtectKernelModules",
    "ProtectKernelLogs", "ProtectControlGroups", "PrivateTmp", "PrivateDevices", "PrivateMounts", "PrivateUsers",
    "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "ExecPaths", "NoExecPaths", "BindPaths",
    "BindReadOnlyPaths", "TemporaryFileSystem", "MountAPIVFS", "RootDirectory", "RootImage", "DynamicUser")


@pytest.mark.parametrize("name", MOUNT_NAMESPACE)
def test_the_unit_has_the_hosts_mounts(name: str) -> None:
    assert name not in SETTINGS


@pytest.mark.parametrize("name, value", [
    ("Type", "notify"), ("WatchdogSec", "30"), ("Restart", "always"), ("KillMode", "mixed"),
    ("DefaultDependencies", "no"), ("ExecStart", "/usr/sbin/nbspd"), ("ExecReload", "/usr/bin/nbsp reload"),
    ("WantedBy", "sysinit.target")])
def test_the_unit_says(name: str, value: str) -> None:
    assert SETTINGS[name] == value


def test_the_unit_comes_before_the_network_and_all_services() -> None:
    assert {"network-pre.target", "sysinit.target", "shutdown.target"} <= set(SETTINGS["Before"].split())


def test_versions_are_equal() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    first = (ROOT / "debian/changelog").read_text().splitlines()[0]
    assert setup["metadata"]["version"] == __version__
    assert re.fullmatch(r"nbspd \((.*)\) \w+; urgency=\w+", first)[1] == __version__     # type: ignore[index]


def test_the_package_installs_where_the_code_looks() -> None:
    install = dict(line.split() for line in (ROOT / "debian/nbspd.install").read_text().splitlines())
    assert f"/{install['bpf/*']}" == str(paths.INSTALLED_BPF)
    assert (ROOT / "debian/nbspd.dirs").read_text().strip() == str(paths.RULES)[1:]
    assert (ROOT / "systemd/nbspd.sysusers").read_text().splitlines()[-1].split()[:2] == ["g", paths.GROUP]
    assert f"d {paths.RUNTIME} 0750 root {paths.GROUP} -" in (ROOT / "systemd/nbspd.tmpfiles").read_text()


@pytest.mark.parametrize("name", ["nbsp", "nbspd"])
def test_the_commands_exist(name: str) -> None:
    script = (ROOT / "debian/bin" / name).read_text()
    assert script.startswith("#!/usr/bin/python3 -I\n")     # nothing from the environment or the current folder
    match = re.search(r"^from (\S+) import main$", script, re.MULTILINE)
    assert match is not None and callable(importlib.import_module(match[1]).main)


@pytest.mark.parametrize("link", ["nbspd.service", "nbspd.sysusers", "nbspd.tmpfiles"])
def test_debhelper_finds_the_units(link: str) -> None:
    assert (ROOT / "debian" / link).resolve() == (ROOT / "systemd" / link).resolve()


def test_every_verb_of_the_protocol_has_its_command() -> None:
    from nbspd.cli.nbsp import VERBS
    from nbspd.control.protocol import VERBS as ASKED
    assert {(verb.command or name).split()[0] for name, verb in ASKED.items()} - {"ping"} <= set(VERBS)
