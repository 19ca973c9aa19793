"""Paths on pseudo file systems: what they mean, and the demands on them."""

from __future__ import annotations

import pytest

from nbspd.rules import values
from nbspd.rules.compile import compile_rules
from nbspd.rules.judge import Access, Subject, Wanted, judge
from nbspd.rules.pseudo import MAGIC, PLACES, Place, mount_point, places, process_name

from .texts import HEAD, parsed


@pytest.mark.parametrize("path, expected", [
    ("/proc/sys/kernel/core_pattern", (Place("proc", ("sys", "kernel", "core_pattern")),)),
    ("/proc/sys/fs/binfmt_misc/register", (Place("binfmt_misc", ("register",)),)),
    ("/sys/kernel/debug", (Place("debugfs"),)),
    ("/sys/kernel/debug/tracing/trace", (Place("tracefs", ("trace",)),)),
    ("/sys/fs/cgroup/**/release_agent", (Place("cgroup2", ("**", "release_agent")),
                                         Place("cgroup", ("**", "release_agent")))),
    ("/sys/fs/cgroup/system.slice/cgroup.freeze", (Place("cgroup2", ("system.slice", "cgroup.freeze")),)),
    ("/sys/fs/cgroup", (Place("cgroup2"), Place("cgroup"))),
    ("/process", ()), ("/", ()), ("/etc/passwd", ()), ("/srv/proc/sys", ()),
])
def test_what_a_path_means(path: str, expected: tuple[Place, ...]) -> None:
    assert places(path) == expected


def test_every_place_is_of_a_known_kind() -> None:
    assert {kind for kinds in PLACES.values() for kind in kinds} <= MAGIC.keys()
    assert all(mount_point(f"{point}/x") == point for point in PLACES)


@pytest.mark.parametrize("path, name", [("/proc/self/mem", "self"), ("/proc/1", "1"),
                                        ("/proc/thread-self/x/y", "thread-self"), ("/proc", ""), ("/proc/sys", ""),
                                        ("/sys/1", ""), ("/proc/**/mem", "")])
def test_what_is_one_process_s_own(path: str, name: str) -> None:
    assert process_name(path) == name


@pytest.mark.parametrize("text, what, right", [
    ("/proc/self/mem", "one process's own (self)", "write /proc/**/mem"),
    ("/proc/**/a/b", "more than one name follows **", "write /proc/**/NAME"),
    ("/proc/**/", "more than one name follows **", "write /proc/**/NAME"),
    ("/proc/**/*", "patterns are not read here", "name the files"),
    ("/etc/**/shadow", "patterns are not read here", "name the files"),
    ("/proc/sys/**/x", "patterns are not read here", "name the files"),
    ("/sys" + "/d" * 17, "has more than 16 names below /sys", "declare a directory above it"),
])
def test_wrong_paths(text: str, what: str, right: str) -> None:
    with pytest.raises(values.Wrong) as caught:
        values.read_protected(text)
    assert what in caught.value.what and right in caught.value.right


def test_a_tree_has_no_stars() -> None:
    with pytest.raises(values.Wrong):
        values.read_tree("/proc/**/task")
    assert values.read_protected("/proc/**/mem") == "/proc/**/mem"


RULES = """resources:
  agent: {files: ["/sys/fs/cgroup/**/release_agent"], access: [write]}
  debug: {trees: [/sys/kernel/debug], access: [write]}
  trace: {files: [/sys/kernel/tracing/trace]}
  pattern: {files: [/proc/sys/kernel/core_pattern], access: [write]}
rules:
  - {id: a, protect: agent, only-through: [agent]}
  - {id: d, protect: debug, only-through: []}
  - {id: t, protect: trace, only-through: [agent]}
  - {id: p, protect: pattern, only-through: [agent]}
"""


@pytest.mark.parametrize("path, wanted, rules", [
    ("/proc/sys/kernel/core_pattern", Wanted.WRITE, ("p",)),
    ("/proc/sys/kernel/core_pattern", Wanted.READ, ()),
    ("/proc/sys/kernel/core_uses_pid", Wanted.WRITE, ()),
    ("/sys/fs/cgroup/memory/a/b/release_agent", Wanted.WRITE, ("a",)),
    ("/sys/fs/cgroup/release_agent", Wanted.WRITE, ("a",)),
    ("/sys/kernel/debug/x/y", Wanted.WRITE, ("d",)),
    ("/sys/kernel/tracing/tracing_on", Wanted.WRITE, ("d",)),       # the same as /sys/kernel/debug/tracing/tracing_on
    ("/sys/kernel/debug/tracing/trace", Wanted.WRITE, ("d", "t")),
    ("/sys/kernel/tracing/trace", Wanted.READ, ("t",)),
])
def test_the_verdict(path: str, wanted: Wanted, rules: tuple[str, ...]) -> None:
    plan = compile_rules(parsed(HEAD + RULES))
    assert judge(plan, Subject(), Access(path, int(wanted))).rules == rules
