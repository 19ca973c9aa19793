"""The grammar: what it reads, and the problem that each mistake gives."""

import base64
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbspd.errors import RulesError
from nbspd.rules.compile import compile_rules
from nbspd.rules.lint import find_advice
from nbspd.rules.load import load_directory, parse_sources
from nbspd.rules.model import Checkpoint, Endpoint, Issuer, Resource, Rule

from .texts import HEAD, checkpoint, parsed, problems, resource, rule

DATA = Path(__file__).resolve().parents[2] / "data" / "rules"
RULE = "id: r, protect: db, only-through: [pooler]"


def test_the_example_of_the_design() -> None:
    rules = parse_sources(load_directory(DATA / "good"))
    assert rules.checkpoints["pooler"] == Checkpoint(
        "pooler", "/usr/sbin/pgbouncer", "9f2c" * 16, "pgbouncer.service", "postgres", ("bastion",), "self", None)
    assert rules.checkpoints["bastion"].stamp == "children"
    assert rules.checkpoints["agent"].code == ("/opt/agent/lib", "/usr/lib/x86_64-linux-gnu/libc.so.6")
    assert rules.resources["payroll-db"] == Resource(
        "payroll-db", tcp=(Endpoint(ip_network("127.0.0.1"), 5432), Endpoint(ip_network("::1"), 5432),
                           Endpoint(ip_network("10.0.0.0/8"), 5432)),
        udp=(Endpoint(ip_network("127.0.0.1"), 5433),), unix=("/run/postgresql/.s.PGSQL.5432", "@abstract-name"))
    assert rules.resources["payroll-files"] == Resource(
        "payroll-files", files=("/etc/payroll.key",), trees=("/srv/payroll",))
    assert rules.resources["payroll-admin"].exec == ("/usr/local/sbin/payroll-admin",)
    assert rules.resources["card-reader"].devices == ("/dev/ttyUSB0",)
    assert rules.resources["card-reader"].access == frozenset({"read"})
    assert rules.rules[0] == Rule("db-through-pooler", "payroll-db", ("pooler",), "enforce", "deny", "none",
                                  "dba@example.org", "PCI 8.2: pooled, audited connections only", False)
    assert rules.rules[1] == Rule("files-nobody", "payroll-files", (), "audit", "kill")
    assert rules.updaters == ("/usr/bin/dpkg",)
    assert rules.issuers == {"secops": Issuer("secops", bytes(range(32)), ("payroll-files",))}


def test_positions_are_one_based_and_of_the_name() -> None:
    rules = parse_sources(load_directory(DATA / "good"))
    assert rules.checkpoints["pooler"].where == f"{DATA}/good/10-design.yaml:7:3"
    assert rules.rules[0].where == f"{DATA}/good/20-rules.yaml:5:9"


@pytest.mark.parametrize("text", ["version: 1", "version: 1\nrules:\nresources: {}\naspects: {}\ncheckpoints: ~\n"])
def test_a_file_may_declare_nothing(text: str) -> None:
    assert problems(text) == [] and parsed(text).rules == ()


def test_anchors_and_aliases_are_read() -> None:
    rules = parsed("version: 1\ncheckpoints: &all\n  x: {exe: &exe /usr/bin/x}\n  y: {exe: *exe, code: [*exe]}\n"
                   "resources:\n  a: &a {files: &files [/srv/a, /srv/b]}\n  b: {trees: *files}\n  c: *a\n")
    assert rules.checkpoints["y"].code == ("/usr/bin/x",)
    assert rules.resources["b"].trees == ("/srv/a", "/srv/b") == rules.resources["c"].files


def test_a_mistake_in_every_line_is_reported_in_one_run() -> None:
    text = (DATA / "bad" / "everything.yaml").read_text()
    assert problems(text) == (DATA / "bad" / "everything.txt").read_text().splitlines()


@given(st.lists(st.tuples(st.sampled_from(["drop", "double", "swap", "cut", "indent"]), st.integers(0, 200),
                          st.integers(0, 200)), min_size=1, max_size=4))
def test_a_file_that_was_edited_badly_is_rules_or_problems(edits: list[tuple[str, int, int]]) -> None:
    texts = [path.read_text().partition("version: 1\n")[2] for path in sorted((DATA / "good").iterdir())]
    lines = ["version: 1", *"".join(texts).splitlines()]
    for kind, first, second in edits:
        first, second = first % len(lines), second % len(lines)
        line, other = lines[first], lines[second]
        if kind == "swap":
            lines[first], lines[second] = other, line
        else:
            lines[first:first + 1] = {"drop": [], "double": [line, line], "cut": [line[:second % (len(line) + 1)]],
                                      "indent": ["  " + line]}[kind]
    try:
        rules = parsed("\n".join(lines))
    except RulesError as error:
        assert all(problem.what for problem in error.problems)
    else:
        assert compile_rules(rules).digest and find_advice(rules) is not None


