"""The plan: the same for the same rules, and complete."""

import random
from dataclasses import replace
from ipaddress import ip_address, ip_network

from nbspd.abi import Access, Action, Mode
from nbspd.rules.compile import Clause, EndpointTable, Plan, compile_rules, merge_clauses
from nbspd.rules.model import Checkpoint, Endpoint, Resource, Rule, RuleSet

from .texts import HEAD, parsed

ALL = int(Access.READ | Access.WRITE | Access.EXEC)

TEXT = HEAD + """\
  web: {exe: /usr/bin/web, unit: web.service}
  other: {exe: /usr/bin/other, unit: a.service}
resources:
  outer: {trees: [/srv/payroll], access: [write]}
  inner: {files: [/srv/payroll/key], trees: [/srv/payroll/deep], access: [read]}
  tool: {exec: [/usr/local/sbin/tool]}
  card: {devices: [/dev/ttyUSB0], unix: ["@card", /run/card.sock]}
  everywhere: {tcp: ["0.0.0.0/0:80"]}
  here: {tcp: ["127.0.0.1:80", "[::1]:80"], udp: ["10.0.0.0/8:53"]}
  unused: {files: [/srv/unused]}
rules:
  - {id: z-outer, protect: outer, only-through: [sudo, agent]}
  - {id: inner, protect: inner, only-through: [agent], on-bypass: kill}
  - {id: tool, protect: tool, only-through: []}
  - {id: card, protect: card, only-through: [pooler], mode: audit}
  - {id: everywhere, protect: everywhere, only-through: [web]}
  - {id: here, protect: here, only-through: [web, other]}
updaters: [/usr/bin/rpm, /usr/bin/dpkg]
"""


def plan() -> Plan:
    return compile_rules(parsed(TEXT))


def ids(clauses: tuple[Clause, ...]) -> list[str]:
    return [plan().rules[clause.rule].id for clause in clauses]


def test_everything_is_in_order() -> None:
    made = plan()
    assert [one.name for one in made.checkpoints] == ["agent", "other", "pooler", "sudo", "web"]
    assert [rule.id for rule in made.rules] == ["card", "everywhere", "here", "inner", "tool", "z-outer"]
    assert [one.name for one in made.resources] == sorted(one.name for one in made.resources)
    assert made.units == ("a.service", "web.service") and made.updaters == ("/usr/bin/dpkg", "/usr/bin/rpm")


def test_paths() -> None:
    agent = Clause(3, int(Access.READ | Access.EXEC), (0,), Mode.ENFORCE, Action.KILL)
    outer = Clause(5, int(Access.WRITE), (0, 3), Mode.ENFORCE, Action.DENY)
    found = {(target.path, target.kind): target.clauses for target in plan().paths}
    assert found == {
        ("/dev/ttyUSB0", "device"): (Clause(0, ALL, (2,), Mode.AUDIT, Action.DENY),),
        ("/run/card.sock", "unix"): (Clause(0, int(Access.CONNECT), (2,), Mode.AUDIT, Action.DENY),),
        ("/srv/payroll", "tree"): (outer,),
        ("/srv/payroll/deep", "tree"): (agent, outer),
        ("/srv/payroll/key", "file"): (agent, outer),
        ("/usr/local/sbin/tool", "exec"): (Clause(4, ALL, (), Mode.ENFORCE, Action.DENY),),
    }
    assert [target.path for target in plan().paths] == sorted(path for path, _ in found)


def test_endpoints() -> None:
    found = {(target.proto, str(target.network), target.port): (target.local, ids(target.clauses), ids(target.own))
             for target in plan().endpoints}
    assert found == {
        (6, "0.0.0.0/0", 80): (False, ["everywhere"], ["everywhere"]),
        (6, "127.0.0.1/32", 80): (True, ["everywhere", "here"], ["here"]),
        (6, "::1/128", 80): (True, ["here"], ["here"]),
        (17, "10.0.0.0/8", 53): (False, ["here"], ["here"]),
    }


def test_abstract_sockets() -> None:
    [target] = plan().abstracts
    assert (target.name, ids(target.clauses), target.clauses[0].access) == (b"card", ["card"], Access.CONNECT)


def test_the_table_answers_for_addresses_that_nobody_declared() -> None:
    table = EndpointTable(plan().endpoints)

    def asked(proto: int, address: str, port: int, is_ours: bool = False) -> list[str]:
        return ids(table.clauses(proto, ip_address(address), port, is_ours))
    assert asked(6, "8.8.8.8", 80) == ["everywhere"]
    assert asked(6, "8.8.8.8", 80, True) == ["everywhere", "here"]
    assert asked(6, "127.9.9.9", 80) == ["everywhere", "here"] == asked(6, "0.0.0.0", 80)
    assert asked(6, "::", 80) == ["here"] == asked(6, "2001:db8::1", 80, True)
    assert asked(6, "2001:db8::1", 80) == [] == asked(6, "8.8.8.8", 81) == asked(17, "8.8.8.8", 80)
    assert asked(17, "10.9.9.9", 53) == ["here"] and asked(17, "127.0.0.1", 53) == []


