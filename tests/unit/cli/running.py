"""Runs nbsp in this process, and a daemon that answers what it is told to."""

from __future__ import annotations

import json
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest

from nbspd.cli import nbsp
from nbspd.control.protocol import failure
from nbspd.errors import NbspdError

Answers = Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one object on stdout; anything more or less fails here."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Runner:
    """Runs command lines of nbsp."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> Outcome:
        self.monkeypatch.setattr(sys, "argv", ["nbsp", *map(str, arguments)])
        self.capsys.readouterr()
        code = nbsp.main()
        out, err = self.capsys.readouterr()
        return Outcome(code, out, err)


class FakeDaemon:
    """Listens where the daemon would and answers each verb as it was told; keeps what it was asked.

    An answer that raises NbspdError is a refusal, one that raises ConnectionAbortedError hangs up.
    """

    def __init__(self, runtime: Path, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(runtime / "control.sock"))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        """Answer one connection after another until the socket is closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as lines:
                for line in lines:
                    request = json.loads(line)
                    self.asked.append(request)
                    try:
                        reply = self.answers[request["verb"]](request)
                    except NbspdError as error:
                        reply = failure(error)
                    except ConnectionAbortedError:
                        break
                    lines.write(json.dumps({"ok": True, **reply}).encode() + b"\n")
                    lines.flush()

    def close(self) -> None:
        """Stop listening."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