@pytest.mark.parametrize("text, expected", [
    ("", "a.yaml:1:1: the file has no version; start with version: 1"),
    ("rules: []", "a.yaml:1:1: the file has no version; start with version: 1"),
    ("version: 2", "a.yaml:1:10: this version of the grammar is not known; write version: 1"),
    ("version: [1]", "a.yaml:1:10: this version of the grammar is not known; write version: 1"),
    ("version: 1\nversion: 1", "a.yaml:2:1: the key 'version' stands twice at the top of the file; keep one; the other "
     "is on line 1"),
    ("version: 1\nruels: []", "a.yaml:2:1: unknown key 'ruels' at the top of the file; did you mean 'rules'?"),
    ("version: 1\n? [a]\n: b", "a.yaml:2:3: a key at the top of the file is a list; write one word"),
    ("version: 1\nrules: {a: b}", "a.yaml:2:8: rules is a mapping and not a list; write rules: [one, two]"),
    ("version: 1\ncheckpoints: [a]", "a.yaml:2:14: checkpoints is a list and not a mapping; write checkpoints: "
     "indented lines of name: value"),
    ("version: 1\nupdaters: /usr/bin/dpkg", "a.yaml:2:11: updaters is one value and not a list; write updaters: "
     "[/usr/bin/dpkg]"),
    ("version: 1\nupdaters: [dpkg]", "a.yaml:2:12: the path 'dpkg' is relative; write it from the root, starting with "
     "/"),
    ("version: 1\naspects: {log4shell: {}}", "a.yaml:2:11: aspects are not yet supported; take the section out"),
    ("version: 1\nrules: [x]", "a.yaml:2:9: a rule is one value; write indented lines of name: value"),
    ("version: 1\nresources:\n  <<: {}", "a.yaml:3:3: '<<' is not a name; use a-z, 0-9, '.', '_' and '-', at most 63, "
     "starting with a letter or digit"),
    (checkpoint("exe: /usr/bin/x, <<: {}"), "a.yaml:3:24: merge keys are not read; write the values out, or use an "
     "alias for one value"),
])
def test_mistakes_at_the_top(text: str, expected: str) -> None:
    assert expected in problems(text)


@pytest.mark.parametrize("fields, expected", [
    ("", "3:3: checkpoint 'x' has no exe; add exe:"),
    ("exe: ", "3:3: checkpoint 'x' has no exe; add exe:"),
    ("exe: /", "3:12: / is not a program; name the program"),
    ("exe: [/usr/bin/x]", "3:12: exe is a list and not one value; write exe: a single text"),
    ("exe: bin/x", "3:12: the path 'bin/x' is relative; write it from the root, starting with /"),
    ("exe: /usr/bin/x, exe: /usr/bin/y", "3:24: the key 'exe' stands twice in checkpoint 'x'; keep one; the other is "
     "on line 3"),
    ("exe: /usr/bin/x, sha265: 1", "3:24: unknown key 'sha265' in checkpoint 'x'; did you mean 'sha256'?"),
    ("exe: /usr/bin/x, sha256: 9f2c", "3:32: '9f2c' is not a SHA-256; write the 64 digits that sha256sum prints"),
    ("exe: /usr/bin/x, unit: pgbouncer", "3:30: 'pgbouncer' is not a systemd unit that runs programs; write it like "
     "pgbouncer.service"),
    ("exe: /usr/bin/x, user: a b", "3:30: 'a b' is not a user's name or number; write it as it stands in the user "
     "database"),
    ("exe: /usr/bin/x, after: [y]", "3:32: the checkpoint 'y' is not declared; known: x"),
    ("exe: /usr/bin/x, after: y", "3:31: after is one value and not a list; write after: [y]"),
    ("exe: /usr/bin/x, after: [x]", "3:3: nothing can earn the checkpoints of a circle: x after x; take one out of "
     "after:"),
    ("exe: /usr/bin/x, stamp: childen", "3:31: 'childen' is not a choice; did you mean 'children'?"),
    ("exe: /usr/bin/x, code: sys", "3:30: code: 'sys' is neither system nor a list; write code: system, or a list of "
     "paths, trees and the words system and anonymous"),
    ("exe: /usr/bin/x, code: [lib]", "3:31: the path 'lib' is relative; write it from the root, starting with /"),
])
def test_mistakes_in_a_checkpoint(fields: str, expected: str) -> None:
    assert problems(checkpoint(fields)) == [f"a.yaml:{expected}"]


