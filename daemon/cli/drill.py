"""nbsp drill: every bypass of the catalogue, attempted on this host against throw-away resources."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Iterator, Sequence

import click

from ..drill.attempt import Attempt
from ..drill.catalogue import ATTEMPTS, chosen
from ..drill.ground import Ground
from ..drill.claims import Claim, claims_of, weighed_all
from ..drill.outcome import Result
from ..drill.stage import REASON, Monitor
from ..errors import EXIT_OK, EXIT_TOLD, ControlError, HostError, NbspdError, UsageError
from ..paths import PINS
from ..rules.itself import KERNEL, RULE
from .coverage import fetch
from .table import clean, table
from .verb import Answer, verb

LAB_GUEST = Path("/run/nbspd-lab-guest")
RELOAD_TIMEOUT_S = 660.0
RULE_FILE = "99-drill-"
GUARDING = (RULE, KERNEL)
MAINTAIN_S = 3600.0
RELOADS = 3             # during one attempt


@verb("drill", "sudo nbsp drill --family H4", options=[
    click.Option(["--family", "families"], multiple=True, metavar="ID", help="Only this family: H1 to H14."),
    click.Option(["--only", "names"], multiple=True, metavar="TEXT", help="Only attempts with this in their id."),
    click.Option(["--without", "is_without"], is_flag=True, help="No rules: shows that the attempts work."),
    click.Option(["--list", "is_list"], is_flag=True, help="Name the attempts and try none."),
    click.Option(["--absent", "shows_absent"], is_flag=True,
                 help="Show what this kernel does not have, and the proof."),
    click.Option(["--i-am-a-throw-away-machine", "is_lab"], is_flag=True,
                 help="Also what does harm when it gets through: kills the daemon, unpins, writes kernel knobs.")])
def drill(socket: Path, families: tuple[str, ...], names: tuple[str, ...], is_without: bool, is_list: bool,
          shows_absent: bool, is_lab: bool) -> Answer:
    """Attempt the bypasses of the catalogue under the live kernel and rules, and say what got through.

    The drill makes files, programs, sockets and ports of its own below /run, protects them by a rule file of its own
    (99-drill-…), tries to get around that as an ordinary user and as root, and removes everything. Rules that are
    active stay active. What gets through where nbsp coverage says that this host is open is shown apart. The exit
    code is 1 when anything got through, known or not, or a legitimate access was denied.
    """
    attempts = chosen(families, names)
    if is_list:
        return listing(attempts)
    if os.geteuid() != 0:
        raise HostError("a drill needs root: it tries what root may try, too", "sudo nbsp drill")
    signal.signal(signal.SIGTERM, interrupt)        # so that everything is removed then, too
    report = carry_out(attempts, socket, is_without, is_lab or LAB_GUEST.exists(), not (families or names))
    outcomes = report.outcomes
    lines = [table(("id", "attempts", *outcomes), report.rows(), right=range(1, 2 + len(outcomes))), ""]
    lines += [clean(line) for line in (*report.findings(), *(report.absences() if shows_absent else ()))]
    controls = len(report.results) - len(report.attempts)
    where = f"tier {report.tier}, generation {report.generation}" if report.has_rules else "without rules"
    counted = ", ".join(f"{count} {outcome}" for outcome, count in report.counts().items())
    if controls:
        counted += f"; {controls - len(report.failed_controls)} of {controls} legitimate accesses succeeded"
    lines.append(f"{len(report.attempts)} attempts, {where}: {counted}; {report.seconds:.0f} s")
    lines += [report.verdict()] if report.verdict() else []
    return Answer(report.to_json(), "\n".join(lines), EXIT_OK if report.is_good else EXIT_TOLD)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as by Ctrl-C."""
    raise KeyboardInterrupt


def listing(attempts: Sequence[Attempt]) -> Answer:
    """Return the catalogue."""
    rows = [(attempt.channel, attempt.id, ", ".join(attempt.covers), attempt.who,
             "lab" if attempt.lab_only else "", attempt.title) for attempt in attempts]
    data = {"total": len(ATTEMPTS), "attempts": [asdict(attempt) for attempt in attempts]}
    shown = table(("family", "id", "channels", "as", "where", "what"), rows)
    return Answer(data, f"{shown}\n\n{len(attempts)} attempts")


def carry_out(attempts: Sequence[Attempt], socket: Path, is_without: bool, is_lab: bool, has_controls: bool) -> Any:
    """Run them and return the report. Raises NbspdError when the daemon cannot take the drill's rules."""
    from ..drill.controls import CONTROLS
    from ..drill.report import CONTROL, Report
    from ..drill.run import Drill, Guard, NoRules, expand
    began_s = time.monotonic()
    live = None if is_without else LiveGuard(socket)
    ground = Ground()
    guard: Guard = live or NoRules(ground)
    with ground, unguarded(socket) if live is None else nullcontext():
        monitor = ground.stand_in() if live is None else live.monitor()
        ground.words |= monitor.words()
        results = Drill(ground, guard).run(expand(attempts, is_lab), CONTROLS if has_controls else (), progress)
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    judged = weighed_all(results, live.claims, CONTROL) if live is not None else tuple(results)
    return Report(judged, live is not None, live.tier if live else "", live.generation if live else None,
                  tuple(ground.leftovers()), time.monotonic() - began_s)


