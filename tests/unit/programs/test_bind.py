"""Binding a plan to this host, by stat alone."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from pathlib import Path
from typing import Any

import psutil
import pytest

from nbspd import abi
from nbspd.errors import Problem, RulesError
from nbspd.kernel.mounts import parse_mountinfo
from nbspd.programs import bind as module
from nbspd.programs.bind import bind
from nbspd.programs.bound import Binding, Bound
from nbspd.programs.image import render
from nbspd.programs.inspect import Inode, Inspector, Key
from nbspd.programs.names import SLOT_WORDS, name_hash, pseudo_hash
from nbspd.programs.places import Lookup
from nbspd.rules.plan import MAPPED, Plan
from nbspd.rules.pseudo import Place

from .plans import numbers_of, plan_of, program

ALL = 128


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder whose path has no symbolic links, with a program in it."""
    folder = Path(os.path.realpath(tmp_path))
    program(folder / "pooler")
    return folder


def bound_of(plan: Plan) -> Bound:
    return bind(plan, numbers_of(plan), Inspector())


def problems(plan: Plan) -> tuple[Problem, ...]:
    with pytest.raises(RulesError) as caught:
        bound_of(plan)
    for problem in caught.value.problems:
        assert problem.where and problem.what and problem.right and "\n" not in str(problem)
    return caught.value.problems


def problem(plan: Plan) -> str:
    one, = problems(plan)
    return str(one)


def key(path: Path) -> Key:
    with Inspector() as inspector:
        inode = inspector.look(str(path))
        assert inode is not None
        return inode.key


def checkpoint(**fields: Any) -> Plan:
    return plan_of({"pooler": fields}, {"db": {"tcp": ["192.0.2.1:1"]}}, r=("db", ["pooler"]))


def protecting(here: Path, **resource: Any) -> Plan:
    """Return a plan with one rule on one resource."""
    return plan_of({"pooler": {"exe": f"{here}/pooler"}}, {"data": resource}, r=("data", ["pooler"]))


# -- checkpoints


def test_a_checkpoint(here: Path) -> None:
    plan = checkpoint(exe=f"{here}/pooler", user="root",
                      sha256=hashlib.sha256((here / "pooler").read_bytes()).hexdigest())
    one, = bound_of(plan).checkpoints
    assert (one.exe, one.uid, one.cgroup) == (key(here / "pooler"), 0, None)


@pytest.mark.parametrize("name, content, mode, words", [
    ("gone", None, 0, "there is no"),
    ("script", b"#!/usr/bin/perl -w\nexit\n", 0o755, "is a script; the kernel runs /usr/bin/perl -w"),
    ("text", b"exit\n", 0o755, "is not an ELF program"),
    ("empty", b"", 0o755, "is not an ELF program"),
    ("plain", b"\x7fELF", 0o644, "is not an executable file"),
])
def test_what_is_no_program(here: Path, name: str, content: bytes | None, mode: int, words: str) -> None:
    if content is not None:
        (here / name).write_bytes(content)
        (here / name).chmod(mode)
    said = problem(checkpoint(exe=f"{here}/{name}"))
    assert words in said and f"{here}/{name}" in said and said.startswith("a.yaml:")


def test_a_folder_and_a_loop_are_no_programs(here: Path) -> None:
    assert "is not an executable file" in problem(checkpoint(exe=str(here)))
    (here / "loop").symlink_to("loop")
    assert "Too many levels of symbolic links" in problem(checkpoint(exe=f"{here}/loop"))


def test_another_sum(here: Path) -> None:
    said = problem(checkpoint(exe=f"{here}/pooler", sha256="0" * 64))
    assert hashlib.sha256((here / "pooler").read_bytes()).hexdigest() in said


def test_users(here: Path) -> None:
    assert "there is no user nobody-at-all" in problem(checkpoint(exe=f"{here}/pooler", user="nobody-at-all"))
    one, = bound_of(checkpoint(exe=f"{here}/pooler", user="4711")).checkpoints
    assert one.uid == 4711


