"""Adopting, or loading with a child: here the pins are plain files and the child is a line of Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from nbspd.errors import HostError, LoadError
from nbspd.kernel.features import PROBES
from nbspd.paths import Settings
from nbspd.programs import loader, source, tables

CGROUP = Path("/sys/fs/cgroup")
REPORT = {"tier": "lsm", "error": "", "tried": ["x: y"], "origin": "compiled",
          "notes": ["a file was damaged"], "programs": [
    {"name": "file_open", "is_attached": True, "reason": ""},
    {"name": "mmap_file", "is_attached": False, "reason": "this kernel has no such hook"}]}
Child = Callable[..., None]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(loader.mounts, "bpffs_ready", lambda path, mount: True)
    monkeypatch.setattr(tables, "create", lambda folder: folder.mkdir(exist_ok=True))
    for name in loader.NEEDED:
        monkeypatch.setitem(PROBES, name, lambda: ("yes", "here", ""))
    return Settings(state=tmp_path / "state", pins=tmp_path / "pins")


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    """Say what the child does: Python that has the order as `order`."""
    def become(code: str) -> None:
        text = f"import json, os, pathlib, signal, sys, time\norder = json.load(sys.stdin)\n{code}"
        monkeypatch.setattr(loader, "spawn", lambda module, **how: subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", text], stdout=subprocess.PIPE, **how))
    return become


def builds(child: Child, report: Any = REPORT) -> None:
    """Let the child pin what it says is attached."""
    child(f"report = json.loads({json.dumps(json.dumps(report))})\n"
          "for row in report['programs']:\n"
          "    row['is_attached'] and pathlib.Path(order['links'], row['name']).touch()\n"
          "print(json.dumps(report))")


def load(settings: Settings) -> loader.Loaded:
    return loader.load(settings, CGROUP)


def links(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.pins.glob("links-*"))


# -- loading and adopting


def test_what_was_loaded_is_adopted_by_the_next(settings: Settings, child: Child) -> None:
    builds(child)
    first = load(settings)
    assert (first.report.origin, first.report.notes) == ("compiled", ("a file was damaged",))
    assert first.report.words.startswith("compiled in 0.")
    assert not first.report.adopted and first.report.tier == "lsm" and first.report.tried == ("x: y",)
    assert [(one.name, one.attached) for one in first.report.programs] == [("file_open", True), ("mmap_file", False)]
    assert settings.pins.stat().st_mode & 0o777 == 0o700
    child("sys.exit('nothing is to be compiled')")
    second = load(settings)
    assert second.report.adopted and (second.links, second.maps) == (first.links, first.maps)
    assert second.report.programs == first.report.programs and second.report.tried == first.report.tried


def test_adopting_needs_no_compiler(settings: Settings, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    builds(child)
    load(settings)
    monkeypatch.setitem(PROBES, "bcc", lambda: ("no", "this Python has no module bcc", "apt install it"))
    assert load(settings).report.adopted


def change_manifest(settings: Settings, **fields: object) -> None:
    path = settings.state / "programs.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_manifest_of_another_boot_is_not_adopted(settings: Settings, child: Child) -> None:
    builds(child)
    load(settings)
    change_manifest(settings, boot="another")
    assert not load(settings).report.adopted


def test_other_programs_are_loaded_beside_the_old_ones(
        settings: Settings, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    builds(child)
    first = load(settings)
    monkeypatch.setattr(source, "programs_digest", lambda *_: "0123456789abcdef")
    second = load(settings)
    assert not second.report.adopted and second.maps == first.maps
    assert links(settings) == sorted([first.links.name, "links-0123456789abcdef-2"])
    assert (first.links / "file_open").exists()
    (settings.pins / "links-of-somebody").write_text("a foreign file")
    (settings.pins / "foreign").mkdir()
    loader.retire_others(settings, second)
    assert links(settings) == ["links-0123456789abcdef-2", "links-of-somebody"] and second.maps.is_dir()
    assert (settings.pins / "foreign").is_dir()


@pytest.mark.parametrize("lost", ["file_open", "maps"])
def test_a_pin_that_is_gone_is_loaded_anew(settings: Settings, child: Child, lost: str) -> None:
    builds(child)
    first = load(settings)
    if lost == "maps":
        first.maps.rmdir()
    else:
        (first.links / lost).unlink()
    assert not load(settings).report.adopted


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"digest": 1}'])
def test_a_broken_manifest_is_none(settings: Settings, child: Child, text: str) -> None:
    builds(child)
    settings.state.mkdir()
    (settings.state / "programs.json").write_text(text)
    assert not load(settings).report.adopted


def test_a_manifest_that_cannot_be_written_is_done_without(settings: Settings, child: Child) -> None:
    builds(child)
    settings.state.write_text("a file where the folder belongs")
    assert not load(settings).report.adopted and not load(settings).report.adopted


def test_forgetting_leaves_nothing_of_ours(settings: Settings, child: Child) -> None:
    builds(child)
    load(settings)
    loader.forget(settings)
    assert not settings.pins.exists() and not (settings.state / "programs.json").exists()
    loader.forget(settings)


# -- a child that fails


@pytest.mark.parametrize("code, words", [
    ("sys.exit('LLVM ERROR: out of everything')", "ended with status 1: LLVM ERROR: out of everything"),
    ("print('one', file=sys.stderr); os.kill(os.getpid(), signal.SIGKILL)", "ended with status -9"),
    ("print('nonsense')", "ended with status 0"),
    ("print('3')", "ended with status 0"),
    ("", "ended with status 0"),
])
def test_a_child_that_dies_or_babbles(settings: Settings, child: Child, code: str, words: str) -> None:
    builds(child)
    before = load(settings)
    change_manifest(settings, digest="older")
    child(code)
    with pytest.raises(LoadError, match=words) as caught:
        load(settings)
    assert "\n" not in str(caught.value) and caught.value.remedy == "run: nbsp doctor"
    assert links(settings) == [before.links.name] and (before.links / "file_open").exists()


def test_a_child_that_takes_too_long(settings: Settings, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "BUILD_TIMEOUT_S", 0.3)
    child("time.sleep(60)")
    with pytest.raises(LoadError, match="took more than"):
        load(settings)
    assert links(settings) == []


def test_no_tier_at_all(settings: Settings, child: Child) -> None:
    builds(child, {"tier": "", "error": "lsm: this; socket: that", "programs": [], "tried": []})
    with pytest.raises(LoadError, match="no tier can be loaded on this kernel: lsm: this; socket: that"):
        load(settings)
    assert links(settings) == []


# -- a host that lacks something


@pytest.mark.parametrize("name", loader.NEEDED)
def test_what_the_host_lacks_is_said_before_anything_is_made(
        settings: Settings, child: Child, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    child("sys.exit('too late')")
    monkeypatch.setitem(PROBES, name, lambda: ("no", f"no {name}", f"get {name}"))
    with pytest.raises(HostError) as caught:
        load(settings)
    assert (caught.value.cause, caught.value.remedy) == (f"no {name}", f"get {name}")
    assert not settings.pins.exists()


def test_not_knowing_is_no_reason(settings: Settings, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    builds(child)
    monkeypatch.setitem(PROBES, "lockdown", lambda: ("unknown", "cannot be read", ""))
    assert load(settings).report.tier == "lsm"


def test_a_foreign_file_where_the_pins_belong(settings: Settings, child: Child) -> None:
    settings.pins.write_text("somebody's")
    with pytest.raises(LoadError, match="cannot pin below .*: File exists") as caught:
        load(settings)
    assert str(settings.pins) in caught.value.remedy and settings.pins.read_text() == "somebody's"


# -- taking over from programs that use the same tables


def order_of(settings: Settings, child: Child, monkeypatch: pytest.MonkeyPatch,
             are_whole: bool = True) -> dict[str, str]:
    """Return the order that the child gets for other programs than those pinned."""
    report = json.dumps(REPORT)
    child(f"pathlib.Path(order['links'], 'file_open').touch()\n"
          f"pathlib.Path({str(settings.rules)!r}).write_text(json.dumps(order))\nprint({report!r})")
    monkeypatch.setattr(source, "programs_digest", lambda *_: "0123456789abcdef")
    monkeypatch.setattr(tables, "are_whole", lambda folder: are_whole)
    load(settings)
    order: dict[str, str] = json.loads(settings.rules.read_text())
    return order


@pytest.fixture
def upgraded(settings: Settings, tmp_path: Path) -> Settings:
    return Settings(state=settings.state, pins=settings.pins, rules=tmp_path / "order")


def test_the_child_hears_of_former_programs(upgraded: Settings, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    builds(child)
    first = load(upgraded)
    order = order_of(upgraded, child, monkeypatch)
    assert order["former"] == str(first.links) and order["compiled"] == str(upgraded.state / "compiled")


@pytest.mark.parametrize("change", [{"boot": "another"}, {"maps": "maps-others"}, {"links": "links-gone-1"},
                                    {"links": ".."}, {"links": "../../etc"}, None])
def test_former_programs_that_cannot_be_taken_over(upgraded: Settings, child: Child, monkeypatch: pytest.MonkeyPatch,
                                                   change: dict[str, str] | None) -> None:
    builds(child)
    load(upgraded)
    change_manifest(upgraded, **change or {})
    assert order_of(upgraded, child, monkeypatch, are_whole=change is not None)["former"] == ""


def test_new_programs_never_take_over_from_themselves(
        upgraded: Settings, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their folder may get the name that the manifest has of one that is gone."""
    builds(child)
    first = load(upgraded)
    loader.remove(first.links)
    change_manifest(upgraded, links="links-0123456789abcdef-1")
    order = order_of(upgraded, child, monkeypatch)
    assert Path(order["links"]).name == "links-0123456789abcdef-1" and order["former"] == ""


def test_what_cannot_be_retired_is_said(settings: Settings, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    builds(child)
    loaded = load(settings)
    for name in ("links-a-7", "links-b-8"):
        (settings.pins / name).mkdir()

    def refuse(folder: Path) -> None:
        if folder.name == "links-a-7":
            raise OSError(16, "Device or resource busy")
        folder.rmdir()
    monkeypatch.setattr(loader, "remove", refuse)
    told, = loader.retire_others(settings, loaded)
    assert "links-a-7" in told and "busy" in told
    assert links(settings) == sorted([loaded.links.name, "links-a-7"])
    monkeypatch.setattr(Path, "iterdir", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    assert "Input/output error" in loader.retire_others(settings, loaded)[0]
