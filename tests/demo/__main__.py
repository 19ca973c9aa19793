"""python3 -m tests.demo: the way around a checkpoint is closed, the way through it is open, nothing is left.

Ends with 0 when everything was as promised, else with 1 and the sentence that says what was not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from ..native.actor import PYTHON, Actor, Dead, Outcome, copy_program
from ..native.place import Pinned, Place
from ..native.daemon import Daemon, DaemonFailed
from .story import DIM, GREEN, Failed, chapter, expect, line, paint, quote

from nbspd.errors import NbspdError     # the imports above made nbspd importable
from nbspd.kernel import mounts

NAME = "nbspd-demo"
RULES = Path(__file__).with_name("rules.yaml")
COVERAGE_SHOWN = 14

Where = tuple[str, str, Any]     # family, type, address, as acts.py wants them

TCP: Where = ("inet", "stream", ("127.0.0.1", 5432))
UDP: Where = ("inet", "dgram", ("127.0.0.1", 5433))
POOLER_TCP: Where = ("inet", "stream", ("127.0.0.1", 6432))
POOLER_UDP: Where = ("inet", "dgram", ("127.0.0.1", 6433))


def main() -> int:
    """Tell the story; return the exit status."""
    signal.signal(signal.SIGTERM, interrupt)
    began_s = time.monotonic()
    place = Place(NAME)
    try:
        with place:
            pinned = tell(place)
            inode = os.fstat(place.network.fd).st_ino
        check_nothing_left(place, pinned, inode)
    except KeyboardInterrupt:
        print("demo: interrupted; everything it made is removed", file=sys.stderr)
        return 1
    except (Failed, DaemonFailed, Dead, NbspdError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(f"\n{paint('Everything was as promised', GREEN)}, in {time.monotonic() - began_s:.0f} s.")
    return 0


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as by Ctrl-C, so that everything is removed."""
    raise KeyboardInterrupt


