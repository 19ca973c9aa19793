"""Coverage never claims what no attached hook does."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbspd.cli import document
from nbspd.coverage import HOST, Coverage, Row, absent_channels
from nbspd.coverage.channels import CHANNELS, HOST_CHANNELS, PENDING, TELLING
from nbspd.programs.catalogue import HOOKS, hooks_of
from nbspd.rules.compile import compile_rules
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.plan import Plan

from ..fakes import FakeProgram

TEXT = """
version: 1
checkpoints:
  pooler: {exe: /usr/bin/true}
resources:
  db: {tcp: ["192.0.2.1:5432"]}
  secret: {files: [/srv/key], access: [read]}
  log: {trees: [/srv/log], access: [write]}
  all: {tcp: ["192.0.2.2:1"], udp: ["192.0.2.2:2"], unix: [/srv/sock, "@name"], files: [/srv/f], trees: [/srv/t],
        exec: [/srv/x], devices: [/dev/ttyUSB0]}
rules:
  - {id: db, protect: db, only-through: [pooler]}
  - {id: watch, protect: db, only-through: [pooler], mode: audit}
  - {id: secret, protect: secret, only-through: []}
  - {id: log, protect: log, only-through: [pooler]}
  - {id: all, protect: all, only-through: [pooler]}
"""


def plan() -> Plan:
    return compile_rules(parse_sources([Source("a.yaml", TEXT)]))


def programs(tier: str, broken: frozenset[str] = frozenset()) -> list[FakeProgram]:
    return [FakeProgram(hook.program(tier), hook.name, hook.name not in broken,
                        "refused" if hook.name in broken else "") for hook in hooks_of(tier)]


def states(tier: str, rule: str, broken: frozenset[str] = frozenset()) -> dict[str, str]:
    return {row.channel: row.state for row in Coverage(tier, programs(tier, broken), plan(), {}).rows(rule)}


def test_every_hook_named_exists_in_its_tier() -> None:
    for tier in ("lsm", "fmod_ret", "socket"):
        known = {hook.name for hook in hooks_of(tier)}
        for channel in CHANNELS + HOST_CHANNELS:
            hooks = channel.socket if tier == "socket" else channel.hooks
            assert {name for hook in hooks or () for name in hook.split("|")} <= known, (tier, channel.id)


def test_ids_are_unique_and_every_open_row_says_why() -> None:
    ids = [channel.id for channel in (*CHANNELS, PENDING, *HOST_CHANNELS)]
    assert len(set(ids)) == len(ids)
    assert all(channel.hooks or channel.reason for channel in CHANNELS + HOST_CHANNELS)


def test_every_judging_hook_closes_some_channel() -> None:
    used = {name for channel in CHANNELS + HOST_CHANNELS for hook in channel.hooks + (channel.socket or ())
            for name in hook.split("|")}
    assert {hook.name for hook in HOOKS if hook.channels} <= used


def test_all_families_appear() -> None:
    rows = list(Coverage("lsm", programs("lsm"), plan(), {}).rows("all"))
    assert {row.family for row in rows} == {f"H{number}" for number in range(1, 15)}
    assert all(row.reason for row in rows if row.state != "enforced")
    assert {row.rule for row in rows} == {"all", HOST}


def test_an_endpoint_in_tier_lsm() -> None:
    found = states("lsm", "db")
    assert found["connect"] == found["fast-open"] == found["packet-socket"] == "enforced"
    assert found["ptrace"] == found["code"] == found["replaced-program"] == "enforced"
    assert states("socket", "db")["ptrace"] == states("socket", "db")["dump"] == "open"
    assert found["shared-socket"] == found["kernel-eyes"] == "open"
    assert "send" not in found and "rename" not in found and "unix-connect" not in found


def test_a_read_only_rule_without_checkpoints() -> None:
    found = states("lsm", "secret")
    assert found["open"] == found["received-fd"] == "enforced"
    assert found["older-fd"] == "open"
    assert "attributes" not in found      # writing is not what it protects from
    assert "ptrace" not in found          # no process is stamped for it


def test_a_write_only_rule_shows_what_a_reader_can_do() -> None:
    assert states("lsm", "log")["ioctl"] == "enforced" and states("socket", "log")["ioctl"] == "open"
    assert "metadata" not in states("lsm", "log")
    assert "ioctl" not in states("lsm", "all") and "ioctl" not in states("lsm", "secret")


def test_a_program_that_does_not_attach_opens_its_channels() -> None:
    coverage = Coverage("lsm", programs("lsm", frozenset({"cgroup_egress"})), plan(), {})
    rows = {row.channel: row for row in coverage.rows("db")}
    assert rows["raw-socket"].state == "open" and rows["raw-socket"].reason == "cgroup_egress is not attached: refused"
    assert rows["connect"].state == "enforced"
    missing = Coverage("lsm", [], plan(), {})
    assert all(row.state == "open" for row in missing.rows())


def test_one_hook_may_stand_in_for_another_that_this_kernel_does_not_have() -> None:
    old = [program for program in programs("lsm") if program.hook not in ("inode_set_acl", "inode_remove_acl")]
    rows = {row.channel: row.state for row in Coverage("lsm", old, plan(), {}).rows("all")}
    assert rows["acl"] == "enforced"
    old += [FakeProgram(name, name, False, "this kernel has no such hook")
            for name in ("inode_set_acl", "inode_remove_acl")]
    rows = {row.channel: row.state for row in Coverage("lsm", old, plan(), {}).rows("all")}
    assert rows["acl"] == "enforced"
    assert states("lsm", "all", frozenset({"inode_set_acl"}))["acl"] == "open"


def test_tier_socket_refuses_no_file() -> None:
    found = states("socket", "all")
    assert found["open"] == found["rename"] == found["received-fd"] == "open"
    assert found["exec"] == "observed"
    assert found["connect"] == found["send"] == found["unix-connect"] == "enforced"


def test_tier_socket_sees_executing_only_of_the_inode_that_is_declared() -> None:
    """check_exec() looks the program's own inode up: no ancestor, no name, and of a script its interpreter."""
    found = states("socket", "all")
    assert {channel: found[channel] for channel in ("exec", "tree-exec", "interpreted", "exec-replaced")} == {
        "exec": "observed", "tree-exec": "open", "interpreted": "open", "exec-replaced": "open"}
    assert not {"exec", "tree-exec", "exec-mapping"} & set(states("lsm", "log"))    # writing is all it protects from
    found = states("lsm", "all")
    assert {found[channel] for channel in ("exec", "tree-exec", "interpreted", "exec-replaced")} == {"enforced"}