def test_ipv6_as_a_whole_covers_ipv4() -> None:
    rules = RuleSet({}, {"x": Resource("x", tcp=(Endpoint(ip_network("::/0"), 443),))}, (Rule("r", "x", ()),))
    table = EndpointTable(compile_rules(rules).endpoints)
    assert len(table.clauses(6, ip_address("1.2.3.4"), 443)) == 1


def test_a_path_declared_in_two_ways_is_one_target() -> None:
    rules = RuleSet({}, {"x": Resource("x", exec=("/bin/x",)), "y": Resource("y", files=("/bin/x",), trees=("/bin/x",),
                                                                             access=frozenset({"read"}))},
                    (Rule("a", "x", ()), Rule("b", "y", ())))
    targets = compile_rules(rules).paths
    assert [(one.path, one.kind, [(clause.rule, clause.access) for clause in one.clauses]) for one in targets] == [
        ("/bin/x", "exec", [(0, ALL), (1, int(Access.READ | Access.EXEC))]),
        ("/bin/x", "tree", [(1, int(Access.READ | Access.EXEC))])]


def test_one_rule_is_one_clause_on_an_object() -> None:
    rules = RuleSet({}, {"x": Resource("x", trees=("/opt",), exec=("/opt/x",), access=frozenset({"write"}))},
                    (Rule("a", "x", ()),))
    found = {target.path: target.clauses for target in compile_rules(rules).paths}
    assert [clause.access for clause in found["/opt/x"]] == [ALL] and len(found["/opt"]) == 1


def test_the_digest_does_not_depend_on_order_or_place() -> None:
    declared = parsed(TEXT)
    digests = {plan().digest}
    for seed in range(5):
        mixed = random.Random(seed)

        def shuffled(things: object) -> dict:  # type: ignore[type-arg]
            items = list(dict(things).items())  # type: ignore[call-overload]
            mixed.shuffle(items)
            return {name: replace(thing, where=f"x:{seed}:1") for name, thing in items}
        rules = [replace(rule, only_through=rule.only_through[::-1]) for rule in declared.rules]
        mixed.shuffle(rules)
        other = RuleSet(shuffled(declared.checkpoints), shuffled(declared.resources), tuple(rules),
                        declared.updaters[::-1])
        made = compile_rules(other)
        assert (made.paths, made.endpoints, made.abstracts) == (plan().paths, plan().endpoints, plan().abstracts)
        digests.add(made.digest)
    assert len(digests) == 1


def test_the_digest_is_the_same_on_every_host_and_python() -> None:
    rules = RuleSet({"p": Checkpoint("p", "/usr/bin/p")}, {"x": Resource("x", trees=("/srv",))},
                    (Rule("r", "x", ("p",)),))
    assert compile_rules(rules).digest == "ac37c4609117afb8eb3b4e238da08c9852b212e367632d478db431f717155118"


def test_every_change_changes_the_digest() -> None:
    changes = [
        ("/usr/sbin/pgbouncer", "/usr/sbin/pgbouncer2"), ("web.service}", "web2.service}"), ("unit: web", "user: web"),
        ("stamp: children", "stamp: self"), ("exe: /usr/bin/web,", "exe: /usr/bin/web, code: [/x],"),
        ("exe: /usr/bin/web,", "exe: /usr/bin/web, after: [sudo],"),
        ("exe: /usr/bin/web,", f"exe: /usr/bin/web, sha256: {'0' * 64},"),
        ("access: [write]", "access: [read]"), ("/srv/payroll/key", "/srv/payroll/kez"), ("@card", "@cart"),
        ("0/0:80", "0/0:81"), ("10.0.0.0/8", "10.0.0.0/9"), ("id: tool", "id: tool2"),
        ("on-bypass: kill", "on-bypass: deny"), ("mode: audit", "mode: enforce"), ("[sudo, agent]", "[agent]"),
        ("only-through: []", "only-through: [sudo]"), ("rpm,", "rpn,"),
        ("only-through: []", "only-through: [], owner: me"), ("only-through: []", "only-through: [], reason: why"),
        ("files: [/srv/payroll/key]", "exec: [/srv/payroll/key]"),
    ]
    digests = {compile_rules(parsed(TEXT.replace(old, new))).digest for old, new in changes}
    assert len(digests | {plan().digest}) == len(changes) + 1


def test_merging_keeps_the_order_and_joins_accesses() -> None:
    one, two = Clause(1, 1, (), 0, 0), Clause(0, 2, (1,), 0, 0)
    assert merge_clauses((one,), (two, replace(one, access=4))) == (two, replace(one, access=5))
    assert merge_clauses() == ()
