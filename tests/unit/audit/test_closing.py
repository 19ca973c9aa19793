"""Ending connections: announced first, one by one, and every refusal said."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from nbspd.audit.closing import NO_DESTROY, close_all
from nbspd.audit.connections import Namespace
from nbspd.audit.finding import Closing
from nbspd.audit.verdicts import Closable
from nbspd.errors import ControlError
from nbspd.kernel.sock_diag import UDPLITE

from .made import CLIENT, SERVER, FakeDiagnosis, connection

ONE = Closable(connection(other_end=SERVER), (77, 78), ("through-pooler",))


class Daemon:
    """Takes down what it is told, or refuses."""

    def __init__(self, refusal: ControlError | None = None) -> None:
        self.told: list[dict[str, Any]] = []
        self.refusal = refusal

    def __call__(self, verb: str, **fields: Any) -> dict[str, Any]:
        self.told.append({"verb": verb, **fields})
        if self.refusal is not None:
            raise self.refusal
        return {}


def close(daemon: Daemon, diagnosis: FakeDiagnosis, one: Closable = ONE, is_stamped: bool = False) -> Closing:
    found, = close_all([one], daemon, lambda _other, _one: is_stamped, diagnosis)      # type: ignore[arg-type]
    return found


def test_both_ends_are_ended_the_other_one_first() -> None:
    daemon, diagnosis = Daemon(), FakeDiagnosis()
    diagnosis.failures[CLIENT.cookie] = OSError(errno.ENOENT, "gone")       # by the reset of the other end
    done = close(daemon, diagnosis)
    assert done == Closing("tcp", "127.0.0.1:40000", "127.0.0.1:5432", (77, 78), ("through-pooler",), True,
                           other_end="ended")
    assert diagnosis.destroyed == [SERVER]
    assert daemon.told == [{"verb": "close", "proto": "tcp", "local": "127.0.0.1:40000", "remote": "127.0.0.1:5432",
                            "holders": [77, 78]}]


def test_udp_lite_is_announced_as_udp_and_ended_as_what_it_is() -> None:
    daemon, diagnosis, lite = Daemon(), FakeDiagnosis(), replace(CLIENT, protocol=UDPLITE)
    done = close(daemon, diagnosis, replace(ONE, connection=connection(lite)))
    assert done.closed and done.protocol == "udplite" and daemon.told[0]["proto"] == "udp"
    assert diagnosis.destroyed == [lite]


def test_nothing_is_ended_that_is_not_taken_down() -> None:
    diagnosis = FakeDiagnosis()
    done = close(Daemon(ControlError("process 77 carries pooler", "leave it")), diagnosis)
    assert not done.closed and done.reason == "nbspd refuses: process 77 carries pooler; leave it"
    assert diagnosis.destroyed == [] and diagnosis.opened == []


def test_an_end_that_carries_a_stamp_is_left_alone() -> None:
    diagnosis = FakeDiagnosis()
    done = close(Daemon(), diagnosis, is_stamped=True)
    assert done.closed and done.other_end == "left alone: it carries a stamp" and diagnosis.destroyed == [CLIENT]


@pytest.mark.parametrize("code, words", [(errno.ENOENT, "ended already"), (errno.EPERM, "not ended: no")])
def test_another_end_that_cannot_be_ended(code: int, words: str) -> None:
    diagnosis = FakeDiagnosis()
    diagnosis.failures[SERVER.cookie] = OSError(code, "no")
    done = close(Daemon(), diagnosis)
    assert done.closed and done.other_end == words and diagnosis.destroyed == [CLIENT]


@pytest.mark.parametrize("code, name, words", [
    (errno.EOPNOTSUPP, "EOPNOTSUPP", NO_DESTROY), (errno.ENOENT, "ENOENT", "it had ended already"),
    (errno.ESTALE, "ESTALE", "another socket has the same addresses"), (errno.EPERM, "EPERM", "refuses it to us"),
    (errno.EIO, "EIO", "odd")])
def test_what_the_kernel_refuses(code: int, name: str, words: str) -> None:
    daemon, diagnosis = Daemon(), FakeDiagnosis()
    diagnosis.failures[CLIENT.cookie] = OSError(code, "odd")
    done = close(daemon, diagnosis, replace(ONE, connection=connection()))
    assert not done.closed and done.errno == name and words in done.reason
    assert [each.get("failed", "").partition(":")[0] for each in daemon.told] == ["", name]       # and that is told


def test_a_socket_that_the_kernel_does_not_find_and_that_is_there_all_the_same() -> None:
    diagnosis = FakeDiagnosis({(2, 6): [SERVER, CLIENT]})       # another one with its addresses was found
    diagnosis.failures[CLIENT.cookie] = OSError(errno.ENOENT, "gone")
    done = close(Daemon(), diagnosis)
    assert not done.is_ended and done.errno == "ESTALE" and "end who holds it" in done.reason


def test_a_failure_that_cannot_be_told() -> None:
    class Dying(Daemon):
        def __call__(self, verb: str, **fields: Any) -> dict[str, Any]:
            if "failed" in fields:
                raise ControlError("it hung up")
            return super().__call__(verb, **fields)
    diagnosis = FakeDiagnosis()
    diagnosis.failures[CLIENT.cookie] = OSError(errno.EPERM, "no")
    assert "could not be told: it hung up" in close(Dying(), diagnosis, replace(ONE, connection=connection())).reason


def test_a_namespace_that_is_gone() -> None:
    gone = replace(ONE, connection=replace(connection(), namespace=Namespace(4711, 1 << 30)))
    done = close(Daemon(), FakeDiagnosis(), gone)
    assert not done.is_ended and done.errno == "ESRCH" and "once more" in done.reason
