"""Bad input and trouble on this machine's kernel: one cause, one remedy, and what is enforced stays enforced.

The table of all items and their tests is in tests/unit/test_trouble.py.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest

from nbspd.kernel import bpf
from nbspd.paths import bpf_sources
from nbspd.programs import source

from .daemon import ROOT, Daemon
from .host import TCP_PORT, Host, assert_denied
from .place import Place

NOBODY = 65534
DB = {"tcp": [f"127.0.0.1:{TCP_PORT}"]}
CONNECT = ("connect", "inet", "stream", ["127.0.0.1", TCP_PORT])


@pytest.fixture
def guarded(host: Host) -> Iterator[Host]:
    """The host with a rule that is active, and checked to be so still after the trouble."""
    generation = host.apply(DB, id="trouble")
    client = host.actor()
    assert_denied([("before", client.do(*CONNECT))])
    yield host
    assert host.status()["generation"] == generation
    assert_denied([("after", client.do(*CONNECT))])


def refused(host: Host) -> str:
    """Reload, which must fail with a cause and a remedy; return all that is said."""
    done = host.daemon.nbsp("reload")
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[-2].startswith("nbsp: ") and lines[-1].startswith("  remedy: ") and "bug" not in done.stderr
    return done.stderr


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make, words", [(folder, "this is not a regular file"),
                                         (dangling, "the file cannot be read: No such file or directory")])
def test_a_rule_file_that_cannot_be_read(guarded: Host, make: Callable[[Path], None], words: str) -> None:
    path = guarded.daemon.settings.rules / "b.yaml"
    make(path)
    try:
        assert f"{path}: {words}" in refused(guarded)
    finally:
        path.unlink() if path.is_symlink() else path.rmdir()


def test_a_rule_directory_that_does_not_exist(guarded: Host) -> None:
    rules = guarded.daemon.settings.rules
    away = rules.with_name("away")
    rules.rename(away)
    try:
        assert f"{rules}: the rule directory does not exist; create it: mkdir -p {rules}" in refused(guarded)
    finally:
        away.rename(rules)


def test_a_unit_that_does_not_exist(guarded: Host) -> None:
    guarded.write({"pooler": {"exe": str(guarded.programs["pooler"]), "unit": "nbspd-native-nothing.service"}},
                  {"db": DB}, [{"id": "trouble", "protect": "db", "only-through": ["pooler"]}])
    assert "there is no unit nbspd-native-nothing.service" in refused(guarded)


def test_a_file_system_that_cannot_be_protected(guarded: Host) -> None:
    way = guarded.folder / "way"
    way.symlink_to("/proc/self/mem")
    guarded.write({}, {"memory": {"files": [str(way)]}},
                  [{"id": "trouble", "protect": "memory", "only-through": []}])
    try:
        assert "which is one process's own" in refused(guarded)
    finally:
        way.unlink()


def test_without_root(guarded: Host) -> None:
    code = ("import os, sys; from tests.native import command; from nbspd.cli.nbspd import main; import nbspd.service; "
            f"os.setresuid({NOBODY}, {NOBODY}, {NOBODY}); sys.exit(main())")     # it may not read the checkout
    command = guarded.daemon.command()
    done = subprocess.run([command[0], "-c", code, *command[4:]], cwd=ROOT, text=True, capture_output=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines()[-2:] == [
        "nbspd: nbspd must run as root: it loads programs into the kernel", "  remedy: sudo systemctl start nbspd"]


def test_a_foreign_table_among_ours(elsewhere: Place) -> None:
    daemon = Daemon(elsewhere)
    pins = daemon.settings.pins
    maps = pins / f"maps-{source.maps_digest(source.read_sources(bpf_sources()))}"
    maps.mkdir(parents=True)
    foreign = maps / "objects"
    fd = bpf.map_create(bpf.BPF_MAP_TYPE_ARRAY, 4, 4, 1, name="foreign")
    bpf.obj_pin(fd, foreign)
    os.close(fd)
    assert daemon.launch().wait(60) == 1
    said = daemon.said().splitlines()
    assert f"nbspd: {foreign} is a foreign BPF object" in said and f"  remedy: remove it: rm {foreign}" in said
    fd = bpf.obj_get(foreign)
    info = bpf.obj_info(fd)
    os.close(fd)
    assert isinstance(info, bpf.MapInfo) and info.key_size == 4