def test_packets_without_data_are_not_claimed() -> None:
    for tier in ("lsm", "socket"):
        found = states(tier, "db")
        assert found["raw-socket"] == found["packet-socket"] == "enforced"
        assert found["bare-packet"] == found["new-interface"] == "open"


def test_audit_is_observed_and_never_enforced() -> None:
    found = states("lsm", "watch")
    own = {row.channel for row in Coverage("lsm", programs("lsm"), plan(), {}).rows("watch") if row.rule == "watch"}
    assert {found[channel] for channel in own} == {"observed", "open"}


def test_a_channel_that_this_host_does_not_have_is_absent() -> None:
    coverage = Coverage("lsm", programs("lsm"), plan(), {"mptcp": "not in this kernel"})
    row = next(row for row in coverage.rows("db") if row.channel == "mptcp")
    assert (row.state, row.reason) == ("absent", "not in this kernel")


def test_the_state_of_a_rule_counts_what_is_open() -> None:
    coverage = Coverage("lsm", programs("lsm"), plan(), {})
    for rule in plan().rules:
        words, count = coverage.state(rule)
        assert count == sum(row.state == "open" for row in coverage.rows(rule.id)) > 0
        start = "audit" if rule.mode == "audit" else "enforced"
        assert words == f"{start}, {count} channels open (nbsp coverage --rule {rule.id})"


def test_a_rule_is_enforced_only_with_no_open_channel() -> None:
    absent = {channel.id: "x" for channel in CHANNELS + HOST_CHANNELS if not channel.hooks}
    coverage = Coverage("lsm", programs("lsm"), plan(), absent)
    assert {coverage.state(rule) for rule in plan().rules} == {("enforced", 0), ("audit", 0)}


@settings(deadline=None)
@given(st.frozensets(st.sampled_from([hook.name for hook in HOOKS])), st.sampled_from(["lsm", "fmod_ret", "socket"]))
def test_losing_a_program_never_improves_anything(broken: frozenset[str], tier: str) -> None:
    rank = {"open": 0, "observed": 1, "enforced": 2}
    for rule in ("db", "secret", "all"):
        whole, less = states(tier, rule), states(tier, rule, broken)
        assert whole.keys() == less.keys()
        assert all(rank[less[channel]] <= rank[whole[channel]] for channel in whole)


@pytest.mark.parametrize("tier", ["lsm", "fmod_ret"])
def test_the_trampoline_tiers_are_alike(tier: str) -> None:
    assert states(tier, "all") == states("lsm", "all")


