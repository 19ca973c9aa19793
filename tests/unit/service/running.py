"""A daemon, whose kernel is a fake, with its loop turned by the test, and what it left in its journal."""

from __future__ import annotations

import threading
import time
from typing import Any

from nbspd.control.client import ask
from nbspd.errors import NbspdError
from nbspd.journal.reader import Reader
from nbspd.journal.record import Record
from nbspd.paths import Settings
from nbspd.service import Service

from ..events.hits import record as raw_record
from ..fakes import Begin, FakeEnforcer

RULES = """
version: 1
checkpoints:
  pooler: {exe: /usr/bin/true}
resources:
  db: {tcp: ["192.0.2.1:5432"]}
rules:
  - {id: db-through-pooler, protect: db, only-through: [pooler], owner: dba@example.org, reason: pooled only}
"""
MORE = RULES.replace("rules:\n", "  key: {files: [/srv/nbspd-test/key]}\nrules:\n"
                                 "  - {id: key-for-nobody, protect: key, only-through: []}\n").replace("5432", "5433")
BROKEN = "version: 1\nrules:\n  - {id: x, protect: nothing, only-through: []}\n  - {id: x, wrong: 1}\n"


def write(settings: Settings, text: str, name: str = "a.yaml") -> None:
    (settings.rules / name).write_text(text)


class Running:
    """A daemon whose loop turns while it is asked something."""

    def __init__(self, settings: Settings, begin: Begin) -> None:
        self.settings = settings
        self.begin = begin
        self.service = Service(settings, begin)     # type: ignore[arg-type]
        self.service.notifier.address = ""
        try:
            self.service.start()
        except BaseException:
            self.service.stop()
            raise

    @property
    def enforcer(self) -> FakeEnforcer:
        return self.begin.last

    def turn(self, seconds: float = 0.0) -> None:
        """Serve what is ready, and what becomes ready within some time."""
        end = time.monotonic() + seconds
        for _ in range(50):
            self.service.loop.run_once(0.0)
        while time.monotonic() < end:
            self.service.loop.run_once(max(0.0, end - time.monotonic()))

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Ask over the socket, as nbsp does."""
        answers: list[Any] = []

        def run() -> None:
            try:
                answers.append(ask(verb, self.settings.control_socket, timeout_s=20, **fields))
            except NbspdError as error:
                answers.append(error)
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            self.service.loop.run_once(0.01)
        thread.join()
        if isinstance(answers[0], NbspdError):
            raise answers[0]
        reply: dict[str, Any] = answers[0]
        return reply

    def hit(self, rule: int = 1, tgid: int = 4000, is_lost: bool = False, generation: int = 1) -> None:
        self.begin.kernel.hit(raw_record(rule=rule, tgid=tgid, generation=generation), rule, is_lost)
        self.enforcer.ring.signal()

    def stop(self) -> None:
        self.service.stop()


def records(settings: Settings) -> list[Record]:
    """Return what the journal has, without what the daemon adds about the journal itself."""
    return [record for record in all_records(settings) if record.kind not in ("key", "signature")]


def all_records(settings: Settings) -> list[Record]:
    reader = Reader(settings.journal)
    found = list(reader.query(limit=1000))
    reader.close()
    return found


def kinds(settings: Settings) -> list[str]:
    return [record.kind for record in records(settings)]


def counters(status: dict[str, Any], rule: str = "db-through-pooler") -> tuple[int, ...]:
    found = next(each for each in status["rules"] if each["id"] == rule)["counters"]
    return tuple(found[key] for key in ("hits", "journaled", "coalesced", "lost", "waiting"))
