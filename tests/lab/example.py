"""One shipped example in a guest: installed and applied, its bypasses attempted, and taken away again."""

from __future__ import annotations

import json
import shlex
import time
from types import TracebackType
from typing import Any, Mapping, Sequence

from .cache import HERE, ROOT
from .guest import Guest, Result

RULES = "/etc/nbspd/rules.d"
ACTS = "/usr/local/lib/nbspd-lab/acts.py"
WRITTEN_TIMEOUT_S = 30.0
Act = Sequence[object]
Record = Mapping[str, Any]


def as_alice(command: str | Sequence[str]) -> list[str]:
    """Return the command as root runs it in a session that alice logged in to: she is the operator."""
    line = command if isinstance(command, str) else shlex.join(command)
    return ["sh", "-c", 'uid=$(id -u alice) && echo $uid > /proc/self/loginuid && exec sh -c "$0"', line]


def perform(guest: Guest, acts: Sequence[Act]) -> list[str]:
    """Attempt forbidden acts as root in alice's session; return their outcomes (see acts.py)."""
    guest.put(ACTS, (HERE / "acts.py").read_text(encoding="utf-8"))
    done = guest.run(as_alice(f"/usr/bin/python3 {ACTS}"), 120, stdin=json.dumps(acts), check=True)
    outcomes: list[str] = json.loads(done.output.splitlines()[-1])
    return outcomes


def answer(guest: Guest, command: str) -> dict[str, Any]:
    """Return the JSON of an `nbsp` verb that must succeed."""
    reply: dict[str, Any] = json.loads(guest.run(f"nbsp {command} --json", 60, check=True).output)
    return reply


class Applied:
    """Rules applied for the length of a `with` block."""

    def __init__(self, guest: Guest, name: str, text: str) -> None:
        self.guest = guest
        self.file = f"{RULES}/{name}"
        self.text = text
        self.begins_after = 0       # the newest record when the rules were applied

    @classmethod
    def shipped(cls, guest: Guest, name: str) -> "Applied":
        """Return a file of rules/ as it is shipped."""
        return cls(guest, name, (ROOT / "rules" / name).read_text(encoding="utf-8"))

    def __enter__(self) -> "Applied":
        self.guest.put(self.file, self.text)
        try:
            self.guest.run("nbsp reload", 120, check=True)
            self.begins_after = answer(self.guest, "journal --limit 1")["last"]
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.remove()

    def remove(self) -> None:
        """Take the rules away."""
        self.guest.run(["rm", "-f", self.file], check=True)
        self.guest.run("nbsp reload", 120)

    def violations(self, rule: str, **wanted: object) -> list[Record]:
        """Return the rule's violations since it was applied that have these values; wait until there is one.

        Raises AssertionError with what there is instead.
        """
        deadline = time.monotonic() + WRITTEN_TIMEOUT_S
        while True:
            records = [record for record in answer(self.guest, f"journal --rule {rule} --limit 1000")["records"]
                       if record["kind"] == "violation" and record["seq"] > self.begins_after]
            found = [record for record in records if all(record.get(key) == value for key, value in wanted.items())]
            if found:
                return found
            assert time.monotonic() < deadline, f"no violation of {rule} with {wanted}; there is: {records}"

    def count(self, rule: str, **wanted: object) -> int:
        """Return how many records with these values there are since the rules were applied."""
        records = answer(self.guest, f"journal --rule {rule} --limit 1000")["records"]
        return sum(record["seq"] > self.begins_after and all(record.get(key) == value for key, value in wanted.items())
                   for record in records)

    def coverage(self, rule: str) -> dict[str, str]:
        """Return the state of each of the rule's channels."""
        rows = answer(self.guest, f"coverage --rule {rule}")["rows"]
        return {row["channel"]: row["state"] for row in rows if row["rule"] == rule}

    def state(self, rule: str) -> str:
        """Return what `nbsp status` says of the rule."""
        return str(next(row["state"] for row in answer(self.guest, "status")["rules"] if row["id"] == rule))


def assert_refused(done: Result) -> None:
    """The program failed, and says why in the words of EPERM."""
    assert done.status not in (0, 124), done.output
    assert "Operation not permitted" in done.output, done.output


def assert_told(record: Record, rule: str, missing: Sequence[str], operator: str = "alice") -> None:
    """The record names who (also by ancestry), which rule, and which checkpoint is missing."""
    assert record["verdict"] == "denied"
    assert record["rule"] == rule
    assert list(record["missing"]) == list(missing)
    assert record["operator"].startswith(f"{operator}, session ")
    assert record["login"] == operator
    assert record["owner"] and record["reason"]
    lineage = record["ancestry"]
    assert lineage[-1]["pid"] == 1 and lineage[-1]["comm"] == "systemd", lineage
    assert all(step["comm"] for step in lineage)