def test_units(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = checkpoint(exe=f"{here}/pooler", unit="pooler.service")
    monkeypatch.setattr(module, "unit_cgroups", lambda names: ({}, {name: "systemd says not-found" for name in names}))
    assert "there is no unit pooler.service (systemd says not-found)" in problem(plan)
    monkeypatch.setattr(module, "unit_cgroups", lambda names: ({name: f"/system.slice/{name}" for name in names}, {}))
    assert bound_of(plan).checkpoints[0].cgroup == "/system.slice/pooler.service"


def test_a_program_under_too_many_names(here: Path) -> None:
    def plan(count: int) -> Plan:
        for index in range(count):
            if not (here / f"link{index}").exists():
                os.link(here / "pooler", here / f"link{index}")     # the lint sees eight programs
        return plan_of({f"c{index}": {"exe": f"{here}/link{index}"} for index in range(count)},
                       {"db": {"tcp": ["192.0.2.1:1"]}}, r=("db", [f"c{index}" for index in range(count)]))
    assert len(bound_of(plan(7)).checkpoints) == 7
    assert "more than 7 checkpoints run" in problem(plan(8))


def test_every_problem_is_told_at_once(here: Path) -> None:
    plan = plan_of({"a": {"exe": f"{here}/gone"}, "b": {"exe": f"{here}/pooler", "user": "nobody-at-all"}},
                   {"x": {"files": [str(here)], "trees": [f"{here}/pooler"]}}, r=("x", ["a", "b"]))
    assert len(problems(plan)) == 4


# -- paths


def test_a_file_is_bound_by_inode_and_by_name(here: Path) -> None:
    (here / "file").write_text("")
    bound = bound_of(protecting(here, files=[f"{here}/file"]))
    clauses = bound.inodes[key(here / "file")].own
    assert [clause.rule for clause in clauses] == [0]
    assert bound.slots[key(here), b"file"].own == clauses and not bound.slots[key(here), b"file"].tree
    assert bound.names.objects[key(here / "file")] == f"{here}/file"
    assert bound.names.objects[key(here)] == str(here) and bound.missing == ()


def test_a_file_that_does_not_exist_yet(here: Path) -> None:
    bound = bound_of(protecting(here, files=[f"{here}/later"]))
    assert not bound.inodes and list(bound.slots) == [(key(here), b"later")] and bound.missing == ()


def test_a_file_in_a_folder_that_does_not_exist_yet(here: Path) -> None:
    bound = bound_of(protecting(here, files=[f"{here}/no/such/file"]))
    assert not bound.inodes and bound.missing == (f"{here}/no/such/file",)
    assert bound.slots == {(key(here), b"no"): Binding()}


def test_the_first_missing_name_is_watched_and_protects_nothing(here: Path) -> None:
    plan = protecting(here, files=[f"{here}/a/b/key"], trees=[f"{here}/a/b/c/tree"])
    for folder, names in (("", b"a"), ("a", b"b")):
        bound = bound_of(plan)
        assert bound.slots == {(key(here / folder), names): Binding()}
        (slot, value), = render(bound, {0: 0}).inner["slots"]
        assert struct.unpack("<IIQ", value) == (0, 0, name_hash(names, SLOT_WORDS)) and len(slot) == 24
        assert set(bound.missing) == {f"{here}/a/b/key", f"{here}/a/b/c/tree"}
        (here / folder / os.fsdecode(names)).mkdir()
    bound = bound_of(plan)
    assert bound.slots[key(here / "a/b"), b"key"].own and bound.slots[key(here / "a/b"), b"c"] == Binding()
    assert bound.missing == (f"{here}/a/b/c/tree",)
    (here / "a/b/c").mkdir()
    bound = bound_of(plan)
    assert set(bound.slots) == {(key(here / "a/b"), b"key"), (key(here / "a/b/c"), b"tree")} and not bound.missing


def test_what_is_watched_may_be_declared_as_well(here: Path) -> None:
    for trees, files in (([f"{here}/a"], [f"{here}/a/key"]), ([f"{here}/b/a"], [f"{here}/b"])):
        bound = bound_of(protecting(here, trees=trees, files=files))
        (slot, binding), = bound.slots.items()
        assert slot[0] == key(here) and binding.own and bound.missing


def test_a_file_and_a_link_to_nowhere_in_the_place_of_a_folder(here: Path) -> None:
    (here / "file").write_text("")
    (here / "way").symlink_to("gone/far")
    bound = bound_of(protecting(here, files=[f"{here}/file/key", f"{here}/way/key"]))
    assert bound.slots == {(key(here), name): Binding() for name in (b"file", b"way", b"gone")}
    assert bound.missing == (f"{here}/file/key", f"{here}/way/key")


def test_nothing_is_watched_where_nothing_can_be_protected(here: Path) -> None:
    (here / "way").symlink_to("/proc")
    bound = bound_of(protecting(here, unix=[f"{here}/way/no/such/file"]))
    assert not bound.slots and bound.missing == (f"{here}/way/no/such/file",)


def test_links_protect_the_name_and_what_it_leads_to(here: Path) -> None:
    (here / "real").mkdir()
    (here / "real" / "file").write_text("")
    (here / "way").symlink_to("real")
    (here / "link").symlink_to("way/file")
    bound = bound_of(protecting(here, files=[f"{here}/link"]))
    assert set(bound.inodes) == {key(here / "real/file")}
    assert set(bound.slots) == {(key(here), b"link"), (key(here / "real"), b"file")}
    bound = bound_of(protecting(here, files=[f"{here}/way/later"]))
    assert set(bound.slots) == {(key(here / "real"), b"later")}


def test_what_is_declared_as_something_else(here: Path) -> None:
    (here / "file").write_text("")
    assert "is a directory; declare it under trees:" in problem(protecting(here, files=[str(here)]))
    assert "is not a directory; declare it under files:" in problem(protecting(here, trees=[f"{here}/file"]))
    assert "is not a device; declare it under files:" in problem(protecting(here, devices=[f"{here}/file"]))


def test_a_path_that_cannot_be_looked_at(here: Path) -> None:
    (here / "loop").symlink_to("loop")
    assert "cannot look at" in problem(protecting(here, files=[f"{here}/loop"]))


def test_file_systems_that_cannot_be_protected(here: Path) -> None:
    (here / "way").symlink_to("/proc/version")
    found = problems(protecting(here, devices=[f"{here}/way"]))
    assert all("is on proc, whose files nbspd cannot protect" in str(one) for one in found)


# -- pseudo file systems


def test_a_pseudo_file_is_bound_by_its_path(here: Path) -> None:
    (here / "way").symlink_to("/proc/later")
    bound = bound_of(protecting(here, files=["/proc/sys/kernel/core_pattern", "/sys/kernel/no-such-knob",
                                             f"{here}/way"], trees=["/sys/kernel/debug"], access=["write"]))
    assert not bound.inodes and not bound.missing and list(bound.slots) == [(key(here), b"way")]
    pseudo = bound.pseudo
    assert set(pseudo.own) == {Place("proc", ("sys", "kernel", "core_pattern")), Place("proc", ("later",)),
                               Place("sysfs", ("kernel", "no-such-knob"))}
    assert set(pseudo.trees) >= {Place("debugfs"), Place("tracefs")}
    assert bound.names.objects[0, pseudo_hash(Place("debugfs")), 0] == "/sys/kernel/debug"


def test_a_pseudo_file_of_a_process_is_refused(here: Path) -> None:
    (here / "way").symlink_to("/proc/self/mem")
    said = problem(protecting(here, files=[f"{here}/way"]))
    assert "which is one process's own" in said and "write /proc/**/mem for that file of every process" in said


MOUNTS = parse_mountinfo("""1 1 254:0 / / rw - ext4 /dev/vda rw
2 1 0:20 / /proc rw - proc proc rw
3 2 0:21 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw
4 1 0:22 / /sys rw - sysfs sysfs rw
5 4 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw
6 5 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw
7 1 0:20 /sys/kernel /srv/jail/kernel rw - proc proc rw
8 1 0:25 / /srv/jail/sys rw - sysfs sysfs rw
""")


@pytest.mark.parametrize("path, place, is_waiting", [
    ("/proc/sys/kernel/modprobe", Place("proc", ("sys", "kernel", "modprobe")), False),
    ("/proc", Place("proc"), False),
    ("/proc/**/mem", Place("proc", ("**", "mem")), False),
    ("/proc/sys/fs/binfmt_misc/register", None, True),      # whoever looks there mounts it
    ("/sys/kernel/debug/x", Place("sysfs", ("kernel", "debug", "x")), True),
    ("/sys/fs/cgroup/systemd/release_agent", Place("cgroup", ("release_agent",)), False),
    ("/sys/fs/cgroup/x", None, True),
    ("/srv/jail/kernel/modprobe", Place("proc", ("sys", "kernel", "modprobe")), False),
    ("/srv/jail/sys/kernel/x", Place("sysfs", ("kernel", "x")), False),
    ("/srv/payroll", None, False),
])
def test_where_a_path_lies(path: str, place: Place | None, is_waiting: bool) -> None:
    lookup = Lookup(MOUNTS)
    assert (lookup.place(path), lookup.is_waiting(path)) == (place, is_waiting)


def test_nobody_looks_where_a_file_system_waits_to_be_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    def real(path: str) -> str:
        raise AssertionError(f"looked at {path}")
    monkeypatch.setattr(os.path, "realpath", real)
    assert Lookup(MOUNTS).real("/proc/sys/fs/binfmt_misc/register") == "/proc/sys/fs/binfmt_misc/register"
    assert Lookup(MOUNTS).real("/proc/**/mem") == "/proc/**/mem"


def test_a_device_is_bound_by_its_number_too(here: Path) -> None:
    class WithDevice(Inspector):
        def _inode(self, facts: os.stat_result) -> Inode:
            inode = super()._inode(facts)
            return Inode(inode.key, stat.S_IFCHR | 0o666, 0x700003, 0) if stat.S_ISREG(facts.st_mode) else inode
    (here / "device").write_text("")
    plan = plan_of({}, {"x": {"devices": [f"{here}/device"]}}, r=("x", []))
    bound = bind(plan, numbers_of(plan), WithDevice())
    assert set(bound.inodes) == {key(here / "device"), (abi.RDEV_DEV, 0x700003, 0)}


def test_trees_enclose_by_what_they_really_are(here: Path) -> None:
    (here / "outer" / "inner").mkdir(parents=True)
    (here / "outer" / "inner" / "file").write_text("")
    (here / "elsewhere").symlink_to("outer/inner")
    plan = plan_of({"pooler": {"exe": f"{here}/pooler"}},
                   {"tree": {"trees": [f"{here}/outer"]}, "nested": {"trees": [f"{here}/elsewhere"]},
                    "file": {"files": [f"{here}/elsewhere/file"], "access": ["write"]}},
                   a=("tree", ["pooler"]), b=("nested", ["pooler"]), c=("file", ["pooler"]))
    bound = bound_of(plan)

    def rules(clauses: Any) -> str:
        return "".join(plan.rules[clause.rule].id for clause in clauses)
    assert rules(bound.inodes[key(here / "outer")].tree) == "a"
    assert rules(bound.inodes[key(here / "outer/inner")].tree) == "ab"
    assert rules(bound.inodes[key(here / "outer/inner/file")].own) == "abc"
    assert rules(bound.slots[key(here / "outer/inner"), b"file"].own) == "abc"
    assert rules(bound.slots[key(here / "outer"), b"inner"].tree) == "ab"


def test_a_unix_socket_has_its_full_name_too(here: Path) -> None:
    bound = bound_of(protecting(here, unix=[f"{here}/db.sock", "@db"]))
    assert set(bound.sun_names) == {os.fsencode(f"{here}/db.sock"), b"\0db"}
    assert set(bound.slots) == {(key(here), b"db.sock")}


# -- endpoints


def endpoints(*declared: str) -> dict[tuple[int, int], set[str]]:
    """Return the rules (named by their place) that each prefix of tcp port 1 is protected by."""
    plan = plan_of({"pooler": {"exe": "/usr/bin/true"}},
                   {f"x{index}": {"tcp": [text]} for index, text in enumerate(declared)},
                   **{f"r{index}": (f"x{index}", ["pooler"]) for index in range(len(declared))})
    return {bits: {plan.rules[clause.rule].id for clause in clauses}
            for (proto, port, bits), clauses in bound_of(plan).endpoints.items() if (proto, port) == (6, 1)}


def v4(address: str, length: int = 32) -> tuple[int, int]:
    return length + 96, MAPPED | int.from_bytes(bytes(map(int, address.split("."))), "big")


@pytest.mark.parametrize("declared", ["127.0.0.1:1", "[::1]:1", "0.0.0.0:1", "[::]:1"])
def test_a_local_endpoint_is_every_address_of_the_host(monkeypatch: pytest.MonkeyPatch, declared: str) -> None:
    def address(family: str, text: str) -> Any:
        kind = getattr(__import__("socket"), family)
        return psutil._common.snicaddr(kind, text, None, None, None)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": [
        address("AF_INET", "192.0.2.7"), address("AF_INET6", "fe80::1%eth0"), address("AF_PACKET", "00:00")]})
    found = endpoints(declared)
    everywhere = {v4("127.0.0.0", 8), v4("0.0.0.0"), (ALL, 1), (ALL, 0), v4("192.0.2.7"), (ALL, 0xFE80 << 112 | 1)}
    assert everywhere <= set(found) and all(rules == {"r0"} for rules in found.values())


def test_enclosing_networks_are_merged_in() -> None:
    found = endpoints("10.0.0.0/8:1", "10.1.0.0/16:1", "10.1.2.3:1", "10.2.0.0/16:1", "10.1.2.3:2")
    assert found == {v4("10.0.0.0", 8): {"r0"}, v4("10.1.0.0", 16): {"r0", "r1"}, v4("10.1.2.3"): {"r0", "r1", "r2"},
                     v4("10.2.0.0", 16): {"r0", "r3"}}


def test_ipv6_as_a_whole_encloses_ipv4_too() -> None:
    found = endpoints("[::/0]:1", "192.0.2.1:1")
    assert found[v4("192.0.2.1")] == {"r0", "r1"} and found[0, 0] == {"r0"}
