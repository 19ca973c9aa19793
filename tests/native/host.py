"""A small host for the tests: a database on every kind of address, programs to be checkpoints, a daemon over it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from .actor import PYTHON, Actor, Outcome, copy_program
from .daemon import Daemon
from .place import Place

TCP_PORT, UDP_PORT = 5432, 5433
ADDRESSES = ("10.20.30.1/32", "10.21.0.1/32", "fd20::1/128")
PROGRAMS = ("pooler", "bastion", "agent", "other")
TCP_FASTOPEN = 23
# Fast Open at both ends; and packets made by hand arrive from and at addresses of this host
SYSCTLS = (("tcp_fastopen", "3"), ("conf/lo/route_localnet", "1"), ("conf/lo/accept_local", "1"),
           ("conf/lo/rp_filter", "0"), ("conf/all/rp_filter", "0"))
UNIX_LISTENERS = (("stream", "db.sock"), ("dgram", "db.dgram"))
ABSTRACT = "@nbspd-native-db"


class Host:
    """Everything a test needs; `apply` gives it rules, `actor` a process."""

    def __init__(self, place: Place) -> None:
        self.place, self.folder = place, place.folder
        for address in ADDRESSES:
            place.network.run("ip", "address", "add", address, "dev", "lo")
        with place.network.inside():
            for setting, value in SYSCTLS:
                Path("/proc/sys/net/ipv4", setting).write_text(value)
        self.programs = {name: copy_program(self.folder / name) for name in PROGRAMS}
        self.programs["client"] = PYTHON
        self.actors: list[Actor] = []
        self.daemon = Daemon(place)
        self.daemon.settings.rules.mkdir()
        self.write()
        self.daemon.start()
        self.database = self.actor("client")
        self.actors.remove(self.database)
        for address in ("0.0.0.0", "::"):
            family = "inet" if "." in address else "inet6"
            for port in (TCP_PORT, TCP_PORT + 10):
                self.listen(family, "stream", [address, port], options=[6, TCP_FASTOPEN, 16])
                self.listen(family, "dgram", [address, port + 1])
        for kind, name in UNIX_LISTENERS:
            self.listen("unix", kind, str(self.folder / name))
        self.listen("unix", "stream", ABSTRACT)
        self.listen("unix", "dgram", f"{ABSTRACT}-dgram")

    def listen(self, *arguments: Any, **named: Any) -> None:
        """Let the database listen at one more address."""
        outcome = self.database.do("listen", *arguments, **named)
        assert outcome.is_allowed, outcome.error

    # -- rules

    def write(self, checkpoints: Mapping[str, Any] | None = None, resources: Mapping[str, Any] | None = None,
              rules: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write the rule folder; JSON is YAML."""
        text = json.dumps({"version": 1, "checkpoints": checkpoints or {}, "resources": resources or {},
                           "rules": list(rules)}, indent=1)
        (self.daemon.settings.rules / "test.yaml").write_text(text)

    def apply(self, resource: Mapping[str, Any], *, id: str, only_through: Sequence[str] = ("pooler",),
              checkpoints: Mapping[str, Mapping[str, Any]] | None = None, **rule: Any) -> int:
        """Make one rule active and return the generation. Checkpoints without a program run the one of their name."""
        asked: dict[str, Mapping[str, Any]] = {name: {} for name in only_through}
        asked.update(checkpoints or {})
        declared = {name: {"exe": str(self.programs[name]), **extra} for name, extra in asked.items()}
        self.write(declared, {"database": resource},
                   [{"id": id, "protect": "database", "only-through": list(only_through),
                     **{key.replace("_", "-"): value for key, value in rule.items()}}])
        return self.reload()

    def reload(self) -> int:
        """Apply the rule folder and return the generation."""
        return int(self.daemon.ask("reload")["generation"])

    def path(self, name: str) -> str:
        """Return the path of something in the folder."""
        return str(self.folder / name)

    # -- processes

    def actor(self, program: str = "client") -> Actor:
        """Start a process of a program inside the guarded cgroup; it ends with the test."""
        actor = Actor(self.programs[program], self.place.enter_guarded, self.folder)
        self.actors.append(actor)
        return actor

    def close_actors(self) -> None:
        """End the processes of a test."""
        while self.actors:
            self.actors.pop().close()

    # -- what is known

    def status(self) -> dict[str, Any]:
        """Return the status once nothing waits to be read."""
        while True:
            status: dict[str, Any] = self.daemon.ask("status")
            if status["totals"]["waiting"] <= 0:
                return status
            self.daemon.ask("journal", after=status["journal"]["last"], follow=True)

    def counters(self, rule: str) -> dict[str, int]:
        """Return the counters of a rule."""
        found: dict[str, int] = next(row["counters"] for row in self.status()["rules"] if row["id"] == rule)
        return found

    def violations(self, rule: str) -> list[dict[str, Any]]:
        """Return the violations of a rule that the journal has."""
        self.status()
        found: list[dict[str, Any]] = self.daemon.ask("journal", rule=rule)["records"]
        return [record for record in found if record["kind"] == "violation"]

    def last(self, kind: str) -> dict[str, Any]:
        """Return the newest record of a kind."""
        found: list[dict[str, Any]] = self.daemon.ask("journal")["records"]
        return [record for record in found if record["kind"] == kind][-1]

    @property
    def tier(self) -> str:
        """Return the tier of this kernel."""
        return str(self.daemon.ask("status")["tier"])

    @property
    def has_unix(self) -> bool:
        """Return whether this kernel lets anybody look at connections to unix sockets."""
        status = self.daemon.ask("status")
        attached = {program["name"] for program in status["programs"] if program["attached"]}
        return bool(attached & {"cgroup_connect_unix", "unix_stream_connect"})


def assert_balanced(status: Mapping[str, Any]) -> None:
    """Fail unless the kernel's counts are exactly what the journal accounts for, and what waits lies in the ring."""
    assert status["unexplained"] == 0
    for row in (*status["rules"], {"id": "all rules", "counters": status["totals"]}):
        count = Counter(row["counters"])
        assert count["hits"] == count["journaled"] + count["coalesced"] + count["lost"] + count["waiting"], row


def assert_denied(outcomes: Iterable[tuple[object, Outcome]]) -> None:
    """Fail unless every act was refused with EPERM and nothing else."""
    wrong = {what: outcome for what, outcome in outcomes if not outcome.is_denied}
    assert not wrong, f"not denied with EPERM: {wrong}"


def assert_allowed(outcomes: Iterable[tuple[object, Outcome]]) -> None:
    """Fail unless every act worked."""
    wrong = {what: outcome for what, outcome in outcomes if not outcome.is_allowed}
    assert not wrong, f"not allowed: {wrong}"


def program_of(pid: int) -> str:
    """Return what a process runs."""
    return os.readlink(f"/proc/{pid}/exe")