@contextmanager
def unguarded(socket: Path) -> Iterator[None]:
    """Have a running daemon not guard itself: without rules, tables of whoever it be are to be had by their numbers."""
    from ..control.client import ask
    try:
        is_guarded = any(rule["id"] == RULE for rule in ask("status", socket)["rules"])
    except NbspdError:
        is_guarded = False      # no daemon
    if not is_guarded:
        yield
        return
    ask("maintain", socket, for_s=MAINTAIN_S, reason="nbsp drill --without")
    try:
        yield
    finally:
        ask("maintain", socket, for_s=0.0)


def progress(done: int, total: int, result: Result) -> None:
    """Show on a terminal how far it is."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{done}/{total}  {result.attempt.id}"[:100])
        sys.stderr.flush()


class LiveGuard:
    """Puts the drill's rules into the running daemon as one more file of its rule folder, and takes them out again."""

    has_rules = True

    def __init__(self, socket: Path) -> None:
        """Look whether the daemon can take them. Raises ControlError, RulesError."""
        from ..control.client import ask
        self.socket = socket
        status = ask("status", socket)
        if status.get("pending"):
            raise ControlError("a generation waits to be confirmed, and a reload would confirm or lose it",
                               "nbsp confirm, or nbsp rollback; then nbsp drill")
        if status["state"] == "detached":
            raise ControlError("nbspd is detached: nothing is enforced", "nbsp reload; or: nbsp drill --without")
        self.status = status
        self.folder = Path(status["rules_folder"])
        self.tier = str(status["tier"])
        self.generation: int | None = None
        self.claims: dict[str, Claim] = {}
        self.file: Path | None = None
        self.text, self.turn = "", 0
        self.refuse_changes()

    def refuse_changes(self) -> None:
        """Raise unless the folder can be applied as it is, and holds no rules of a drill that was killed."""
        from ..rules.compile import compile_rules
        from ..rules.load import load_directory, parse_sources
        from ..rules.reserved import NUMBERS
        for path in self.folder.glob(f"{RULE_FILE}*.yaml"):
            raise UsageError(f"{path} is of a drill that was killed, or runs now",
                             f"when none runs: rm {path} && nbsp reload")
        plan = compile_rules(parse_sources(load_directory(self.folder)))
        found = {(rule.id, rule.protect, rule.mode) for rule in plan.rules if rule.id not in GUARDING}
        if found != {(rule["id"], rule["resource"], rule["mode"]) for rule in self.status["rules"]
                     if rule["id"] not in GUARDING and rule["id"] not in NUMBERS}:  # left out where they cannot hold
            raise ControlError(f"the rules in {self.folder} are not the active ones, and a drill would apply them",
                               "nbsp reload; then nbsp drill")

    def apply(self, text: str) -> None:
        """Write the file, reload, and ask what is open then. Raises what the daemon says; remove() tidies up."""
        handle, name = tempfile.mkstemp(prefix=RULE_FILE, suffix=".yaml", dir=self.folder)
        self.file, self.text = Path(name), text
        with os.fdopen(handle, "w") as file:
            file.write(text)
        self.generation = self.reload()
        rules = [str(rule["id"]) for rule in json.loads(text)["rules"]]
        self.claims = claims_of(row for rule in rules for row in fetch(self.socket, rule)["rows"])

    def remove(self) -> None:
        """Remove the file and reload."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)
            self.file = None
            self.reload()

    def reload(self) -> int:
        """Reload and return the generation."""
        from ..control.client import ask
        return int(ask("reload", self.socket, wait_s=30.0, timeout_s=RELOAD_TIMEOUT_S)["generation"])

    def disturb(self, how: str) -> None:
        """Reload twice, or (in the lab) kill the daemon or have it restarted."""
        if how == "reload":
            for _ in range(RELOADS):
                self.turn += 1
                assert self.file is not None
                self.file.write_text(self.text.replace(REASON, f"{REASON}, turn {self.turn}"))   # else nothing changes
                self.reload()
        elif how == "kill":
            if os.system("systemctl kill -s KILL nbspd") != 0:      # nobody but systemd may
                raise ControlError("nbspd could not be killed", "systemctl status nbspd")
            self.monitor_pid()      # waits until it is back
        elif os.system("systemctl restart nbspd") != 0:
            raise ControlError("nbspd could not be restarted", "systemctl status nbspd")

    def monitor_pid(self) -> int:
        """Return the daemon's process, waiting for one that is being restarted."""
        from ..control.client import ask
        return int(ask("status", self.socket, wait_s=60.0)["pid"])

    def monitor(self) -> Monitor:
        """Return the daemon as a target."""
        from ..kernel.mounts import cgroup2_root
        from ..kernel.process import process_facts
        pid = int(self.status["pid"])
        facts = process_facts(pid)
        group = cgroup2_root() / (facts.cgroup.lstrip("/") if facts is not None else "nowhere")
        journal = Path(self.status["journal"]["path"])
        pins = PINS
        rule = next(iter(sorted(self.folder.glob("*.yaml"))), self.folder / "none.yaml")
        unit = Path("/usr/lib/systemd/system/nbspd.service")
        return Monitor(pid, pins, pins.parent, self.folder, rule, journal, journal.parent,
                       Path(__file__).resolve().parents[1] / "service.py", unit, group)