def tell(place: Place) -> Pinned:
    """Show everything that happens while the daemon runs; return what it had in the kernel."""
    folder = place.folder
    actors: list[Actor] = []
    db_sock: Where = ("unix", "stream", f"{folder}/db.sock")
    pooler_sock: Where = ("unix", "stream", f"{folder}/pooler.sock")
    pooler_program = copy_program(folder / "pooler")
    (folder / "rules.d").mkdir()
    rules = RULES.read_text().replace("FOLDER", str(folder))
    (folder / "rules.d/payroll.yaml").write_text(rules)

    chapter("The rules: the database may be reached only through its pooler")
    quote("cat rules.d/payroll.yaml", rules.splitlines()[3:])
    daemon = Daemon(place)
    daemon.start()
    status = daemon.nbsp_json("status")
    programs = {program["name"]: program["attached"] for program in status["programs"]}
    line(f"nbspd on Linux {os.uname().release}, tier {status['tier']}, generation {status['generation']}",
         f"{sum(programs.values())} of {len(programs)} programs attached", GREEN)
    for reason in status["tried"]:
        print(paint(f"  not in tier {reason}", DIM))
    pinned = Pinned(place.pins)

    def actor(program: Path) -> Actor:
        actors.append(Actor(program, place.enter_guarded, folder))
        return actors[-1]

    database, pooler, client = actor(PYTHON), actor(pooler_program), actor(PYTHON)
    for where in (TCP, UDP, db_sock):
        worked(database.do("listen", *where))
    for where, behind in ((POOLER_TCP, TCP), (POOLER_UDP, UDP), (pooler_sock, db_sock)):
        worked(pooler.do("listen", *where, forward=behind))
    has_unix = status["tier"] != "socket" or programs.get("cgroup_connect_unix", False)

    chapter("Around the checkpoint: a client goes straight to the database")
    denied("TCP 127.0.0.1:5432", client.do("ask", *TCP))
    denied("UDP 127.0.0.1:5433", client.do("ask", *UDP))
    if has_unix:
        denied("unix db.sock", client.do("ask", *db_sock))
    else:
        expect("unix db.sock", client.do("ask", *db_sock).is_allowed, "open, as every kernel before 6.7 has it", "open")
    chapter("Through the checkpoint: the same client asks the pooler")
    allowed("TCP 127.0.0.1:6432", client.do("ask", *POOLER_TCP))
    allowed("UDP 127.0.0.1:6433", client.do("ask", *POOLER_UDP))
    allowed("unix pooler.sock", client.do("ask", *pooler_sock))

    chapter("What is known of it")
    records = [record for record in daemon.nbsp_json("journal")["records"] if record["kind"] == "violation"]
    wanted = {"tcp 127.0.0.1:5432", "udp 127.0.0.1:5433"} | ({f"unix {folder}/db.sock"} if has_unix else set())
    quote("nbsp journal", daemon.nbsp("journal").stdout.splitlines())
    objects = {record["object"] for record in records}
    expect("each denial is in the journal, once", len(records) == len(wanted) and len(objects) == len(wanted),
           f"{len(records)} violations: {', '.join(sorted(objects))}", f"{len(wanted)}")
    expect("each names rule, missing checkpoint and program", all(
        record["rule"] == "db-through-pooler" and record["missing"] == ["pooler"] and record["pid"] == client.pid
        and record["exe"] == os.path.realpath(PYTHON) for record in records), "yes", "complete")
    seq = str(records[0]["seq"])
    quote(f"nbsp explain {seq}", daemon.nbsp("explain", seq).stdout.splitlines())
    shown = daemon.nbsp("coverage", "--rule", "db-through-pooler").stdout.splitlines()
    quote("nbsp coverage --rule db-through-pooler", [
        *shown[:COVERAGE_SHOWN], *([paint(f"({len(shown) - COVERAGE_SHOWN - 2} more)", DIM)]
                                   if len(shown) > COVERAGE_SHOWN + 2 else []), *shown[-2:]])
    print(paint("  Open to whoever is outside that cgroup: the demo judges its own processes, nbspd the host.\n", DIM))
    verified = daemon.nbsp("journal", "verify").returncode == 0
    expect("the chain of hashes of the journal", verified, "whole" if verified else "broken", "whole")
    totals = daemon.nbsp_json("status")["totals"]
    expect("the kernel's count = journaled + coalesced + lost", totals["hits"] == len(wanted) == totals["journaled"],
           f"{totals['hits']} = {totals['journaled']} + {totals['coalesced']} + {totals['lost']}", f"{len(wanted)}")

    chapter("The end")
    done = daemon.nbsp("detach", "--reason", "the demo is over")
    quote('nbsp detach --reason "the demo is over"', done.stdout.splitlines())
    expect("the direct way is open again", client.do("ask", *TCP).is_allowed, "allowed", "allowed")
    expect("the daemon ends when told", daemon.stop() == 0, "exit status 0", "exit status 0")
    expect("the detached daemon left no pins", not place.pins.exists(), "none", "none")
    for one in actors:
        one.close()
    return pinned


def worked(outcome: Outcome) -> Any:
    """Return the value of an act that had to work. Raises Failed."""
    if not outcome.is_allowed:
        raise Failed(f"the stage could not be set: {outcome.error}")
    return outcome.value


def denied(what: str, outcome: Outcome) -> None:
    """Say that something was denied. Raises Failed unless it was, with EPERM."""
    expect(what, outcome.is_denied, outcome.error if outcome.errno != 0 else f"allowed: {outcome.value}",
           "[Errno 1] Operation not permitted")


def allowed(what: str, outcome: Outcome) -> None:
    """Say that something was allowed. Raises Failed unless the database answered."""
    is_so = outcome.is_allowed and outcome.value == "rows: SELECT 1"
    expect(what, is_so, f"allowed: {outcome.value}" if is_so else outcome.error or str(outcome.value),
           "an answer of the database")


def check_nothing_left(place: Place, pinned: Pinned, namespace: int) -> None:
    """Look for everything that was made. Raises Failed when something is still there."""
    inside = [name for name in os.listdir("/proc") if name.isdigit() and namespace_of(name) == namespace]
    left = pinned.left()
    mounted = [mount.point for mount in mounts.mounts() if NAME in mount.point]
    what = f"{len(pinned.links)} links, {len(pinned.programs)} programs, {len(pinned.maps)} tables of before"
    expect(what, not left, ", ".join(left) or "gone", "gone")
    expect(f"{place.pins}, {place.root}", not place.pins.exists() and not place.root.exists(), "gone", "gone")
    expect("processes, network namespace, folder", not inside and not place.folder.exists() and not mounted,
           ", ".join([f"pid {pid} is there" for pid in inside] + mounted) or "gone", "gone")


def namespace_of(pid: str) -> int | None:
    """Return the network namespace of a process, None when it is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main())
