"""Records for the tests of the journal."""

from typing import Any

from nbspd.journal.record import Ancestor, Record

BOOT_NS = 1_700_000_000_000_000_000     # wall clock at boot


def violation(number: int = 0, **changes: Any) -> Record:
    """Return a complete violation; `number` makes it differ from others."""
    boot_ns = 1_000_000_000 * (number + 1)
    values: dict[str, Any] = dict(
        kind="violation", time_ns=BOOT_NS + boot_ns, boot_ns=boot_ns, rule="db-through-pooler", rule_number=3,
        generation=4, verdict="denied", missing=("pooler",), resource="payroll-db", owner="dba@example.org",
        reason="PCI 8.2: pooled, audited connections only", action="connect", channel="connect",
        object="tcp 127.0.0.1:5432", operator="alice, session 7", uid=1000, user="alice", euid=0, euser="root",
        gid=1000, login_uid=1000, login="alice", session=7, unit="session-7.scope",
        cgroup="/user.slice/user-1000.slice/session-7.scope", pid=4000 + number, tid=4000 + number,
        started_ns=BOOT_NS + 1, start_ticks=99, exe="/usr/bin/psql", comm="psql",
        argv=("psql", "-h", "127.0.0.1"), ancestry=(Ancestor(812, "bash", 1000, "/usr/bin/bash"),
                                                    Ancestor(1, "systemd", 0)), stamps=("bastion",))
    return Record(**{**values, **changes})
