"""rules/10: PostgreSQL is reached only through pgbouncer, by TCP and by unix socket."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .example import Applied, as_alice, assert_refused, assert_told, perform

RULE = "postgresql-through-pgbouncer"
PSQL = "PGCONNECT_TIMEOUT=20 /usr/lib/postgresql/15/bin/psql -At -c 'SELECT 1' -d"
THROUGH_TCP = f"{PSQL} 'host=127.0.0.1 port=6432 user=app dbname=by_tcp'"
THROUGH_UNIX = f"{PSQL} 'host=127.0.0.1 port=6432 user=app dbname=by_unix'"
DIRECT_TCP = f"{PSQL} 'host=127.0.0.1 port=5432 user=app dbname=postgres'"
DIRECT_UNIX = f"{PSQL} 'host=/run/postgresql port=5432 user=app dbname=postgres'"
SOCKET = "/run/postgresql/.s.PGSQL.5432"
HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
POOLER = """[databases]
by_tcp = host=127.0.0.1 port=5432 dbname=postgres
by_unix = host=/run/postgresql port=5432 dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = /etc/pgbouncer/userlist.txt
logfile = /var/log/postgresql/{name}.log
pidfile = /run/postgresql/{name}.pid
query_wait_timeout = 5
"""


@pytest.fixture(scope="module")
def applied(guest: Guest) -> Iterator[Applied]:
    """Database and pooler run before the rules come, as on a host where nbspd is new."""
    guest.put("/etc/postgresql/15/main/pg_hba.conf", HBA)
    guest.put("/etc/pgbouncer/pgbouncer.ini", POOLER.format(port=6432, name="pgbouncer"))
    guest.put("/etc/pgbouncer/userlist.txt", '"app" ""\n')
    guest.run("systemctl restart postgresql@15-main", 240, check=True)
    guest.run("cd / && runuser -u postgres -- /usr/lib/postgresql/15/bin/psql -c 'CREATE ROLE app LOGIN'", 60)
    guest.run("systemctl restart pgbouncer", 120, check=True)
    direct = guest.run(DIRECT_TCP, 60)
    assert (direct.status, direct.output) == (0, "1\n"), "without rules the direct way works"
    try:
        with Applied.shipped(guest, "10-postgresql-through-pgbouncer.yaml") as applied:
            yield applied
    finally:
        guest.run("systemctl stop pgbouncer postgresql@15-main", 120)


def test_pooler_that_ran_already_reaches_the_database(guest: Guest, applied: Applied) -> None:
    for command in (THROUGH_TCP, THROUGH_UNIX):
        done = guest.run(command, 60)
        assert (done.status, done.output) == (0, "1\n")


def test_psql_around_the_pooler_is_refused_and_told(guest: Guest, applied: Applied) -> None:
    for command, thing in ((DIRECT_TCP, "tcp 127.0.0.1:5432"), (DIRECT_UNIX, f"unix {SOCKET}")):
        assert_refused(guest.run(as_alice(command), 60))
        record = applied.violations(RULE, object=thing, comm="psql")[-1]
        assert_told(record, RULE, ["pgbouncer"])
        assert record["action"] == "connect"
        assert record["exe"] in ("/usr/lib/postgresql/15/bin/psql", "psql")


def test_every_name_of_the_database_is_closed(guest: Guest, applied: Applied) -> None:
    acts = [["connect", host, 5432] for host in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "10.0.2.15", "::1", "::",
                                                 "::ffff:127.0.0.1")]
    acts += [["fast-open", "127.0.0.1", 5432], ["unix", SOCKET]]
    if guest.tier != "socket":      # there an alias of the declared path is not seen, and coverage says so
        acts += [["unix", "/var/run/postgresql/.s.PGSQL.5432"], ["unix", f"/proc/self/root{SOCKET}"]]
    assert dict(zip(map(str, acts), perform(guest, acts))) == {str(act): "EPERM" for act in acts}


def test_pooler_started_by_somebody_else_does_not_count(guest: Guest, applied: Applied) -> None:
    guest.put("/run/own.ini", POOLER.format(port=6433, name="own"))
    guest.run("cd / && runuser -u postgres -- /usr/sbin/pgbouncer -d /run/own.ini", 60, check=True)
    try:
        assert guest.run(THROUGH_TCP.replace("6432", "6433"), 60).status not in (0, 124)
        assert applied.violations(RULE, object="tcp 127.0.0.1:5432", comm="pgbouncer")
    finally:
        guest.run("pkill -F /run/postgresql/own.pid", 30)


def test_restarted_pooler_and_database_work(guest: Guest, applied: Applied) -> None:
    guest.run("systemctl restart postgresql@15-main pgbouncer", 240, check=True)
    for command in (THROUGH_TCP, THROUGH_UNIX):
        done = guest.run(command, 60)
        assert (done.status, done.output) == (0, "1\n")
    for command in (DIRECT_TCP, DIRECT_UNIX):       # the socket is another file now, with the same name
        assert_refused(guest.run(command, 60))


def test_closing_a_connection_that_came_through_is_no_violation(guest: Guest, applied: Applied) -> None:
    """The last ACK is the kernel's own packet, sent for a socket that is gone already."""
    guest.run("systemctl restart pgbouncer", 120, check=True)
    assert guest.run(THROUGH_TCP, 60).output == "1\n"
    guest.run("systemctl stop pgbouncer", 120, check=True)
    assert applied.count(RULE, channel="packet") == applied.count(RULE, channel="interface") == 0


def test_coverage_calls_the_plain_ways_enforced(guest: Guest, applied: Applied) -> None:
    assert applied.state(RULE).startswith("enforced")
    assert {applied.coverage(RULE)[channel] for channel in ("connect", "older-connection")} == {"enforced"}
