"""The other end of the control socket, for the command line."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any, Iterator

from ..errors import EXIT_TOLD, ControlError, NbspdError, Problem, RulesError
from ..paths import GROUP, RUNTIME
from .protocol import REPLY_MAX_BYTES, Reply, encode

CONTROL_SOCKET = RUNTIME / "control.sock"
RETRY_S = 0.05
DESCRIPTOR = struct.Struct("i")


class Refusal(ControlError):
    """The daemon said no; carries its exit code."""

    def __init__(self, cause: str, remedy: str, exit_code: int) -> None:
        super().__init__(cause, remedy)
        self.exit_code = exit_code


class Client:
    """A connection to the daemon; use it in a `with` statement."""

    def __init__(self, path: Path = CONTROL_SOCKET, wait_s: float = 0.0, timeout_s: float | None = 60.0) -> None:
        """Connect. With `wait_s`, a daemon that is not there yet is waited for. Raises ControlError."""
        self.path = path
        self.connection = connect(path, wait_s)
        self.connection.settimeout(timeout_s)
        self.received = bytearray()
        self.descriptors: list[int] = []        # that came with replies and were not taken

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.connection.close()
        while self.descriptors:
            os.close(self.descriptors.pop())

    def take_descriptor(self) -> int | None:
        """Return a descriptor that came with a reply, which is the caller's now; None when none did."""
        return self.descriptors.pop() if self.descriptors else None

    def ask(self, verb: str, **fields: Any) -> Reply:
        """Return the daemon's reply; fields that are None are left out.

        Raises RulesError when it tells of problems in the rules, Refusal when it says no, ControlError when it is gone.
        """
        request = {"verb": verb} | {key: value for key, value in fields.items() if value is not None}
        try:
            self.connection.sendall(encode(request))
            reply = json.loads(self.read_line())
        except TimeoutError as error:
            raise ControlError(f"nbspd did not answer {verb} in time", "systemctl status nbspd") from error
        except (OSError, ValueError) as error:
            raise ControlError(f"the connection to nbspd broke: {error}", "systemctl status nbspd") from error
        if not isinstance(reply, dict):
            raise ControlError("nbspd answered something strange", "are nbsp and nbspd of the same version?")
        if not reply.get("ok"):
            raise refusal(reply)
        return reply

    def read_line(self) -> bytes:
        """Return the next line without its end."""
        while b"\n" not in self.received:
            data = self.receive()
            if not data:
                raise ConnectionError("it hung up")
            self.received += data
            if len(self.received) > REPLY_MAX_BYTES + 1:
                raise ConnectionError("the reply is too long")
        line, _, rest = bytes(self.received).partition(b"\n")
        self.received = bytearray(rest)
        return line

    def receive(self) -> bytes:
        """Return what arrives next, and keep a descriptor that comes with it.

        socket.recv_fds of Python 3.11 forgets its flags.
        """
        data, extras, _, _ = self.connection.recvmsg(1 << 16, socket.CMSG_LEN(DESCRIPTOR.size),
                                                     socket.MSG_CMSG_CLOEXEC)
        for level, kind, value in extras:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(value) >= DESCRIPTOR.size:
                self.descriptors.append(DESCRIPTOR.unpack_from(value)[0])
        return data

    def follow(self, after: int, rule: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the journal's records after a sequence number, for ever, as they come."""
        self.connection.settimeout(None)
        while True:
            reply = self.ask("journal", after=after, rule=rule, follow=True)
            yield from reply["records"]
            after = int(reply["last"])


def ask(verb: str, path: Path = CONTROL_SOCKET, wait_s: float = 0.0, timeout_s: float | None = 60.0,
        **fields: Any) -> Reply:
    """Connect, ask one thing, hang up. Raises as Client and Client.ask do."""
    with Client(path, wait_s, timeout_s) as client:
        return client.ask(verb, **fields)


def connect(path: Path, wait_s: float) -> socket.socket:
    """Return a connected socket. Raises ControlError: no daemon (in time), or this user may not."""
    deadline = time.monotonic() + wait_s
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect(os.fspath(path))
            return connection
        except OSError as error:
            connection.close()
            if error.errno in (errno.EACCES, errno.EPERM):
                raise ControlError(f"uid {os.geteuid()} may not talk to nbspd",
                                   f"become root, or a member of the group {GROUP} to look at things") from error
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN):
                raise ControlError(f"cannot connect to {path}: {error.strerror}", "systemctl status nbspd") from error
            if time.monotonic() >= deadline:
                raise ControlError(f"nbspd does not run: nobody listens at {path}",
                                   "systemctl start nbspd") from error
        time.sleep(RETRY_S)


def refusal(reply: Reply) -> NbspdError:
    """Return the daemon's failure as the exception it was there."""
    problems = reply.get("problems") or []
    if problems:
        return RulesError([Problem(p["where"], p["what"], p.get("right", "")) for p in problems])
    return Refusal(str(reply.get("cause", "nbspd refused")), str(reply.get("remedy", "")),
                   int(reply.get("exit_code", EXIT_TOLD)))
