"""The host's end of the line to agent.py in the guest."""

from __future__ import annotations

import base64
import json
import select
import socket
import time
from pathlib import Path
from typing import Any, Callable, Iterator

from .errors import LabError

GRACE_S = 30.0              # the agent ends a command itself when its time is up; this long it may take to say so
PING_EVERY_S = 5.0

Watch = Callable[[], None]  # raises LabError when the guest is seen to be dead


class Channel:
    """One connection; commands one after the other."""

    def __init__(self, path: Path, watch: Watch) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._watch = watch
        self._rest = b""
        self._number = time.time_ns()       # a host that attaches later must not take up an earlier one's numbers

    def close(self) -> None:
        """Hang up; the guest goes on."""
        self._socket.close()

    def wait(self, timeout_s: float, other_than: str = "") -> str:
        """Return the boot id that the agent says when it starts, or "" when it was running already.

        With `other_than`, wait for another boot than that one.
        """
        deadline = time.monotonic() + timeout_s
        pings = set()
        while time.monotonic() < deadline:
            if not other_than:
                pings.add(self._send({"verb": "ping"}))
            for message in self._messages(min(deadline, time.monotonic() + PING_EVERY_S)):
                if "ready" in message and message["ready"] != other_than:
                    return str(message["ready"])
                if message.get("id") in pings:
                    return ""
        raise LabError(f"the guest's agent did not answer within {timeout_s:.0f} s")

    def run(self, command: str, timeout_s: float, content: bytes, on_output: Callable[[bytes], None]) -> int:
        """Run one command, hand its output on as it comes, return its exit status (124: its time was up)."""
        number = self._send({"verb": "run", "command": command, "timeout_s": timeout_s,
                             "input": base64.b64encode(content).decode()})
        for message in self._messages(time.monotonic() + timeout_s + GRACE_S):
            if message.get("id") == number and "out" in message:
                on_output(base64.b64decode(message["out"]))
            elif message.get("id") == number:
                return int(message["status"])
            elif "ready" in message:
                raise LabError(f"the guest rebooted during: {command}")
        raise LabError(f"the guest's agent fell silent during: {command}")

    def _send(self, message: dict[str, Any]) -> int:
        self._number += 1
        self._socket.settimeout(60)
        try:
            self._socket.sendall(b"\n" + json.dumps({"id": self._number, **message}).encode() + b"\n")
        except OSError as error:
            self._watch()
            raise LabError(f"cannot talk to the guest: {error}") from error
        return self._number

    def _messages(self, deadline: float) -> Iterator[dict[str, Any]]:
        """Yield what the agent sends until the deadline; look after the guest's health every second."""
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], min(left, 1.0))[0]:
                self._watch()
                continue
            data = self._socket.recv(65536)
            if not data:
                self._watch()
                raise LabError("QEMU hung up")
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:      # the end of a line meant for an earlier host
                    continue
                yield message
