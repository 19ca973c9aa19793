"""The daemon's end of the control socket: never waits for a client, never keeps more of it than it must."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Callable

from ..errors import ControlError, NbspdError
from .loop import READ, WRITE, Loop
from .notify import inherited_socket
from .peer import Peer, authorise, identify, viewers_group
from .protocol import (REPLY_MAX_BYTES, REQUEST_MAX_BYTES, Reply, Request, WithDescriptor, bug, encode, failure,
                       parse_request)

CLIENTS_MAX = 64

Answer = Callable[[Peer, Request], "Reply | None"]
Confess = Callable[[BaseException], None]


class Client:
    """One connection: what it sent and was not looked at, what it was answered and did not fetch."""

    def __init__(self, connection: socket.socket, peer: Peer) -> None:
        self.connection = connection
        self.peer = peer
        self.received = b""
        self.to_send = memoryview(b"")
        self.to_attach: int | None = None       # a descriptor that goes with the first byte of it
        self.parked: Request | None = None
        self.is_last = False        # nothing more is listened to; hung up on when it hangs up

    def send(self) -> None:
        """Send what the connection takes at once. Raises OSError."""
        if self.to_attach is None:
            sent = self.connection.send(self.to_send, socket.MSG_NOSIGNAL)
        else:
            attached = (socket.SOL_SOCKET, socket.SCM_RIGHTS, self.to_attach.to_bytes(4, sys.byteorder))
            sent = self.connection.sendmsg([self.to_send], [attached], socket.MSG_NOSIGNAL)
            self.forget_attached()
        self.to_send = self.to_send[sent:]

    def forget_attached(self) -> None:
        """Close the descriptor that was to be sent, if any."""
        if self.to_attach is not None:
            os.close(self.to_attach)
            self.to_attach = None


class Server:
    """Listens, checks who asks, and hands requests to `answer`.

    `answer` may return None: the request is parked and asked again at retry_parked(). What it raises beside
    NbspdError is a bug of ours: the client is told so, `confess` is told too, and the daemon lives on.
    """

    def __init__(self, loop: Loop, path: Path, answer: Answer, confess: Confess) -> None:
        self.loop = loop
        self.path = path
        self.answer = answer
        self.confess = confess
        self.viewers = viewers_group()
        self.clients: dict[int, Client] = {}
        self.is_inherited = False
        self.listener = self.listen()
        self.loop.watch(self.listener, self.accept)

    def listen(self) -> socket.socket:
        """Return the listening socket: systemd's, or our own at the path. The caller holds the instance lock."""
        inherited = inherited_socket()
        if inherited is not None:
            self.is_inherited = True
            inherited.setblocking(False)
            return inherited
        if self.path.exists():
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise ControlError(f"{self.path} is in the way and not a socket", f"look at it, then: rm {self.path}")
            self.path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            listener.bind(os.fspath(self.path))
        finally:
            os.umask(before)
        if self.viewers is not None:
            os.chown(self.path, -1, self.viewers)
            os.chmod(self.path, 0o660)
        listener.listen(CLIENTS_MAX)
        return listener

    def accept(self, _events: int) -> None:
        """Take a new client; when there are too many, the oldest that is not root makes room."""
        try:
            connection, _ = self.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        connection.setblocking(False)
        if len(self.clients) >= CLIENTS_MAX:
            crowd = list(self.clients.values())
            self.drop(next((c for c in crowd if c.peer.uid != 0), crowd[0]))
        client = Client(connection, identify(connection))
        self.clients[connection.fileno()] = client
        self.loop.watch(connection, lambda events: self.serve(client, events))

    def serve(self, client: Client, events: int) -> None:
        """Do what one client is ready for."""
        if events & WRITE:
            self.flush(client)
            self.advance(client)
        elif events & READ:
            self.receive(client)
        else:
            self.drop(client)       # hung up

    def receive(self, client: Client) -> None:
        """Read what a client sent, and answer the first whole line."""
        try:
            data = client.connection.recv(REQUEST_MAX_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(client)
            return
        if not client.is_last:
            client.received += data
            self.advance(client)

    def advance(self, client: Client) -> None:
        """Answer lines in order, one at a time: the next when the last reply is fetched."""
        while client.parked is None and not client.to_send and not client.is_last:
            line, newline, rest = client.received.partition(b"\n")
            if not newline:
                break
            client.received = rest
            if line.strip():
                self.reply(client, self.answer_line(client, line))
        if len(client.received) > REQUEST_MAX_BYTES and not client.to_send and not client.is_last:
            client.received = b""
            client.is_last = True
            error = ControlError(f"the request is longer than {REQUEST_MAX_BYTES} bytes", "send one JSON object a line")
            self.reply(client, failure(error))

    def answer_line(self, client: Client, line: bytes) -> Reply | None:
        """Return the reply to one line; None parks the request."""
        try:
            request = parse_request(line)
            return self.answer_request(client, request)
        except NbspdError as error:
            return failure(error)

    def answer_request(self, client: Client, request: Request) -> Reply | None:
        """Return the reply to a well-formed request; None parks it."""
        try:
            authorise(client.peer, request.verb, self.viewers)
            reply = self.answer(client.peer, request)
        except NbspdError as error:
            return failure(error)
        except Exception as error:      # one request must not end the daemon
            self.confess(error)
            return bug(error)
        client.parked = request if reply is None else None
        return reply

    def reply(self, client: Client, reply: Reply | None) -> None:
        """Send a reply, as far as the client takes it."""
        if reply is None:
            return
        data = encode(reply)
        if len(data) > REPLY_MAX_BYTES:
            data = encode(failure(ControlError("the reply would be too long", "ask for one rule, or use a limit")))
        client.to_send = memoryview(data)
        client.to_attach = reply.descriptor if isinstance(reply, WithDescriptor) else None
        self.flush(client)

    def flush(self, client: Client) -> None:
        """Send what is left to send."""
        try:
            while client.to_send:
                client.send()
            if client.is_last:      # closing now would take the reply away from it
                client.connection.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self.loop.watch(client.connection, lambda events: self.serve(client, events), WRITE)
            return
        except OSError:
            self.drop(client)
            return
        self.loop.watch(client.connection, lambda events: self.serve(client, events), READ)

    def retry_parked(self) -> None:
        """Ask the parked requests again: something they may wait for has happened."""
        for client in [c for c in self.clients.values() if c.parked is not None]:
            request, client.parked = client.parked, None
            assert request is not None
            self.reply(client, self.answer_request(client, request))
            self.advance(client)

    def drop(self, client: Client) -> None:
        """Forget a client."""
        if self.clients.pop(client.connection.fileno(), None) is not None:
            self.loop.forget(client.connection)
            client.forget_attached()
            client.connection.close()

    def close(self) -> None:
        """Stop listening; what was answered and fits into the sockets is sent already."""
        for client in list(self.clients.values()):
            self.drop(client)
        self.loop.forget(self.listener)
        self.listener.close()
        if not self.is_inherited:
            self.path.unlink(missing_ok=True)
