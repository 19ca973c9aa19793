"""The control socket: who may ask, and that no client can stop or stall the daemon."""

import json
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest

from nbspd.abi import UNSET_ID
from nbspd.control import server as module
from nbspd.control.client import Client, Refusal, ask
from nbspd.control.loop import Loop
from nbspd.control.peer import Peer, authorise, identify
from nbspd.control.protocol import REQUEST_MAX_BYTES, Reply, Request, Role
from nbspd.control.server import CLIENTS_MAX, Server
from nbspd.errors import EXIT_BUG, ControlError, Problem, RulesError


class Daemon:
    """A server with a loop in a thread, and answers that the tests set."""

    def __init__(self, path: Path) -> None:
        self.loop = Loop()
        self.bugs: list[BaseException] = []
        self.asked: list[tuple[Peer, Request]] = []
        self.records: list[int] = []
        self.server = Server(self.loop, path, self.answer, self.bugs.append)
        self.is_stopping = False
        self.wake_reader, self.wake_writer = os.pipe()
        self.loop.watch(self.wake_reader, self.wake)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.is_stopping:
            self.loop.run_once(5)

    def wake(self, _events: int) -> None:
        if os.read(self.wake_reader, 1) == b"r":
            self.server.retry_parked()

    def answer(self, peer: Peer, request: Request) -> Reply | None:
        self.asked.append((peer, request))
        if request.verb == "status":
            return {"ok": True, "rules": []}
        if request.verb == "reload":
            raise RulesError([Problem("a.yaml:1:1", "wrong", "right")])
        if request.verb == "rollback":
            raise ControlError("no", "do")
        if request.verb == "explain":
            raise ZeroDivisionError("oh")
        if request.verb == "coverage":
            return {"ok": True, "rows": ["x" * 1000] * (20_000 if request.text("rule") else 3000)}
        if request.verb == "journal":
            return {"ok": True, "records": [{"n": n} for n in self.records], "last": 7} if self.records else None
        return {"ok": True}

    def close(self) -> None:
        self.is_stopping = True
        os.write(self.wake_writer, b"s")
        self.thread.join(10)
        self.server.close()
        self.loop.close()
        os.close(self.wake_reader)
        os.close(self.wake_writer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def daemon(path: Path) -> Iterator[Daemon]:
    found = Daemon(path)
    yield found
    found.close()


def raw(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.settimeout(10)
    return connection


def read_replies(connection: socket.socket, count: int) -> list[dict[str, Any]]:
    data = b""
    while data.count(b"\n") < count:
        more = connection.recv(1 << 20)
        if not more:
            break
        data += more
    return [json.loads(line) for line in data.splitlines()]


def test_a_question_and_its_answer(daemon: Daemon, path: Path) -> None:
    assert ask("status", path) == {"ok": True, "rules": []}
    peer, request = daemon.asked[0]
    assert (peer.pid, peer.uid, request.verb) == (os.getpid(), os.getuid(), "status")


def test_the_daemons_failure_is_the_clients(daemon: Daemon, path: Path) -> None:
    with Client(path) as client:
        with pytest.raises(RulesError) as caught:
            client.ask("reload")
        assert caught.value.problems == (Problem("a.yaml:1:1", "wrong", "right"),)
        with pytest.raises(Refusal) as refused:
            client.ask("rollback")
        assert (refused.value.cause, refused.value.remedy, refused.value.exit_code) == ("no", "do", 1)
        assert client.ask("ping") == {"ok": True}


def test_a_bug_is_told_and_survived(daemon: Daemon, path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        ask("explain", path, seq=1)
    assert caught.value.exit_code == EXIT_BUG and "ZeroDivisionError" in caught.value.cause
    assert [type(error) for error in daemon.bugs] == [ZeroDivisionError]
    assert ask("ping", path) == {"ok": True}


def test_many_requests_at_once_are_answered_in_order(daemon: Daemon, path: Path) -> None:
    with raw(path) as connection:
        connection.sendall(b'{"verb":"ping"}\n\n{"verb":"status"}\n' * 1500)
        replies = read_replies(connection, 3000)
    assert ["rules" in reply for reply in replies] == [False, True] * 1500


def test_a_request_in_pieces(daemon: Daemon, path: Path) -> None:
    with raw(path) as connection:
        for byte in b'{"verb":"ping"}\n':
            connection.sendall(bytes([byte]))
        assert read_replies(connection, 1) == [{"ok": True}]


def test_an_endless_request_is_cut_off(daemon: Daemon, path: Path) -> None:
    with raw(path) as connection:
        try:
            connection.sendall(b"x" * (4 * REQUEST_MAX_BYTES))
        except OSError:
            pass
        replies = read_replies(connection, 9)
    assert "longer than" in replies[0]["cause"] and len(replies) == 1


def test_a_client_that_does_not_read_stalls_nobody(daemon: Daemon, path: Path) -> None:
    with raw(path) as lazy:
        lazy.sendall(b'{"verb":"coverage"}\n' * 5)
        assert ask("ping", path) == {"ok": True}
        assert all(len(reply["rows"]) == 3000 for reply in read_replies(lazy, 5))


def test_a_reply_that_is_too_long_is_refused(daemon: Daemon, path: Path) -> None:
    with pytest.raises(Refusal, match="too long"):
        ask("coverage", path, rule="x")


def test_following_waits_until_there_is_something(daemon: Daemon, path: Path) -> None:
    with Client(path, timeout_s=10) as client:
        client.connection.sendall(b'{"verb":"journal","follow":true}\n')
        assert ask("ping", path) == {"ok": True}
        daemon.records = [1, 2]
        os.write(daemon.wake_writer, b"r")
        assert json.loads(client.read_line())["records"] == [{"n": 1}, {"n": 2}]
        assert client.ask("ping") == {"ok": True}


def test_a_follower_that_hangs_up_is_forgotten(daemon: Daemon, path: Path) -> None:
    with raw(path) as connection:
        connection.sendall(b'{"verb":"journal","follow":true}\n')
        assert ask("ping", path) == {"ok": True}
    for _ in range(100):
        assert ask("ping", path) == {"ok": True}
        if len(daemon.server.clients) <= 1:
            break
    assert len(daemon.server.clients) <= 1


def test_a_crowd_makes_room(daemon: Daemon, path: Path) -> None:
    crowd = [raw(path) for _ in range(CLIENTS_MAX + 10)]
    assert ask("ping", path) == {"ok": True}
    assert len(daemon.server.clients) <= CLIENTS_MAX
    for connection in crowd:
        connection.close()


def test_the_socket_belongs_to_root_and_the_group(daemon: Daemon, path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    assert mode == (0o600 if daemon.server.viewers is None else 0o660)


def test_a_file_in_the_way_is_not_removed(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(ControlError, match="not a socket"):
        Server(Loop(), path, lambda peer, request: None, lambda error: None)
    assert path.read_text() == "mine"


def test_a_socket_left_behind_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    daemon = Daemon(path)
    assert ask("ping", path) == {"ok": True}
    daemon.close()
    assert not path.exists()


def test_systemds_socket_is_used_and_left_in_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    monkeypatch.setattr(module, "inherited_socket", lambda: listener)
    daemon = Daemon(path)
    assert ask("ping", path) == {"ok": True}
    daemon.close()
    assert path.exists()


@pytest.mark.parametrize("peer, viewers, role", [
    (Peer(1, 0, 0), None, Role.CHANGER), (Peer(1, 0, 0), 900, Role.CHANGER),
    (Peer(1, 1000, 900), 900, Role.VIEWER), (Peer(1, 1000, 1000, (4, 900)), 900, Role.VIEWER),
    (Peer(1, 1000, 1000, (4,)), 900, Role.NOBODY), (Peer(1, 1000, 0, (0,)), None, Role.NOBODY),
])
def test_roles(peer: Peer, viewers: int | None, role: Role) -> None:
    assert peer.role(viewers) is role


def test_viewers_look_and_nobody_else_does() -> None:
    viewer, stranger = Peer(1, 1000, 900), Peer(1, 1000, 1000)
    authorise(viewer, "status", 900)
    with pytest.raises(ControlError, match="members of the group nbspd may only look"):
        authorise(viewer, "detach", 900)
    for verb in ("status", "detach"):
        with pytest.raises(ControlError, match="uid 1000 may not talk to nbspd"):
            authorise(stranger, verb, 900)


@pytest.mark.parametrize("groups, verb, cause", [
    ((), "ping", "uid 12345 may not talk to nbspd"), ((54321,), "detach", "may only look"), ((54321,), "ping", "")])
def test_the_kernel_says_who_asks(path: Path, monkeypatch: pytest.MonkeyPatch, groups: tuple[int, ...], verb: str,
                                  cause: str) -> None:
    """A real process with other credentials; the socket is opened for it, so that the check behind it is tested."""
    monkeypatch.setattr(module, "viewers_group", lambda: 54321)
    path.parent.chmod(0o755)
    for parent in path.parents:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 1:
            parent.chmod(parent.stat().st_mode | 0o011)
    daemon = Daemon(path)
    path.chmod(0o666)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(12345)
            os.setuid(12345)
            connection = raw(path)
            fields = ',"reason":"x"' if verb == "detach" else ""
            connection.sendall(b'{"verb":"%s"%s}\n' % (verb.encode(), fields.encode()))
            os.write(writer, connection.recv(4096))
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    reply = json.loads(os.read(reader, 4096))
    os.close(reader)
    daemon.close()
    assert reply.get("cause", "") == "" if not cause else cause in reply["cause"]
    assert reply["ok"] is (cause == "")


def test_a_peer_in_words() -> None:
    one, other = socket.socketpair()
    with one, other:
        peer = identify(one)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert set(peer.groups) == set(os.getgroups())
    assert peer.comm == Path("/proc/self/comm").read_text().strip()
    assert Peer(5, 0, 0, (), 1000, "nbsp").words() == "uid 0, login uid 1000, pid 5 (nbsp)"
    assert Peer(5, 0, 0, (), UNSET_ID, "").words() == "uid 0, pid 5 (gone)"
    assert struct.calcsize("iII") == 12


def test_no_daemon_and_no_permission_are_said(path: Path) -> None:
    with pytest.raises(ControlError, match="nbspd does not run"):
        ask("ping", path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(ControlError, match="nbspd does not run"):
        ask("ping", path)


def test_a_daemon_that_comes_later_is_waited_for(path: Path) -> None:
    daemons: list[Daemon] = []
    timer = threading.Timer(0.2, lambda: daemons.append(Daemon(path)))
    timer.start()
    assert ask("ping", path, wait_s=10) == {"ok": True}
    timer.join()
    daemons[0].close()


def test_a_daemon_that_dies_or_babbles_is_said(path: Path) -> None:
    for answer, cause in ((b"", "hung up"), (b"nonsense\n", "broke"), (b"[]\n", "strange")):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()

            def serve(text: bytes = answer, to: socket.socket = listener) -> None:
                with to.accept()[0] as connection:
                    connection.recv(100)
                    connection.sendall(text)
            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(ControlError, match=cause):
                ask("ping", path)
            thread.join()
        path.unlink()


def test_a_descriptor_that_could_not_be_sent_is_closed() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        with pytest.raises(BlockingIOError):
            while True:
                ours.send(bytes(1 << 16))
        client = module.Client(ours, Peer(1, 0, 0))
        client.to_attach, client.to_send = os.dup(0), memoryview(b"x")
        kept = client.to_attach
        with pytest.raises(BlockingIOError):
            client.send()
        assert client.to_attach == kept         # it goes with the first byte, whenever that is
        client.forget_attached()
        with pytest.raises(OSError):
            os.fstat(kept)
        assert client.to_attach is None
