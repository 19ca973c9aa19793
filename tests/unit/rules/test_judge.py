"""The verdict: examples in words, and what must hold for every rule set, subject and access."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nbspd.rules.compile import compile_rules
from nbspd.rules.judge import Access, Judge, Peer, Subject, Verdict, Wanted, judge
from nbspd.rules.model import Checkpoint, Endpoint, Resource, Rule, RuleSet

CHECKPOINTS = {name: Checkpoint(name, f"/usr/bin/{name}") for name in ("a", "b", "c")}
PATHS = ["/", "/s", "/s/p", "/s/p/k", "/s/p/k/z", "/t"]
NETWORKS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "127.0.0.1", "::1", "0.0.0.0/0", "::/0", "0.0.0.0"]
LOCAL = ["127.0.0.1/32", "::1/128", "0.0.0.0/32"]
ADDRESSES = ["10.0.0.1", "10.1.1.1", "127.0.0.1", "127.5.5.5", "::1", "::", "0.0.0.0", "2001:db8::1"]


def several(values: list[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


ENDPOINTS = several([Endpoint(ip_network(text), port) for text in NETWORKS for port in (80, 443)], 3)
RESOURCES = st.builds(
    Resource, st.just("x"), tcp=ENDPOINTS, udp=ENDPOINTS, unix=several(["@x", "@y", "/s/p/k"], 2),
    files=several(PATHS, 2), trees=several(PATHS, 2), exec=several(PATHS, 1), devices=several(PATHS, 1),
    access=st.sampled_from([frozenset({"read"}), frozenset({"write"}), frozenset({"read", "write"})]))
RULES = st.builds(Rule, st.just("r"), st.just("x"), several(["a", "b", "c"], 3), st.sampled_from(["enforce", "audit"]),
                  st.sampled_from(["deny", "kill"]))


def joined(pairs: list[tuple[Resource, Rule]]) -> RuleSet:
    return RuleSet(CHECKPOINTS, {f"x{index}": replace(one, name=f"x{index}") for index, (one, _) in enumerate(pairs)},
                   tuple(replace(rule, id=f"r{index}", protect=f"x{index}") for index, (_, rule) in enumerate(pairs)))


SETS = st.lists(st.tuples(RESOURCES, RULES), max_size=4).map(joined)
SUBJECTS = st.builds(Subject, st.frozensets(st.sampled_from(["a", "b", "c", "unknown"])))
PEERS = st.builds(Peer, st.sampled_from([6, 17]), st.sampled_from(ADDRESSES).map(ip_address),
                  st.sampled_from([80, 443]), st.booleans())
ACCESSES = st.builds(Access, st.sampled_from(PATHS) | st.sampled_from([b"x", b"y", b"z"]) | PEERS, st.integers(1, 15))


def decided(rules: RuleSet, subject: Subject, access: Access) -> Verdict:
    return judge(compile_rules(rules), subject, access)


def with_rules(rules: RuleSet, change: Any) -> RuleSet:
    return replace(rules, rules=tuple(change(rule) for rule in rules.rules))


def test_in_words() -> None:
    judge_all = Judge(compile_rules(RuleSet(CHECKPOINTS, {
        "db": Resource("db", tcp=(Endpoint(ip_network("127.0.0.1"), 5432),), unix=("@db",)),
        "tree": Resource("tree", trees=("/srv/payroll",), access=frozenset({"write"})),
        "key": Resource("key", files=("/srv/payroll/key",)),
    }, (Rule("db", "db", ("a", "b"), on_bypass="kill"), Rule("tree", "tree", ("b",)), Rule("key", "key", ("b", "c")),
        Rule("tried", "key", ("c",), mode="audit")))))
    nobody, a, b, c = Subject(), *(Subject(frozenset({name})) for name in "abc")
    connect = Access(Peer(6, ip_address("127.0.0.1"), 5432), Wanted.CONNECT)
    assert judge_all.verdict(nobody, connect) == Verdict(False, ("db",), ("a", "b"), (), True)
    assert judge_all.verdict(a, connect) == Verdict(True)
    assert judge_all.verdict(c, replace(connect, target=b"db")).rules == ("db",)
    for address in ("127.7.7.7", "0.0.0.0", "::", "::1"):
        assert not judge_all.verdict(c, Access(Peer(6, ip_address(address), 5432), Wanted.CONNECT)).allowed
    assert judge_all.verdict(c, Access(Peer(6, ip_address("10.0.0.1"), 5432), Wanted.CONNECT)).allowed
    assert not judge_all.verdict(c, Access(Peer(6, ip_address("10.0.0.1"), 5432, True), Wanted.CONNECT)).allowed
    assert judge_all.verdict(nobody, Access("/srv/payroll/x/y", Wanted.READ)).allowed
    assert judge_all.verdict(nobody, Access("/srv/payroll/x/y", Wanted.WRITE)) == Verdict(False, ("tree",), ("b",))
    assert judge_all.verdict(nobody, Access("/srv/payrolls", Wanted.WRITE)).allowed
    assert judge_all.verdict(b, Access("/srv/payroll/key", Wanted.READ)) == Verdict(True, (), ("c",), ("tried",))
    assert judge_all.verdict(c, Access("/srv/payroll/key", Wanted.READ)) == Verdict(True)
    assert judge_all.verdict(c, Access("/srv/payroll/key", Wanted.WRITE)) == Verdict(False, ("tree",), ("b",))
    assert judge_all.verdict(nobody, Access("/srv/payroll/key", Wanted.WRITE)) == Verdict(
        False, ("key", "tree"), ("b",), ("tried",))


@given(SETS, SUBJECTS, ACCESSES)
def test_the_plan_decides_like_the_definition(rules: RuleSet, subject: Subject, access: Access) -> None:
    violated = {rule.id for rule in rules.rules if defined(rules.resources[rule.protect], access)
                and not subject.stamps & set(rule.only_through)}
    enforced = {rule.id for rule in rules.rules if rule.mode == "enforce"}
    verdict = decided(rules, subject, access)
    assert (set(verdict.rules), set(verdict.audited)) == (violated & enforced, violated - enforced)
    assert verdict.allowed == (not violated & enforced)


def defined(one: Resource, access: Access) -> bool:
    """Return whether a resource is about an access, straight from the words of the design."""
    target, plain = access.target, 0
    if isinstance(target, bytes):
        return "@" + target.decode() in one.unix and bool(access.wanted & Wanted.CONNECT)
    if isinstance(target, Peer):
        is_here = target.is_ours or target.address.is_loopback or target.address.is_unspecified
        mapped = target.address if target.address.version == 6 else ip_address(f"::ffff:{target.address}")
        return bool(access.wanted & Wanted.CONNECT) and any(
            endpoint.port == target.port and (target.address in endpoint.network or mapped in endpoint.network
                                              or is_here and str(endpoint.network) in LOCAL)
            for endpoint in (one.tcp if target.proto == 6 else one.udp))
    if "read" in one.access:
        plain |= Wanted.READ | Wanted.EXEC
    if "write" in one.access:
        plain |= Wanted.WRITE
    is_below = any(target == tree or tree == "/" or target.startswith(tree + "/") for tree in one.trees)
    return bool((target in one.files + one.devices or is_below) and access.wanted & plain
                or target in one.exec and access.wanted & (Wanted.READ | Wanted.WRITE | Wanted.EXEC)
                or target in one.unix and access.wanted & Wanted.CONNECT)


@given(SETS, SUBJECTS, ACCESSES, st.sampled_from("abc"))
def test_accepting_one_more_checkpoint_never_denies_more(rules: RuleSet, subject: Subject, access: Access,
                                                         name: str) -> None:
    wider = with_rules(rules, lambda rule: replace(rule, only_through=tuple({*rule.only_through, name})))
    assert decided(wider, subject, access).allowed >= decided(rules, subject, access).allowed


@given(SETS, SUBJECTS, ACCESSES, st.sampled_from("abc"))
def test_one_more_stamp_never_denies_more(rules: RuleSet, subject: Subject, access: Access, name: str) -> None:
    more = Subject(subject.stamps | {name})
    assert decided(rules, more, access).allowed >= decided(rules, subject, access).allowed


@given(SETS, SUBJECTS, ACCESSES)
def test_only_through_nothing_is_nobody(rules: RuleSet, subject: Subject, access: Access) -> None:
    closed = with_rules(rules, lambda rule: replace(rule, only_through=(), mode="enforce"))
    is_protected = any(defined(rules.resources[rule.protect], access) for rule in rules.rules)
    verdict = decided(closed, subject, access)
    assert verdict.allowed == (not is_protected) and verdict.missing == ()


@given(SETS, SUBJECTS, ACCESSES)
def test_audit_never_denies(rules: RuleSet, subject: Subject, access: Access) -> None:
    verdict = decided(with_rules(rules, lambda rule: replace(rule, mode="audit")), subject, access)
    assert verdict.allowed and verdict.rules == () and not verdict.is_killed
    enforced = decided(with_rules(rules, lambda rule: replace(rule, mode="enforce")), subject, access)
    assert verdict.audited == enforced.rules and verdict.missing == enforced.missing


@given(SETS, SUBJECTS, ACCESSES, st.integers(0, 3))
def test_one_more_rule_never_allows_more(rules: RuleSet, subject: Subject, access: Access, index: int) -> None:
    fewer = replace(rules, rules=rules.rules[:index] + rules.rules[index + 1:])
    assert decided(rules, subject, access).allowed <= decided(fewer, subject, access).allowed


@given(SETS, SUBJECTS, st.integers(1, 15), st.sampled_from(PATHS), st.sampled_from(["/new", "/new/x"]))
def test_a_nested_path_is_at_least_as_strict_as_the_tree_around_it(rules: RuleSet, subject: Subject, wanted: int,
                                                                   tree: str, below: str) -> None:
    pairs = [(replace(rules.resources[rule.protect], files=(), exec=(), devices=()), rule) for rule in rules.rules]
    trees = joined(pairs)
    inner = tree.rstrip("/") + below
    outside = decided(trees, subject, Access(tree, wanted & ~Wanted.CONNECT))
    assert set(outside.rules) <= set(decided(trees, subject, Access(inner, wanted & ~Wanted.CONNECT)).rules)


@given(SETS, SUBJECTS, ACCESSES, st.integers(1, 15))
def test_wanting_more_never_allows_more(rules: RuleSet, subject: Subject, access: Access, more: int) -> None:
    wider = replace(access, wanted=access.wanted | more)
    assert decided(rules, subject, wider).allowed <= decided(rules, subject, access).allowed


@given(SETS, SUBJECTS, ACCESSES)
def test_what_is_said_to_be_missing_would_do(rules: RuleSet, subject: Subject, access: Access) -> None:
    verdict = decided(rules, subject, access)
    alone = [name for name in verdict.missing if decided(rules, Subject(frozenset({name})), access).allowed]
    together = Subject(subject.stamps | set(verdict.missing))
    closed = {rule.id for rule in rules.rules if not rule.only_through}
    assert set(decided(rules, together, access).rules) <= closed
    assert verdict.allowed or alone == list(verdict.missing) or len(verdict.rules) > 1 or subject.stamps or closed


@given(SETS, SUBJECTS, ACCESSES)
def test_only_a_denied_process_is_killed(rules: RuleSet, subject: Subject, access: Access) -> None:
    verdict = decided(rules, subject, access)
    kills = {rule.id for rule in rules.rules if rule.on_bypass == "kill"}
    assert verdict.is_killed == bool(set(verdict.rules) & kills)
    assert not (verdict.allowed and verdict.is_killed)


def test_mixed_clauses_of_one_rule_count_once() -> None:
    one = Resource("x", files=("/s",), exec=("/s",), trees=("/",), access=frozenset({"read"}))
    rules = RuleSet(CHECKPOINTS, {"x": one}, (Rule("r", "x", ()),))
    assert decided(rules, Subject(), Access("/s", Wanted.WRITE)).rules == ("r",)
    assert decided(rules, Subject(), Access("/t", Wanted.WRITE)).allowed


def test_contradictions_name_all_that_would_help() -> None:
    one = Resource("x", files=("/s",))
    rules = RuleSet(CHECKPOINTS, {"x": one}, (Rule("r", "x", ("a",)), Rule("q", "x", ("b",))))
    assert decided(rules, Subject(), Access("/s", Wanted.READ)).missing == ("a", "b")


def test_moving_what_lies_above() -> None:
    rules = RuleSet(CHECKPOINTS, {"key": Resource("key", files=("/srv/payroll/key",), access=frozenset({"read"})),
                                  "log": Resource("log", files=("/srv/log",))},
                    (Rule("first", "key", ("a",)), Rule("second", "log", ("b",), "audit")))
    verdicts = Judge(compile_rules(rules))

    def decide(path: str, wanted: int, *stamps: str) -> Verdict:
        return verdicts.verdict(Subject(frozenset(stamps)), Access(path, wanted))
    for path in ("/srv/payroll", "/srv"):
        assert not decide(path, Wanted.MOVE).allowed and decide(path, Wanted.MOVE, "a").allowed
        assert decide(path, Wanted.READ | Wanted.WRITE | Wanted.EXEC).allowed
    assert decide("/srv", Wanted.MOVE, "a").audited == ("second",)
    assert decide("/srv/log", Wanted.MOVE).allowed and decide("/", Wanted.MOVE).allowed
