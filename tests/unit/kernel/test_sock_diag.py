"""Messages of sock_diag(7), made by hand: what is read of them, and what is asked."""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from nbspd.kernel import sock_diag
from nbspd.kernel.sock_diag import MPTCP, TCP, UDP, Diagnosis, InetSocket, UnixSocket

HERE = ip_address("127.0.0.1")
ONE = InetSocket(socket.AF_INET, TCP, 1, (HERE, 40000), (HERE, 5432), 0, 77, 99, 0)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body + bytes(-len(body) % 4)


def inet(one: InetSocket, *attributes: bytes) -> bytes:
    return (bytes([one.family, one.state, 0, 0])
            + struct.pack("!HH16s16s", one.local[1], one.remote[1], one.local[0].packed, one.remote[0].packed)
            + struct.pack("=IQ", one.interface, one.cookie) + struct.pack("=IIIII", 0, 0, 0, one.uid, one.inode)
            + b"".join(attributes))


def unix(inode: int, *attributes: bytes) -> bytes:
    return struct.pack("=BBBBIQ", socket.AF_UNIX, 1, 1, 0, inode, 5) + b"".join(attributes)


def error(code: int) -> bytes:
    return struct.pack("=i", -code) + bytes(16)


class FakeSocket:
    """Answers each request with the datagrams it was given."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.answers: list[tuple[int, list[tuple[int, bytes]]]] = []      # sender, messages
        self.is_closed = False

    def settimeout(self, _seconds: float) -> None:
        pass

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        sender, messages = self.answers.pop(0)
        return b"".join(message(kind, len(self.sent), body) for kind, body in messages), (sender, 0)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeSocket:
    fake = FakeSocket()
    monkeypatch.setattr(sock_diag, "_open", lambda: fake)
    return fake


def test_tcp_sockets_of_both_families(kernel: FakeSocket) -> None:
    six = replace(ONE, family=socket.AF_INET6, local=(ip_address("fd20::1"), 1), remote=(ip_address("::1"), 2), inode=5)
    kernel.answers = [(0, [(20, inet(ONE))]), (0, [(20, inet(six)), (3, struct.pack("=i", 0))])]
    with Diagnosis() as diagnosis:
        assert list(diagnosis.inet(socket.AF_INET, TCP)) == [ONE, six]
    assert kernel.is_closed
    request = kernel.sent[0]
    assert struct.unpack_from("=IHH", request) == (len(request), 20, 0x301)
    states = struct.unpack_from("=I", request, 20)[0]
    assert request[16:18] == bytes([socket.AF_INET, TCP]) and states & 1 << 1 and not states & 1 << 10


def test_the_storage_of_bpf_programs(kernel: FakeSocket) -> None:
    value = (1 << 3).to_bytes(64, "little")
    storages = attribute(20 | 0x8000, attribute(1 | 0x8000, attribute(2, bytes(4)) + attribute(3, value)))
    kernel.answers = [(0, [(20, inet(ONE, attribute(15, b"abcd"), storages)), (20, inet(ONE)), (3, bytes(4))])]
    found = list(Diagnosis().inet(socket.AF_INET, TCP, storages=11))
    assert [one.storage for one in found] == [value, None]
    assert attribute(2 | 0x8000, attribute(1, struct.pack("=I", 11))) in kernel.sent[0]


def test_multipath_tcp_is_asked_for_by_an_attribute(kernel: FakeSocket) -> None:
    kernel.answers = [(0, [(2, error(errno.ENOENT))])]
    with pytest.raises(OSError) as caught:
        list(Diagnosis().inet(socket.AF_INET, MPTCP))
    assert caught.value.errno == errno.ENOENT
    assert kernel.sent[0][17] == 255 and kernel.sent[0].endswith(attribute(3, struct.pack("=I", 262)))


def test_unix_sockets(kernel: FakeSocket) -> None:
    kernel.answers = [(0, [(20, unix(7, attribute(0, b"\0abstract\0name"))),
                           (20, unix(8, attribute(0, b"/run/db.sock\0"), attribute(1, struct.pack("=II", 55, 9)),
                                     attribute(2, struct.pack("=I", 7)))), (20, unix(9)), (3, bytes(4))])]
    assert list(Diagnosis().unix()) == [
        UnixSocket(7, 1, 1, b"\0abstract\0name", 0, None), UnixSocket(8, 1, 1, b"/run/db.sock", 7, (9, 55)),
        UnixSocket(9, 1, 1, b"", 0, None)]


def test_only_the_kernel_is_believed(kernel: FakeSocket) -> None:
    kernel.answers = [(4711, [(20, inet(replace(ONE, inode=1)))]), (0, [(3, bytes(4))])]
    assert list(Diagnosis().inet(socket.AF_INET, TCP)) == []


def test_what_is_left_of_an_earlier_answer_is_not_this_one(kernel: FakeSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    old = message(20, 0, inet(replace(ONE, inode=1))) + message(3, 1, bytes(4))
    monkeypatch.setattr(kernel, "recvfrom", lambda _size: (old, (0, 0)))
    assert list(Diagnosis().inet(socket.AF_INET, TCP)) == []


@pytest.mark.parametrize("kind", [2, 3])        # as an error, or at the end of a list
@pytest.mark.parametrize("code", [errno.ENOENT, errno.EOPNOTSUPP, errno.EPERM, errno.ESTALE])
def test_a_refusal_is_raised(kind: int, code: int, kernel: FakeSocket) -> None:
    kernel.answers = [(0, [(kind, error(code))])]
    with pytest.raises(OSError) as caught:
        Diagnosis().destroy(ONE)
    assert caught.value.errno == code


def test_an_answer_that_is_cut_short(kernel: FakeSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = message(20, 1, inet(ONE))[:-4]
    monkeypatch.setattr(kernel, "recvfrom", lambda _size: (cut, (0, 0)))
    with pytest.raises(OSError, match="cut short"):
        list(Diagnosis().inet(socket.AF_INET, TCP))


def test_exactly_one_socket_is_destroyed(kernel: FakeSocket) -> None:
    kernel.answers = [(0, [(2, error(0))])]
    one = replace(ONE, protocol=UDP, interface=3, cookie=(5 << 32) + 6)
    Diagnosis().destroy(one)
    request = kernel.sent[0]
    assert struct.unpack_from("=HH", request, 4) == (21, 0x5)       # SOCK_DESTROY; request, acknowledge
    assert request[16:18] == bytes([socket.AF_INET, UDP])
    assert request[24:64] == struct.pack("!HH16s16s", 40000, 5432, ONE.local[0].packed, ONE.remote[0].packed) + \
        struct.pack("=I", 3)
    assert request[64:] == struct.pack("=II", 6, 5)


def test_a_namespace_that_cannot_be_entered() -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(OSError) as caught:
            Diagnosis(descriptor)
    finally:
        os.close(descriptor)
    assert caught.value.errno in (errno.EINVAL, errno.EPERM)
