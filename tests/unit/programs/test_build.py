"""The child: what is kept is loaded without a compiler; what cannot be used is compiled anew, with the reason told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nbspd.kernel import btf, features
from nbspd.paths import bpf_sources
from nbspd.programs import attach, build, catalogue, compiled
from nbspd.programs.build import Build, Failed, Order
from nbspd.programs.compiled import Program

EXIT = bytes.fromhex("9500000000000000")
OTHER = bytes.fromhex("b700000000000000") + EXIT


class FakeSet(attach.Set):
    """Takes every program but those that the test names, and pins plain files."""

    refuses: dict[str, str] = {}

    def load(self) -> None:
        for hook in catalogue.hooks_of(self.tier):
            reason = self.refuses.get(f"{self.tier}:{hook.name}") or self.refuses.get(
                f"{self.programs[hook.program(self.tier)].code.hex()}:{hook.name}")
            if reason:
                self.refused[hook.name] = reason
            else:
                self.loaded[hook.name] = os.open("/dev/null", os.O_RDONLY)

    def attach(self) -> tuple[list[attach.Row], str]:
        for name in self.loaded:
            (self.place.links / name).touch()
        return [attach.Row(hook.name, hook.name in self.loaded, self.refused.get(hook.name, ""))
                for hook in catalogue.hooks_of(self.tier)], ""


class Bench:
    """An order in a folder of the test's own, and how often something was compiled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.former = folder / "links-former"
        for path in (folder / "links", self.former):
            path.mkdir()
        (self.former / "cgroup_connect4").touch()
        self.compilations: list[str] = []
        self.code = EXIT

    def compile(self, tier: str) -> compiled.Programs:
        """Stand in for bcc."""
        self.compilations.append(tier)
        return {hook.program(tier): Program(self.code, {}) for hook in catalogue.hooks_of(tier)}

    def report(self, tier: str = "socket", former: str = "") -> dict[str, Any]:
        """Run the child's work."""
        order = Order(tier, str(bpf_sources()), str(self.folder / "compiled"), str(self.folder / "maps"),
                      str(self.folder / "links"), former, str(self.folder))
        return Build(order).report()

    @property
    def kept(self) -> list[Path]:
        """Return the kept files."""
        return sorted((self.folder / "compiled").iterdir())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path)
    monkeypatch.setattr(build, "Set", FakeSet)
    monkeypatch.setattr(FakeSet, "refuses", {})
    monkeypatch.setattr(Build, "compile", lambda self, tier: bench.compile(tier))
    monkeypatch.setattr(Build, "types", None)
    monkeypatch.setattr(features, "active_lsms", lambda: ("capability", "bpf"))
    monkeypatch.setattr(features, "try_program", lambda tier, types: ("yes", "", ""))
    (tmp_path / "btf").write_bytes(b"types")
    monkeypatch.setattr(btf, "VMLINUX", tmp_path / "btf")
    return bench


def test_only_the_first_compiles(bench: Bench) -> None:
    first, second = bench.report(), bench.report()
    assert (first["origin"], second["origin"], bench.compilations) == ("compiled", "from the cache", ["socket"])
    assert first["programs"] == second["programs"] and second["notes"] == []


def test_another_kernel_compiles(bench: Bench) -> None:
    bench.report()
    btf.VMLINUX.write_bytes(b"other types")
    assert bench.report()["origin"] == "compiled" and len(bench.kept) == 2


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.chmod(0o666),
                                  lambda path: path.write_text("nonsense"), lambda path: path.parent.chmod(0o770)])
def test_what_cannot_be_trusted_is_compiled_anew(bench: Bench, harm: Any) -> None:
    bench.report()
    path, = bench.kept
    harm(path)
    again = bench.report()
    assert again["origin"] == "compiled" and bench.kept == [path]
    note, = again["notes"]
    assert str(path) in note and "thrown away, compiling anew" in note
    assert bench.report()["origin"] == "from the cache"


def test_a_kept_program_that_the_kernel_refuses_now(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.report()
    monkeypatch.setattr(FakeSet, "refuses", {f"{EXIT.hex()}:cgroup_rmdir": "Invalid argument"})
    bench.code = OTHER
    again = bench.report()
    assert again["origin"] == "compiled" and all(row["is_attached"] for row in again["programs"])
    assert again["notes"] == [
        "the kernel refused a program that it took before, compiling anew: cgroup_rmdir: Invalid argument"]
    assert bench.report()["origin"] == "from the cache"


def test_a_program_that_never_loads_is_no_reason_to_compile(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSet, "refuses", {"socket:cgroup_rmdir": "Invalid argument"})
    first, second = bench.report(), bench.report()
    assert second["origin"] == "from the cache" and second["notes"] == [] and first["programs"] == second["programs"]
    assert {"name": "cgroup_rmdir", "is_attached": False, "reason": "Invalid argument"} in second["programs"]


def test_tiers_are_tried_in_order(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "active_lsms", lambda: ("capability",))
    monkeypatch.setattr(FakeSet, "refuses", {"fmod_ret:file_open": "Permission denied"})
    report = bench.report("auto")
    assert report["tier"] == "socket" and bench.compilations == ["fmod_ret", "socket"]
    assert report["tried"] == ["lsm: bpf is not among the active LSMs; boot with lsm=...,bpf",
                               "fmod_ret: the kernel refused file_open: Permission denied"]
    pinned = {path.name for path in (bench.folder / "links").iterdir()}
    assert pinned == {hook.name for hook in catalogue.hooks_of("socket")}


def test_what_is_kept_counts_for_nothing_without_the_lsm(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs for the bpf LSM load and attach where it is not active; nobody ever calls them."""
    assert bench.report("auto")["tier"] == "lsm"
    monkeypatch.setattr(features, "active_lsms", lambda: ("capability",))
    assert bench.report("auto")["tier"] == "fmod_ret"


def test_no_tier(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Build, tier: str) -> compiled.Programs:
        raise Failed("clang says no")
    monkeypatch.setattr(Build, "compile", fail)
    report = bench.report("lsm")
    assert (report["tier"], report["error"], report["programs"]) == ("", "lsm: clang says no", [])


def test_former_programs_go_when_the_new_ones_are_attached(bench: Bench) -> None:
    assert bench.report(former=str(bench.former))["error"] == "" and not bench.former.exists()


def test_former_programs_stay_when_the_new_ones_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSet, "refuses", {"socket:cgroup_connect4": "Permission denied"})
    assert bench.report(former=str(bench.former))["error"]
    assert [path.name for path in bench.former.iterdir()] == ["cgroup_connect4"]


def test_former_programs_that_cannot_be_removed_are_told(bench: Bench) -> None:
    (bench.former / "folder").mkdir()
    report = bench.report(former=str(bench.former))
    assert report["error"] == "" and "former programs stay beside the new ones" in report["notes"][0]


def test_a_full_disk_is_survived(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(compiled, "write", full)
    report = bench.report()
    assert report["error"] == "" and "cannot be kept" in report["notes"][0] and "No space left" in report["notes"][0]


def test_programs_that_one_run_took_are_marked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSet, "refuses", {"socket:cgroup_rmdir": "Invalid argument"})
    bench.report()
    path, = bench.kept
    programs = compiled.read(path.parent, path.name)
    assert programs is not None
    assert programs["raw_tracepoint__cgroup_rmdir"] == replace(Program(EXIT, {}), is_taken=False)
    assert programs["cgroup_connect4"].is_taken
