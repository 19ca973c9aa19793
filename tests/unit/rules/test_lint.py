"""Rule sets that are well-formed and refused, and those that only earn advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbspd.rules.lint import MAX_SHARED, find_absent_folders, find_advice, is_absent
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.lockouts import vital_paths
from nbspd.rules.model import Resource

from .texts import HEAD, parsed, problems

REFUSED = [
    "trees: [/]", "trees: [/usr]", "trees: [/usr/lib]", "trees: [/lib]", "trees: [/usr/lib64]", "trees: [/etc]",
    "trees: [/usr/bin]", "trees: [/bin]", "trees: [/sbin]", "trees: [/dev]", "trees: [/proc]", "trees: [/sys]",
    "trees: [/run]", "trees: [/var]", "trees: [/home]", "trees: [/root]", "trees: [/usr/lib/x86_64-linux-gnu]",
    "trees: [/lib/aarch64-linux-gnu]", "trees: [/lib/systemd]", "trees: [/usr/lib/systemd/system]",
    "trees: [/etc/pam.d]",
    "trees: [/usr/lib/modules/6.1.0]", "trees: [/run/systemd/journal]", "trees: [/var/run]", "trees: [/boot]",
    "files: [/]", "files: [/etc/passwd]", "files: [/etc/shadow]", "files: [/etc/nsswitch.conf]",
    "files: [/etc/pam.d/common-auth]", "files: [/lib64/ld-linux-x86-64.so.2]",
    "files: [/usr/lib/x86_64-linux-gnu/libc.so.6]", "files: [/etc/ld.so.cache]", "files: [/etc/fstab]",
    "files: [/usr/bin]", "exec: [/bin/sh]", "exec: [/usr/bin/bash]", "exec: [/bin/dash]", "exec: [/sbin/init]",
    "exec: [/usr/lib/systemd/systemd]", "exec: [/usr/bin/login]", "exec: [/usr/sbin/sulogin]", "exec: [/usr/bin/nbsp]",
    "devices: [/dev/null]", "devices: [/dev/console]", "devices: [/dev/urandom]", "unix: [/dev/log]",
    "unix: [/run/systemd/private]", "unix: [/run/dbus/system_bus_socket]", "unix: [/var/run/dbus/system_bus_socket]",
    "unix: [/run/nbspd/control.sock]", "files: [/proc/cpuinfo]", "trees: [/proc/sys/kernel]", "files: [/proc/**/stat]",
    "trees: [/sys/fs/cgroup], access: [write]", "trees: [/proc], access: [write]",
]
ACCEPTED = [
    "trees: [/srv]", "trees: [/srv/payroll]", "trees: [/opt/x]", "trees: [/var/lib/x]", "trees: [/home/x]",
    "trees: [/usrx]",
    "files: [/etc/payroll.key]", "files: [/etc/ssh/ssh_host_ed25519_key]", "trees: [/etc/ssh]",
    "files: [/etc/passwd.x]",
    "exec: [/usr/local/sbin/x]", "exec: [/usr/bin/psql]", "devices: [/dev/ttyUSB0]", "unix: ['@/dev/log']",
    "files: [/proc/sys/kernel/core_pattern]", "files: [/proc/kcore]", "files: [/sys/fs/cgroup/**/release_agent], "
    "access: [write]", "trees: [/sys/kernel/debug]", "files: [/proc/cmdline], access: [write]",
    "unix: [/run/postgresql/.s.PGSQL.5432]", "tcp: ['0.0.0.0/0:443']", "files: [/usr/lib/x/libc.conf]",
]


def ruled(resource: str, rule: str = "only-through: [agent]") -> str:
    return f"{HEAD}resources:\n  x: {{{resource}}}\nrules:\n  - {{id: r, protect: x, {rule}}}\n"


def sets(*rules: tuple[str, str]) -> str:
    """Return a file with one resource and one rule (its id is r0, r1, …) for each pair."""
    resources = "\n".join(f"  x{index}: {{{resource}}}" for index, (resource, _) in enumerate(rules))
    lines = "\n".join(f"  - {{id: r{index}, protect: x{index}, {rule}}}" for index, (_, rule) in enumerate(rules))
    return f"{HEAD}resources:\n{resources}\nrules:\n{lines}\n"


@pytest.mark.parametrize("resource", REFUSED)
def test_what_the_system_needs_is_refused(resource: str) -> None:
    path = resource.split("[")[1].split("]")[0]
    assert [one for one in problems(ruled(resource)) if one.startswith(f"a.yaml:9:10: rule 'r' protects {path}: ")
            and one.endswith("; protect less, or write i-understand: locks-out-everyone")]
    assert problems(ruled(resource, "only-through: [agent], i-understand: locks-out-everyone")) == []
    assert problems(ruled(resource, "only-through: [agent], mode: audit")) == []


@pytest.mark.parametrize("resource", ACCEPTED)
def test_what_the_system_does_not_need_is_let_be(resource: str) -> None:
    assert problems(ruled(resource)) == []


def test_every_vital_path_of_a_resource_is_named() -> None:
    resource = Resource("x", trees=("/srv", "/etc"), files=("/etc/passwd",), exec=("/bin/sh", "/bin/x"))
    assert [path for path, _ in vital_paths(resource)] == ["/etc", "/etc/passwd", "/bin/sh"]


@pytest.mark.parametrize("first, second, words", [
    ("files: [/srv/x]", "files: [/srv/x]", "/srv/x"),
    ("trees: [/srv]", "files: [/srv/a/b]", "/srv/a/b"),
    ("trees: [/srv/a]", "trees: [/srv]", "/srv/a"),
    ("trees: [/srv]", "exec: [/srv/tool]", "/srv/tool"),
    ("tcp: ['10.0.0.0/8:80']", "tcp: ['10.1.0.0/16:80']", "tcp 10.1.0.0/16:80"),
    ("tcp: ['127.0.0.1:80']", "tcp: ['[::1]:80']", "tcp [::1]:80"),
    ("udp: ['[::/0]:80']", "udp: ['10.1.2.3:80']", "udp 10.1.2.3:80"),
    ("unix: ['@x']", "unix: ['@x']", "unix @x"),
])
def test_rules_that_no_process_can_satisfy(first: str, second: str, words: str) -> None:
    text = sets((first, "only-through: [agent]"), (second, "only-through: [pooler]"))
    assert problems(text) == [
        f"a.yaml:11:10: rules 'r0' and 'r1' contradict each other on {words}: no process can come through both; "
        "give them a checkpoint in common; the other rule is at a.yaml:10:10"]


@pytest.mark.parametrize("first, second", [
    (("trees: [/srv]", "only-through: [agent, pooler]"), ("files: [/srv/x]", "only-through: [pooler]")),
    (("trees: [/srv]", "only-through: [agent]"), ("files: [/srv/x]", "only-through: [pooler], mode: audit")),
    (("trees: [/srv]", "only-through: [agent]"), ("files: [/srv/x]", "only-through: []")),
    (("trees: [/srv]", "only-through: [agent]"), ("files: [/srvx]", "only-through: [pooler]")),
    (("trees: [/srv], access: [read]", "only-through: [agent]"),
     ("files: [/srv/x], access: [write]", "only-through: [pooler]")),
    (("trees: [/srv]", "only-through: [sudo]"), ("files: [/srv/x]", "only-through: [pooler]")),     # sudo pgbouncer
    (("tcp: ['10.0.0.0/8:80']", "only-through: [agent]"), ("udp: ['10.0.0.1:80']", "only-through: [pooler]")),
    (("tcp: ['10.0.0.0/8:80']", "only-through: [agent]"), ("tcp: ['10.0.0.1:81']", "only-through: [pooler]")),
])
def test_rules_that_can_live_together(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert problems(sets(first, second)) == []


def test_one_program_can_be_two_checkpoints() -> None:
    text = sets(("trees: [/srv]", "only-through: [agent]"), ("files: [/srv/x]", "only-through: [pooler]"))
    assert problems(text.replace("/usr/sbin/pgbouncer", "/opt/agent/agent")) == []


def test_more_than_four_rules_on_an_object() -> None:
    five = [("trees: [/srv]", "only-through: [agent]")] * 4 + [("files: [/srv/x, /srv/y]", "only-through: [agent]")]
    assert problems(sets(*five)) == ["a.yaml:17:10: more than 4 rules meet on /srv/x: r0, r1, r2, r3, r4; "
                                     "let fewer rules name more checkpoints"]
    assert problems(sets(*five[:4])) == []


def test_a_crowd_does_not_take_long() -> None:
    crowd = [("trees: [/srv]", "only-through: [agent]")] * 1500 + [("files: [/srv/x]", "only-through: [pooler]")] * 1500
    assert problems(sets(*crowd))


def test_a_program_that_its_own_rule_keeps_from_starting() -> None:
    assert problems(ruled("trees: [/opt/agent]")) == [
        "a.yaml:9:10: rule 'r' also protects /opt/agent/agent, so that the checkpoint 'agent' can never start; "
        "keep the program outside, or protect only writing with access: [write]"]
    assert problems(ruled("exec: [/opt/agent/agent]", "only-through: []")) != []
    for right in (ruled("trees: [/opt/agent], access: [write]"),
                  ruled("exec: [/opt/agent/agent]", "only-through: [sudo]"),
                  ruled("trees: [/opt/agent]", "only-through: [agent, sudo]"),
                  ruled("trees: [/opt/agent]", "only-through: [agent], mode: audit")):
        assert problems(right) == []


def test_circles_of_checkpoints() -> None:
    text = ("version: 1\ncheckpoints:\n  a: {exe: /a, after: [b]}\n  b: {exe: /b, after: [c]}\n"
            "  c: {exe: /c, after: [b]}\n  d: {exe: /d, after: [e]}\n  e: {exe: /e}\n  f: {exe: /f, after: [f]}\n")
    assert problems(text) == [
        "a.yaml:4:3: nothing can earn the checkpoints of a circle: b after c after b; take one out of after:",
        "a.yaml:8:3: nothing can earn the checkpoints of a circle: f after f; take one out of after:"]


def test_the_257th_checkpoint() -> None:
    lines = [f"  c{index}: {{exe: /usr/bin/c{index}}}" for index in range(257)]
    assert problems("version: 1\ncheckpoints:\n" + "\n".join(lines[:256])) == []
    assert problems("version: 1\ncheckpoints:\n" + "\n".join(lines)) == [
        "a.yaml:259:3: there are 257 checkpoints, and 256 is the limit; from this one on they are too many"]


def test_too_many_checkpoints_of_one_program() -> None:
    lines = [f"  c{index}: {{exe: /usr/bin/c, user: u{index}}}" for index in range(MAX_SHARED + 2)]
    assert problems("version: 1\ncheckpoints:\n" + "\n".join(lines[:MAX_SHARED])) == []
    assert problems("version: 1\ncheckpoints:\n" + "\n".join(lines)) == [
        f"a.yaml:{MAX_SHARED + 3}:3: more than {MAX_SHARED} checkpoints are the program /usr/bin/c; "
        "let checkpoints with the same conditions be one"]


def test_the_65536th_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbspd.rules.lint.MAX_RULES", 2)
    rules = [(f"files: [/srv/{index}]", "only-through: [agent]") for index in range(3)]
    assert problems(sets(*rules)) == ["a.yaml:13:10: there are 3 rules, and 2 is the limit; let one rule protect a "
                                      "resource with many entries"]


def test_the_millionth_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbspd.rules.lint.MAX_ENTRIES", 3)
    text = ("version: 1\nresources:\n  a: {files: [/a, /b]}\n  b: {tcp: ['1.2.3.4:1'], unix: ['@x']}\n"
            "  c: {trees: [/c]}\n")
    assert problems(text) == ["a.yaml:4:3: the resources have more than 3 entries; use trees and networks"]


def advice(text: str) -> list[str]:
    return [str(problem) for problem in find_advice(parse_sources([Source("a.yaml", text)]))]


def test_what_nothing_uses_is_only_advice() -> None:
    text = ("version: 1\ncheckpoints:\n  a: {exe: /a}\n  b: {exe: /b, after: [a]}\n"
            "resources:\n  x: {files: [/srv/x]}\n")
    assert advice(text) == ["a.yaml:6:3: no rule protects the resource 'x', so it is open; write a rule for it",
                            "a.yaml:4:3: no rule accepts the checkpoint 'b'; name it in only-through:"]


@pytest.mark.parametrize("strict, loose", [
    (("trees: [/srv]", "only-through: [agent]"), ("files: [/srv/x]", "only-through: [agent, pooler]")),
    (("trees: [/srv]", "only-through: []"), ("trees: [/srv/x]", "only-through: [agent], mode: audit")),
    (("files: [/srv/x]", "only-through: [agent]"), ("files: [/srv/x], access: [read]", "only-through: [agent]")),
    (("tcp: ['10.0.0.0/8:80']", "only-through: [agent]"), ("tcp: ['10.0.0.1:80']", "only-through: [agent]")),
    (("files: [/srv/x]", "only-through: [agent]"), ("files: [/srv/x]", "only-through: [agent]")),
])
def test_a_rule_in_the_shadow_of_another(strict: tuple[str, str], loose: tuple[str, str]) -> None:
    found = [one for one in advice(sets(strict, loose)) if "checkpoint" not in one]
    assert found == ["a.yaml:11:10: rule 'r1' never decides: 'r0' is at least as strict on everything it protects; "
                     "take one out; the other is at a.yaml:10:10"]


@pytest.mark.parametrize("strict, loose", [
    (("trees: [/srv]", "only-through: [agent, pooler]"), ("files: [/srv/x]", "only-through: [agent]")),
    (("trees: [/srv]", "only-through: [agent]"), ("files: [/srv/x]", "only-through: [agent], on-bypass: kill")),
    (("trees: [/srv], access: [read]", "only-through: [agent]"), ("files: [/srv/x]", "only-through: [agent]")),
    (("trees: [/srv]", "only-through: [agent]"), ("files: [/srv/x, /opt/x]", "only-through: [agent]")),
    (("trees: [/srv]", "only-through: [agent], mode: audit"), ("files: [/srv/x]", "only-through: [agent]")),
])
def test_a_rule_in_the_light(strict: tuple[str, str], loose: tuple[str, str]) -> None:
    assert [one for one in advice(sets(strict, loose)) if "checkpoint" not in one] == []


def test_rules_of_the_design_earn_no_advice_but_the_unused() -> None:
    assert parsed(HEAD).rules == ()
    assert all("no rule accepts" in one for one in advice(HEAD))


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = f"""
version: 1
resources:
  here: {{files: [{tmp_path}/file, {tmp_path}/later], unix: ["@{tmp_path}/no/x"], tcp: ["192.0.2.1:1"]}}
  gone: {{files: [{tmp_path}/file/x, {tmp_path}/no/a, {tmp_path}/no/b], trees: [{tmp_path}/no/c/d]}}
rules: [{{id: a, protect: here, only-through: []}}, {{id: b, protect: gone, only-through: []}}]
"""
    rules = parse_sources([Source("a.yaml", text)])
    assert [(one.where, one.what.partition(", so that ")[0]) for one in find_absent_folders(rules)] == [
        ("a.yaml:5:3", f"there is no directory {tmp_path}/{name} on this host") for name in ("file", "no", "no/c")]
    assert [one.what.count("a and 1 more") for one in find_absent_folders(rules)] == [0, 1, 0]
    assert find_absent_folders(rules, lambda _: False) == []


def test_a_folder_that_cannot_be_looked_at_may_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> None:
        raise PermissionError(13, "Permission denied")
    assert is_absent(f"{tmp_path}/no") and not is_absent(str(tmp_path))
    monkeypatch.setattr("os.stat", refuse)
    assert not is_absent(f"{tmp_path}/no")
