"""From what is held to findings: who lacks which stamp, what is harmless, what may be ended, what to do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from nbspd.audit.connections import Connection
from nbspd.audit.finding import Finding, Kind
from nbspd.audit.holdings import Hold
from nbspd.audit.knowledge import Protected
from nbspd.audit.verdicts import Closable
from nbspd.kernel.process import ProcessFacts
from nbspd.kernel.sock_diag import UnixSocket

from .made import (CLIENT, DEMANDS, HERE, READ, SERVER, WRITE, connection, holdings, knowledge, pooler, process,
                   stamped, verdicts)

STAMPED = (1 << 4).to_bytes(64, "little")
PROTECTED = Protected("/key", DEMANDS)
SERVICE = process(cgroup="/system.slice/app.service")


def hold(facts: ProcessFacts, kind: Kind = Kind.DESCRIPTOR, wanted: int = READ, **more: Any) -> Hold:
    return Hold(kind, facts, "/key", PROTECTED, more.pop("demands", DEMANDS), wanted, 5, words="descriptor 5 on /key",
                **more)


def of_files(known: Any, *held: Hold, gone: tuple[int, ...] = ()) -> list[Finding]:
    found = holdings(*(one.facts for one in held))
    found.held = list(held)
    return list(verdicts(known, found, *gone).of_files())


def test_a_descriptor_of_a_stranger() -> None:
    one, = of_files(knowledge(), hold(process()))
    assert (one.kind, one.rules, one.resource, one.only_through) == (
        Kind.DESCRIPTOR, ("through-pooler",), "db", ("pooler",))
    assert (one.fd, one.path, one.access, one.harmless, one.accepted) == (5, "/key", "read", False, False)
    assert (one.holder.pid, one.holder.start_ticks, one.holder.user, one.holder.cgroup) == (
        77, 500, "alice", "/user.slice")
    assert one.holder.started > 0 and one.remedy == "end it when you may: kill 77"


def test_a_service_is_restarted() -> None:
    one, = of_files(knowledge(), hold(SERVICE))
    assert one.holder.unit == "app.service" and one.remedy == "systemctl restart app.service"


def test_a_checkpoint_may_hold_it() -> None:
    assert of_files(stamped(knowledge(), pooler()), hold(pooler())) == []


def test_a_stamp_that_does_not_count_any_more() -> None:
    assert len(of_files(stamped(knowledge(), process()), hold(process()))) == 1     # of kind self, and psql runs


def test_only_what_the_rule_is_about() -> None:
    assert of_files(knowledge(), hold(process(), demands=((0, WRITE),))) == []
    assert len(of_files(knowledge(), hold(process(), wanted=WRITE, demands=((0, WRITE),)))) == 1


def test_a_place_only_is_harmless() -> None:
    one, = of_files(knowledge(), hold(process(), wanted=0))
    assert one.harmless and one.access == "" and "O_PATH" in one.remedy


def test_a_mapping_ends_with_its_process() -> None:
    one, = of_files(knowledge(), hold(process(), Kind.MAPPING, span="1-2"))
    assert one.span == "1-2" and "ends with the process" in one.remedy


def test_who_has_ended_holds_nothing() -> None:
    assert of_files(knowledge(), hold(process()), gone=(77,)) == []
    found = holdings(process())
    found.held = [hold(process(start_ticks=1))]     # its number is another process's now
    judge = verdicts(knowledge(), found)
    judge._now = lambda _pid: process()
    assert list(judge.of_files()) == []


@pytest.mark.parametrize("error", [PermissionError(13, "no"), ValueError(), KeyError(), IndexError()])
def test_who_cannot_be_read_any_more_holds_nothing(error: Exception) -> None:
    def fail(_pid: int) -> None:
        raise error
    found = holdings(process())
    found.held = [hold(process())]
    judge = verdicts(knowledge(), found)
    judge._now = fail
    assert list(judge.of_files()) == []


def test_a_program_that_was_started_around_the_checkpoint() -> None:
    one, = of_files(knowledge(), hold(process(), Kind.PROGRAM, 4))
    assert one.kind is Kind.PROGRAM and "nbsp lineage 77" in one.remedy


def test_a_program_whose_parent_is_the_checkpoint() -> None:
    known = stamped(knowledge(), pooler())
    found = holdings(pooler(), process(ppid=88))
    found.held = [hold(process(ppid=88), Kind.PROGRAM, 4)]
    assert list(verdicts(known, found).of_files()) == []


def test_a_family_that_is_its_own_ancestor_ends() -> None:
    found = holdings(process(ppid=77))
    assert len(list(verdicts(knowledge(), found).ancestry(process(ppid=77)))) == 64


def judged(known: Any, one: Connection, *holders: ProcessFacts,
           closed: tuple[int, ...] = ()) -> tuple[list[Finding], list[Closable]]:
    found = holdings(*holders, sockets={one.inode: [(facts, 4) for facts in holders]} if holders else {})
    found.closed_to_us = list(closed)
    return verdicts(known, found).of_connections([one])


def test_a_connection_older_than_the_rules() -> None:
    (one,), (closable,) = judged(knowledge(), connection(other_end=SERVER), process())
    assert (one.kind, one.protocol, one.local, one.remote) == (
        Kind.CONNECTION, "tcp", "127.0.0.1:40000", "127.0.0.1:5432")
    assert (one.fd, one.cookie, one.namespace, one.access) == (4, 77, HERE.number, "connect")
    assert "older than the rules" in one.what and "nbsp audit --close" in one.remedy
    assert (closable.pids, closable.rules) == ((77,), ("through-pooler",))


def test_a_checkpoints_own_connection() -> None:
    known = stamped(knowledge(), pooler())
    assert judged(known, connection(replace(CLIENT, storage=STAMPED)), pooler()) == ([], [])


def test_a_checkpoints_connection_older_than_its_stamp_is_let_be() -> None:
    (one,), closable = judged(stamped(knowledge(), pooler()), connection(), pooler())
    assert one.accepted and one.harmless and "connect anew" in one.remedy and closable == []


def test_a_checkpoints_connection_in_other_hands() -> None:
    inet = replace(CLIENT, storage=STAMPED)
    (one,), closable = judged(knowledge(), connection(inet), process())
    assert one.socket_stamps == ("pooler",) and "in other hands" in one.what and not one.harmless and len(closable) == 1


def test_what_a_checkpoint_holds_too_is_not_ended() -> None:
    known, inet = stamped(knowledge(), pooler()), replace(CLIENT, storage=STAMPED)
    found, closable = judged(known, connection(inet), pooler(), process())
    assert [one.holder.pid for one in found] == [77] and closable == []
    found, closable = judged(known, connection(), pooler(), process())
    assert [(one.holder.pid, one.harmless) for one in found] == [(88, True), (77, False)] and closable == []


def test_a_rule_in_audit_mode_ends_nothing() -> None:
    (one,), closable = judged(knowledge(), replace(connection(), demands=((1, 8),)), process())
    assert one.rules == ("watched",) and closable == []


def test_a_connection_that_no_descriptor_holds() -> None:
    (one,), (closable,) = judged(knowledge(), connection())
    assert one.holder.pid == 0 and "held by no descriptor" in one.what and closable.pids == ()
    assert judged(knowledge(), connection(replace(CLIENT, storage=STAMPED))) == ([], [])     # perhaps the checkpoint's
    assert judged(knowledge(), connection(replace(CLIENT, inode=0))) == ([], [])             # what is left of one
    assert judged(knowledge(), connection(), closed=(5,)) == ([], [])       # somebody may hold it whom we cannot see


def test_where_a_socket_cannot_be_asked_its_holders_count() -> None:
    unknown = connection(is_stamp_known=False)
    assert judged(stamped(knowledge(), pooler()), unknown, pooler()) == ([], [])
    (one,), closable = judged(knowledge(), unknown, process())
    assert not one.harmless and len(closable) == 1
    assert judged(knowledge(), unknown) == ([], [])


def test_who_holds_it_has_ended() -> None:
    found = holdings(sockets={900: [(process(), 4)]})
    assert verdicts(knowledge(), found, 77).of_connections([connection()]) == ([], [])


@pytest.mark.parametrize("cgroup, is_judged", [("/", True), ("/user.slice", True), ("/user", False), ("/a", False)])
def test_only_the_guarded_cgroup(cgroup: str, is_judged: bool) -> None:
    found, closable = judged(knowledge(cgroup=cgroup), connection(), process())
    assert bool(found) == bool(closable) == is_judged


def test_without_a_guarded_cgroup_it_is_everybody() -> None:
    assert judged(knowledge(), connection(), process(cgroup=""))[0]     # as where no cgroup-v2 tree is in use


def test_multipath_and_ipv6_in_words() -> None:
    (one,), _ = judged(knowledge(), connection(is_multipath=True), process())
    assert one.protocol == "mptcp"
    six = replace(CLIENT, remote=(ip_address("::1"), 5432), local=(ip_address("::ffff:10.0.0.1"), 1))
    (one,), _ = judged(knowledge(), connection(six), process())
    assert (one.local, one.remote) == ("10.0.0.1:1", "[::1]:5432")


def unix() -> Connection:
    return Connection(HERE, 900, DEMANDS, unix=UnixSocket(900, 1, 1, b"", 901, None), peer="/run/db.sock")


def test_a_unix_connection_is_named_and_never_ended() -> None:
    (one,), closable = judged(knowledge(), unix(), process())
    assert (one.kind, one.remote, one.protocol) == (Kind.UNIX, "/run/db.sock", "unix") and closable == []
    assert "cannot end a unix connection" in one.remedy and "900" in one.what
    assert judged(stamped(knowledge(), pooler()), unix(), pooler()) == ([], [])


def test_a_unix_connection_that_no_descriptor_holds() -> None:
    (one,), closable = judged(knowledge(), unix())
    assert one.holder.pid == 0 and "held by no descriptor" in one.what and closable == []


@pytest.mark.parametrize("tier, is_judged", [("lsm", True), ("socket", False)])
def test_unix_sockets_outside_of_the_guarded_cgroup(tier: str, is_judged: bool) -> None:
    assert bool(judged(knowledge(tier=tier, cgroup="/a"), unix(), process())[0]) == is_judged