@pytest.mark.parametrize("fields, expected", [
    ("", "3:3: resource 'x' is empty; give it tcp, udp, unix, files, trees, exec or devices"),
    ("file: [/srv/x]", "3:7: unknown key 'file' in resource 'x'; did you mean 'files'?"),
    ("files: /srv/x", "3:14: files is one value and not a list; write files: [/srv/x]"),
    ("files: [/srv/x, /srv/x]", "3:23: '/srv/x' stands twice in files; keep one"),
    ("files: [[/srv/x]]", "3:15: this is a list; write a single text"),
    ("tcp: ['1.2.3.4:1', '1.2.3.4:1', '[::ffff:1.2.3.4]:2']", "3:26: '1.2.3.4:1' stands twice in tcp; keep one"),
    ("files: [/srv/x], access: []", "3:32: access is empty; write [read], [write] or [read, write]"),
    ("files: [/srv/x], access: [raed]", "3:33: 'raed' is not a choice; did you mean 'read'?"),
    ("files: [/srv/x], access: read", "3:32: access is one value and not a list; write access: [read]"),
    ("tcp: ['1.2.3.4:1'], access: [read]", "3:35: access says nothing about endpoints, sockets and programs; leave it "
     "out, or protect files, trees or devices"),
])
def test_mistakes_in_a_resource(fields: str, expected: str) -> None:
    assert f"a.yaml:{expected}" in problems(resource(fields))


@pytest.mark.parametrize("fields, expected", [
    ("protect: db, only-through: [pooler]", "9:5: the rule has no id; add id:"),
    ("id: r, only-through: [pooler]", "9:5: the rule has no protect; add protect:"),
    ("id: r, protect: db", "9:5: the rule has no only-through; write only-through: [CHECKPOINT], or [] for nobody"),
    ("id: r, protect: db, only-through: ", "9:5: the rule has no only-through; write only-through: [CHECKPOINT], or [] "
     "for nobody"),
    ("id: R 1, protect: db, only-through: []", "9:10: 'R 1' is not a name; use a-z, 0-9, '.', '_' and '-', at most 63, "
     "starting with a letter or digit"),
    ("id: r, protect: dbs, only-through: []", "9:22: the resource 'dbs' is not declared; did you mean 'db'?"),
    ("id: r, protect: db, only-through: [poler]", "9:41: the checkpoint 'poler' is not declared; did you mean "
     "'pooler'?"),
    ("id: r, protect: db, only-through: pooler", "9:40: only-through is one value and not a list; write only-through: "
     "[pooler]"),
    (f"{RULE}, mode: enforced", "9:56: 'enforced' is not a choice; did you mean 'enforce'?"),
    (f"{RULE}, on-bypass: drop", "9:61: 'drop' is not a choice; write deny or kill"),
    (f"{RULE}, on_bypass: deny", "9:50: unknown key 'on_bypass' in a rule; did you mean 'on-bypass'?"),
    (f"{RULE}, voucher: required", "9:59: voucher: required is not yet supported; write voucher: none"),
    (f"{RULE}, voucher: maybe", "9:59: 'maybe' is not a choice; write none or required"),
    (f"{RULE}, i-understand: true", "9:64: i-understand: 'true' says nothing; write i-understand: locks-out-everyone, "
     "or leave it out"),
    (f"{RULE}, owner: [me]", "9:57: owner is a list and not one value; write owner: a single text"),
])
def test_mistakes_in_a_rule(fields: str, expected: str) -> None:
    assert problems(rule(fields)) == [f"a.yaml:{expected}"]


def test_a_rule_on_a_broken_declaration_adds_no_noise() -> None:
    text = rule(RULE).replace("exe: /usr/sbin/pgbouncer", "exe: pgbouncer").replace("tcp: ['127", "tcp: ['x127")
    assert len(problems(text)) == 2


@pytest.mark.parametrize("key, expected", [
    ("rsa:AAAA", "'rsa:AAAA' is not an Ed25519 key"),
    ("ed25519:MCowBQ…", "the key is not base64"),
    ("ed25519:AAAA", "the key has 3 bytes where an Ed25519 public key has 32"),
])
def test_a_wrong_key(key: str, expected: str) -> None:
    found = problems(f"{HEAD}resources: {{x: {{files: [/srv/x]}}}}\nissuers: {{i: {{key: '{key}', resources: [x]}}}}")
    assert len(found) == 1 and expected in found[0]


def test_a_raw_key_is_read() -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    rules = parsed(f"version: 1\nresources: {{x: {{files: [/srv/x]}}}}\n"
                   f"issuers: {{i: {{key: 'ed25519:{key}', resources: [x]}}}}")
    assert rules.issuers["i"].key == bytes(range(32))
