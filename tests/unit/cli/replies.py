"""What a daemon says that enforces two rules; docs/control-protocol.md is the description."""

from __future__ import annotations

from typing import Any

from nbspd.audit.finding import Closing, Finding, Holder, Kind, Report

TOTALS = {"hits": 12, "journaled": 7, "coalesced": 3, "lost": 1, "waiting": 1}
NOTHING = {"hits": 0, "journaled": 0, "coalesced": 0, "lost": 0, "waiting": 0}


def status(**differences: Any) -> dict[str, Any]:
    """Return the reply to status, with some fields otherwise."""
    return {
        "protocol": 1, "version": "0.1.0", "pid": 77, "state": "enforcing", "generation": 3, "previous": 2,
        "origin": "rules", "since": 1_795_363_200.0, "started": 1_795_363_100.0, "tier": "lsm", "tried": [],
        "adopted": False, "loaded": "from the cache in 0.7 s",
        "rules_folder": "/etc/nbspd/rules.d", "missing_paths": [],
        "rules": [
            {"id": "db", "resource": "payroll-db", "only_through": ["pooler", "backup"], "mode": "enforce",
             "on_bypass": "deny", "owner": "dba", "reason": "PCI", "state": "enforced", "open_channels": 0,
             "counters": TOTALS},
            {"id": "key", "resource": "host-key", "only_through": [], "mode": "audit", "on_bypass": "deny",
             "owner": "", "reason": "", "state": "audit", "open_channels": 0, "counters": NOTHING}],
        "totals": TOTALS, "unexplained": 0, "pending": None, "detached": None, "troubles": [], "maintained_s": 0.0,
        "journal": {"path": "/var/lib/nbspd/journal.db", "last": 42, "trouble": "", "failures": 0, "notes_waiting": 0,
                    "notes_dropped": 0, "ring_waiting_bytes": 0,
                    "anchor": "nbsp-anchor:42:" + "9f" * 32 + ":" + "ab" * 8,
                    "signed": {"to": 40, "at": 1_795_363_200.0, "key": "ab" * 8}},
        "gaps": [], "bugs": 0,
        "programs": [{"name": "file_open", "hook": "file_open", "attached": True, "reason": ""},
                     {"name": "file_truncate", "hook": "file_truncate", "attached": False, "reason": "no such hook"}],
        **differences}


CHANGE = {"before": 2, "generation": 3, "added": {"rules": ["db"], "checkpoints": ["pooler"], "resources": []},
          "removed": {"rules": ["old"], "checkpoints": [], "resources": []},
          "changed": {"rules": [], "checkpoints": [], "resources": ["payroll-db"]}}

PROCESS = {"pid": 77, "ppid": 1, "start_ticks": 5, "comm": "psql", "exe": "/usr/bin/psql", "uid": 1000, "user": "alice",
           "euid": 1000, "login_uid": 1000, "session": 3, "cgroup": "/user.slice", "unit": "session-3.scope",
           "argv": ["psql", "-h", "evil\u001b[2J"], "stamps": ["bastion"]}
INIT = {**PROCESS, "pid": 1, "ppid": 0, "comm": "systemd", "exe": "", "uid": 0, "user": "root", "login_uid": None,
        "session": None, "unit": "init.scope", "argv": ["/sbin/init"], "stamps": []}
LINEAGE = {"pid": 77, "operator": "alice", "processes": [PROCESS, INIT]}

DENIAL = {"generation": 3, "action": "connect", "object": "tcp 127.0.0.1:5432", "exe": "/usr/bin/psql", "pid": None,
          "stamps": [], "conditions": [], "allowed": False, "is_killed": False,
          "rules": [{"id": "db", "mode": "enforce", "owner": "dba", "reason": "PCI", "only_through": ["pooler"]}],
          "missing": [{"name": "pooler", "exe": "/usr/sbin/pgbouncer", "conditions": ["pooler: only as postgres"]}]}


def coverage_rows(count: int) -> list[dict[str, str]]:
    """Return rows of coverage, every other one open."""
    return [{"rule": "db", "resource": "payroll-db", "family": "H4", "channel": f"channel-{number}",
             "state": "open" if number % 2 else "enforced", "reason": "no hook" if number % 2 else "",
             "words": f"channel number {number}"} for number in range(count)]


HOLDER = Holder(77, 500, 1.5, "psql\x1b[2J", "/usr/bin/psql", 1000, "alice", "/user.slice", "session-3.scope", ())


def audit(*findings: Finding, closings: tuple[Closing, ...] = (), notes: tuple[str, ...] = ()) -> Report:
    """Return an audit that found something."""
    return Report(3, "lsm", list(findings), list(closings), list(notes))


CONNECTION = Finding(Kind.CONNECTION, HOLDER, "tcp 127.0.0.1:4 -> 127.0.0.1:5432, older than the rules", fd=4,
                     access="connect", protocol="tcp", local="127.0.0.1:4", remote="127.0.0.1:5432", resource="db",
                     rules=("db-rule",), only_through=("pooler",), remedy="nbsp audit --close")
DESCRIPTOR = Finding(Kind.DESCRIPTOR, HOLDER, "descriptor 5 on /key", path="/key", fd=5, access="read", resource="key",
                     rules=("key-rule",), remedy="end it when you may: kill 77")
PLACE = Finding(Kind.DESCRIPTOR, HOLDER, "descriptor 6 on /key", harmless=True, remedy="nothing to do")
CLOSED = Closing("tcp", "127.0.0.1:4", "127.0.0.1:5432", (77,), ("db-rule",), True, other_end="ended")
NOT_CLOSED = Closing("tcp", "127.0.0.1:5", "127.0.0.1:5432", (), ("db-rule",), False, "this kernel cannot",
                     "EOPNOTSUPP")