def test_a_hook_that_sees_only_one_cgroup_closes_nothing() -> None:
    coverage = Coverage("lsm", programs("lsm"), plan(), {}, {"cgroup_connect4": "only one cgroup"})
    rows = {row.channel: row for row in coverage.rows("db")}
    assert (rows["connect"].state, rows["connect"].reason) == ("open", "only one cgroup")
    assert rows["raw-socket"].state == "enforced"


def test_what_a_host_does_not_have(tmp_path: Path) -> None:
    assert absent_channels(tmp_path) == {"mptcp": "this kernel has no MPTCP"}
    for name, text in (("sys/kernel/io_uring_disabled", "2"), ("sys/net/mptcp/enabled", "0"),
                       ("sys/net/ipv4/tcp_fastopen", "2")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    ids = {channel.id for channel in CHANNELS}
    assert set(absent_channels(tmp_path)) == {
        "io-uring-file", "io-uring-change", "io-uring-socket", "uring-file", "mptcp", "fast-open"} <= ids
    (tmp_path / "sys/kernel/io_uring_disabled").write_text("1\n")
    (tmp_path / "sys/net/mptcp/enabled").write_text("1\n")
    (tmp_path / "sys/net/ipv4/tcp_fastopen").write_text("nonsense")
    assert absent_channels(tmp_path) == {}


def words(tier: str, rule: str, broken: frozenset[str] = frozenset(), partial: dict[str, str] | None = None) -> str:
    coverage = Coverage(tier, programs(tier, broken), plan(), {}, partial)
    found = next(each for each in plan().rules if each.id == rule)
    return coverage.state(found)[0].partition(",")[0]


def test_a_rule_with_an_open_front_door_is_not_enforced() -> None:
    assert words("lsm", "db") == words("socket", "db") == words("lsm", "secret") == "enforced"
    assert words("lsm", "watch") == "audit"
    assert words("lsm", "db", frozenset({"cgroup_connect6"})) == "not enforced"
    assert words("socket", "secret") == "partly enforced"       # only executing it is seen
    assert words("socket", "all") == "partly enforced"
    assert words("lsm", "all", frozenset({"unix_may_send"})) == "partly enforced"
    assert words("lsm", "watch", frozenset({"cgroup_connect4"})) == "not audit"
    assert words("lsm", "db", partial={"cgroup_connect4": "only one cgroup"}) == "partly enforced"
    assert words("lsm", "db", frozenset({hook.name for hook in HOOKS})) == "not enforced"


def pending(tier: str, rule: str, broken: frozenset[str] = frozenset()) -> list[Row]:
    missing = ("/srv/key", "/srv/f", "/srv/t", "/srv/sock", "/srv/x", "/dev/ttyUSB0", "/srv/elsewhere")
    coverage = Coverage(tier, programs(tier, broken), plan(), {}, missing=missing)
    rows = list(coverage.rows(rule))
    assert len(rows) == coverage.count(rule) and len(list(coverage.rows())) == coverage.count()
    found = next(each for each in plan().rules if each.id == rule)
    assert coverage.state(found)[1] == sum(row.state == "open" for row in rows)
    return [row for row in rows if row.channel == "missing-folder"]


def test_a_path_whose_folder_is_missing_is_open_and_says_what_to_do() -> None:
    row, = pending("lsm", "secret")
    assert (row.rule, row.resource, row.state, row.family) == ("secret", "secret", "open", "H10")
    assert row.words == "/srv/key, until its folder exists"
    assert row.reason.startswith("pending: ") and "told when it appears" in row.reason and "nbsp reload" in row.reason
    assert {row.words.partition(",")[0] for row in pending("fmod_ret", "all")} == {
        "/srv/f", "/srv/t", "/srv/sock", "/srv/x", "/dev/ttyUSB0"}
    assert pending("lsm", "db") == [] == pending("lsm", "log")


def test_where_nobody_tells_of_the_folder_that_is_said() -> None:
    row, = pending("socket", "secret")
    assert "this tier has no hook that tells" in row.reason and "nbsp reload" in row.reason
    row, = pending("lsm", "secret", frozenset({"inode_rename"}))
    assert "for want of inode_rename" in row.reason


def test_the_hooks_that_tell_are_hooks_of_the_kernel() -> None:
    assert set(TELLING) <= {hook.name for hook in hooks_of("lsm")} - {hook.name for hook in hooks_of("socket")}


def test_the_document_is_the_table() -> None:
    written = Path(__file__).resolve().parents[3] / "docs" / "channels.md"
    assert written.read_text() == document.text(), "write it anew: make channels"
