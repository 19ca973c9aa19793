"""What the daemon answers to each verb of the control protocol; docs/control-protocol.md is the description."""

from __future__ import annotations

import json
import os
import time
from itertools import islice
from typing import Any, Callable

from . import __version__
from .activation import Activation
from .audited import closing, knowledge
from .balance import account_json, totals, unexplained
from .changes import Change
from .control.peer import Peer
from .control.protocol import PROTOCOL, Reply, Request, WithDescriptor
from .control.timer import boot_time_s
from .coverage import Coverage, absent_channels, whys
from .errors import ControlError, JournalError, UsageError
from .events.describe import unit_of
from .events.host import Host
from .what_if import explain_access
from .journal.reader import Account
from .journal.record import Record
from .kernel.mounts import cgroup2_root
from .kernel.preemption import is_preempted
from .kernel.process import UNSET_ID, ProcessFacts, ancestors, process_facts
from .paths import Settings
from .programs.catalogue import HOOKS, SKIPPED, UNGUARDED, UNTOLD
from .recorder import Recorder
from .rules import itself

ROWS_MAX = 50_000
RECORDS_MAX = 10_000
RECORDS_BYTES = 8 << 20
GAPS_SHOWN = 5
REASON_MAX = 1000

Act = Callable[[Callable[[], Any]], Any]


class Answers:
    """One method a verb."""

    def __init__(self, settings: Settings, activation: Activation, recorder: Recorder, change: Act) -> None:
        """`change` runs what alters the active generation."""
        self.settings = settings
        self.activation = activation
        self.recorder = recorder
        self.change = change
        self.host = Host()
        self.started_s = time.time()
        self.bugs = 0
        self.covered: tuple[object, Coverage] | None = None

    def answer(self, peer: Peer, request: Request) -> Reply | None:
        """Return the reply to a request from somebody who may ask it; None: later. Raises NbspdError."""
        answer: Callable[[Peer, Request], Reply | None] = getattr(self, f"on_{request.verb}")
        reply = answer(peer, request)
        if isinstance(reply, WithDescriptor):
            return WithDescriptor({"ok": True, **reply}, reply.descriptor)
        return None if reply is None else {"ok": True, **reply}

    # -- looking

    def on_ping(self, _peer: Peer, _request: Request) -> Reply:
        """The daemon is there."""
        return {"protocol": PROTOCOL, "version": __version__, "pid": os.getpid(),
                "generation": self.activation.number}

    def on_status(self, _peer: Peer, _request: Request) -> Reply:
        """Everything about the generation, its rules and their accounts."""
        activation, recorder = self.activation, self.recorder
        active, enforcer = activation.active, activation.enforcer
        counters = enforcer.counters() if enforcer is not None else {}
        accounts = self.accounts()
        coverage = self.coverage()
        rules = []
        for rule in active.plan.rules if active is not None else ():
            number = active.numbers[rule.id] if active is not None else 0
            state, count = coverage.state(rule) if coverage is not None else ("unknown", 0)
            rules.append({"id": rule.id, "resource": rule.protect, "only_through": list(rule.only_through),
                          "mode": rule.mode, "on_bypass": rule.on_bypass, "owner": rule.owner, "reason": rule.reason,
                          "state": state, "open_channels": count,
                          "counters": account_json(counters.get(number), accounts.get(number))})
        for number, own in active.bound.implicit_rules.items() if active is not None else ():
            rules.append({"id": own.id, "resource": own.protect, "only_through": list(own.only_through),
                          "mode": "enforce", "on_bypass": "deny", "owner": own.owner, "reason": own.reason,
                          "state": "nbspd's own", "open_channels": 0,
                          "counters": account_json(counters.get(number), accounts.get(number))})
        pending = activation.generations.now.pending
        return {
            "protocol": PROTOCOL, "version": __version__, "pid": os.getpid(), "state": self.state(),
            "generation": activation.number, "previous": activation.generations.now.previous,
            "origin": active.origin if active is not None else "", "since": active.since_s if active else 0.0,
            "started": self.started_s, "tier": enforcer.report.tier if enforcer is not None else "",
            "adopted": active is not None and active.is_adopted,
            "loaded": enforcer.report.words if enforcer is not None else "",
            "tried": list(enforcer.report.tried) if enforcer is not None else [],
            "rules_folder": str(self.settings.rules), "rules": rules,
            "missing_paths": list(active.bound.missing) if active is not None else [],
            "totals": totals(counters, accounts), "unexplained": self.unexplained(),
            "pending": None if pending is None else {
                "generation": pending.generation, "by": pending.by,
                "remaining_s": round(max(0.0, pending.remaining_s(boot_time_s())), 1)},
            "detached": None if activation.detached is None else {
                "by": activation.detached.by, "reason": activation.detached.reason, "at": activation.detached.at_s},
            "troubles": self.troubles(),
            "maintained_s": round(enforcer.maintained_s(), 1) if enforcer is not None else 0.0,
            "journal": {"path": str(self.settings.journal), "last": self.last_seq(), "trouble": recorder.trouble,
                        "failures": recorder.failures, "notes_waiting": len(recorder.notes),
                        "notes_dropped": recorder.notes_dropped, **self.proofs(),
                        "ring_waiting_bytes": enforcer.ring.pending_bytes() if enforcer is not None else 0},
            "gaps": self.gaps(), "bugs": self.bugs,
            "programs": [{"name": program.name, "hook": program.hook, "attached": program.attached,
                          "reason": program.reason} for program in enforcer.report.programs] if enforcer else [],
        }

    def on_coverage(self, _peer: Peer, request: Request) -> Reply:
        """Channels and resources."""
        coverage, rule = self.coverage(), request.text("rule")
        if coverage is None or self.activation.active is None:
            raise ControlError("no generation is active, so nothing is covered", "see: nbsp status")
        if rule is not None and rule not in {each.id for each in self.activation.active.plan.rules}:
            raise ControlError(f"there is no rule {rule!r} in generation {self.activation.number}",
                               "list those there are with: nbsp status")
        offset, limit = max(0, request.number("offset") or 0), request.number("limit")
        end = offset + (ROWS_MAX if limit is None else max(1, min(limit, ROWS_MAX)))
        rows = [row.to_json() for row in islice(coverage.rows(rule), offset, end)]
        return {"generation": self.activation.number, "tier": coverage.tier, "rows": rows, "offset": offset,
                "total": coverage.count(rule), "why": whys(row["channel"] for row in rows)}

    def on_journal(self, _peer: Peer, request: Request) -> Reply | None:
        """Some records; with `follow` not before there are any."""
        journal = self.recorder.journal
        if journal is None:
            raise JournalError(f"the journal cannot be opened: {self.recorder.trouble}", "see: nbsp status")
        since, limit = request.seconds("since"), request.number("limit")
        records = journal.query(since_ns=None if since is None else int(since * 1e9), rule=request.text("rule"),
                                after_seq=request.number("after"),
                                limit=max(1, min(limit or RECORDS_MAX, RECORDS_MAX)))
        after = request.number("after") or 0
        if request.flag("follow") and not records:
            return None
        kept, is_cut = within_bytes(records, from_start=request.number("after") is not None)
        return {"records": [record_json(record) for record in kept], "is_cut": is_cut,
                "last": kept[-1].seq if kept else max(after, journal.last_seq())}

    def on_explain(self, _peer: Peer, request: Request) -> Reply:
        """Why something was denied, or whether something would be."""
        seq = request.number("seq")
        if seq is not None:
            if self.recorder.journal is None:
                raise JournalError(f"the journal cannot be opened: {self.recorder.trouble}", "see: nbsp status")
            record = self.recorder.journal.get(seq)
            return {"record": record_json(record), "story": record.story()}
        active, enforcer = self.activation.active, self.activation.enforcer
        if active is None or enforcer is None:
            raise ControlError("no generation is active, so everything is allowed", "see: nbsp status")
        pid = request.number("pid")
        if pid is not None and process_facts(pid) is None:
            raise UsageError(f"there is no process {pid}", "see: ps")
        stamps = frozenset(enforcer.stamps_of(pid)) if pid is not None else None
        return {"generation": active.number, **explain_access(active.plan, request.fields, stamps)}

    def on_lineage(self, _peer: Peer, request: Request) -> Reply:
        """A process's ancestry, operator and stamps."""
        pid = request.number("pid") or 0
        facts = process_facts(pid) if pid > 0 else None
        if facts is None:
            raise UsageError(f"there is no process {pid}", "see: ps")
        chain = [facts, *(each for each in ancestors(pid, 64) if each.pid != pid)]
        return {"pid": pid, "operator": self.operator(facts), "processes": [self.process_json(each) for each in chain]}

    def on_audit(self, peer: Peer, request: Request) -> Reply:
        """What an audit needs to know; it does its looking itself."""
        return knowledge(self.settings, self.activation, peer, request)

    # -- changing

    def on_reload(self, peer: Peer, request: Request) -> Reply:
        """Apply the rule folder."""
        return change_json(self.change(lambda: self.activation.reload(peer, request.seconds("confirm_within_s"))))

    def on_confirm(self, peer: Peer, _request: Request) -> Reply:
        """Keep the active generation."""
        return {"generation": self.change(lambda: self.activation.confirm(peer))}

    def on_rollback(self, peer: Peer, _request: Request) -> Reply:
        """Go back to the generation before."""
        return change_json(self.change(lambda: self.activation.rollback(peer)))

    def on_detach(self, peer: Peer, request: Request) -> Reply:
        """End enforcement."""
        reason = wanted_reason(request)
        number = self.change(lambda: self.activation.detach(peer, reason))
        return {"generation": number, "by": peer.words(), "reason": reason}

    def on_close(self, peer: Peer, request: Request) -> Reply:
        """Take down that an audit closes a connection; it does so only after this."""
        self.recorder.note(closing(self.activation, peer, request))
        self.recorder.write()
        if self.recorder.trouble or self.recorder.notes:
            raise JournalError("the journal cannot be written, and nothing is closed without it", "see: nbsp status")
        return {"generation": self.activation.number}

    def on_maintain(self, peer: Peer, request: Request) -> Reply:
        """Let nbspd itself be changed for a while, or end that."""
        seconds, reason = request.seconds("for_s") or 0.0, wanted_reason(request) if request.seconds("for_s") else ""
        self.activation.maintain(peer, seconds, reason)
        self.recorder.write()
        return {"for_s": seconds, "reason": reason}

    # -- parts

    def coverage(self) -> Coverage | None:
        """Return the coverage of the active generation, made once for each."""
        active, enforcer = self.activation.active, self.activation.enforcer
        if active is None or enforcer is None:
            return None
        partial, absent = self.partial_hooks(), absent_channels()
        missing = active.bound.missing
        state = (active.number, enforcer.report.digest, partial, absent, missing)
        if self.covered is None or self.covered[0] != state:
            report = enforcer.report
            self.covered = (state, Coverage(report.tier, report.programs, active.plan, absent, partial, missing))
        return self.covered[1]

    def partial_hooks(self) -> dict[str, str]:
        """Return the hooks that do not see everything, each with the reason."""
        partial: dict[str, str] = {}
        cgroup, enforcer = self.settings.cgroup, self.activation.enforcer
        if cgroup is not None and cgroup.resolve() != cgroup2_root().resolve():
            reason = f"only processes in the cgroup {cgroup} are judged"
            partial |= {hook.name: reason for hook in HOOKS if hook.kind == "cgroup"}
        active = self.activation.active
        there = {rule.id for rule in active.plan.rules} if active is not None else set()
        for rule, (hooks, reason) in UNGUARDED.items():
            if rule not in there:
                partial |= dict.fromkeys(hooks, reason)
        skipped = self.skipped()
        if skipped:
            partial |= {hook.name: skipped for hook in HOOKS if hook.security_function}
        refused = enforcer.refused_interfaces if enforcer is not None else {}
        if refused:
            index, reason = next(iter(refused.items()))
            partial["interface_egress"] = f"{len(refused)} interfaces refuse the program; interface {index}: {reason}"
        return partial

    def skipped(self) -> str:
        """Return why programs with trampolines can be got around on this kernel, empty where they cannot."""
        enforcer = self.activation.enforcer
        if enforcer is None or enforcer.report.tier != "fmod_ret":
            return ""
        return {None: UNTOLD, True: SKIPPED, False: ""}[is_preempted()]

    def state(self) -> str:
        """Return the daemon's state in a word: enforcing, degraded, idle (no rules) or detached."""
        active = self.activation.active
        if self.activation.detached is not None:
            return "detached"
        if self.troubles() or active is None:
            return "degraded"
        return "enforcing" if any(rule.id != itself.RULE for rule in active.plan.rules) else "idle"

    def troubles(self) -> list[str]:
        """Return everything that is not as it should be, in words."""
        journal, feed = self.recorder.trouble, self.recorder.feed
        behind = [delivery.trouble for delivery in feed.deliveries if delivery.trouble] if feed is not None else []
        enforcer, active = self.activation.enforcer, self.activation.active
        lost = [f"the image {file} of a loop device below protected files has no name any more: it is not protected"
                for file in (active.bound.lost_disks if active is not None else ())]
        skipped = self.skipped()
        unsigned = self.recorder.signing.trouble
        return [*self.activation.trouble.values(), *(words for words in (skipped, unsigned) if words), *behind, *lost,
                *(enforcer.left_behind if enforcer is not None else ()),
                *([f"{journal}; records wait in the kernel"] if journal else [])]

    def status_line(self) -> str:
        """Return the state in a line for `systemctl status`."""
        active, enforcer = self.activation.active, self.activation.enforcer
        if active is None or enforcer is None:
            return f"{self.state()}: nothing is enforced by this daemon" if enforcer is None else self.state()
        trouble = "".join(f"; {text}" for text in self.troubles())
        return (f"{self.state()}: generation {active.number}, {len(active.plan.rules)} rules, "
                f"tier {enforcer.report.tier}{trouble}")

    def accounts(self) -> dict[int, Account]:
        """Return the journal's accounts, empty when it cannot be read."""
        try:
            return self.recorder.journal.accounting() if self.recorder.journal is not None else {}
        except JournalError:
            return {}

    def unexplained(self) -> int:
        """Return of how many hits nobody knows what became; 0 while what came before is not accounted for yet."""
        enforcer, journal = self.activation.enforcer, self.recorder.journal
        if enforcer is None or journal is None or self.recorder.intake is None:
            return 0
        try:
            return unexplained(enforcer, journal.accounting)
        except JournalError:
            return 0

    def last_seq(self) -> int:
        """Return the number of the newest record, 0 when the journal cannot be read."""
        try:
            return self.recorder.journal.last_seq() if self.recorder.journal is not None else 0
        except JournalError:
            return 0

    def proofs(self) -> dict[str, Any]:
        """Return the journal's head as this daemon wrote it, and what it signed last."""
        journal, last = self.recorder.journal, self.recorder.signing.last
        try:
            anchor = journal.anchor().text if journal is not None else ""
        except JournalError:
            anchor = ""
        return {"anchor": anchor, "signed": None if last is None else {
            "to": last.to, "at": last.time_ns / 1e9, "key": last.key}}

    def gaps(self) -> list[dict[str, Any]]:
        """Return the latest gap records."""
        try:
            journal = self.recorder.journal
            records = journal.query(kinds=("gap",), limit=GAPS_SHOWN) if journal is not None else ()
            return [record_json(record) for record in records]
        except JournalError:
            return []

    def operator(self, facts: ProcessFacts) -> str:
        """Return who is at the root of a process: the one who logged in, else the unit, else the user."""
        if facts.loginuid != UNSET_ID:
            return self.host.user(facts.loginuid) or f"uid {facts.loginuid}"
        return unit_of(facts.cgroup) or self.host.user(facts.uid) or f"uid {facts.uid}"

    def process_json(self, facts: ProcessFacts) -> dict[str, Any]:
        """Return a process as JSON."""
        enforcer = self.activation.enforcer
        return {"pid": facts.pid, "ppid": facts.ppid, "start_ticks": facts.start_ticks, "comm": facts.comm,
                "exe": facts.exe, "uid": facts.uid, "user": self.host.user(facts.uid), "euid": facts.euid,
                "login_uid": None if facts.loginuid == UNSET_ID else facts.loginuid,
                "session": None if facts.sessionid == UNSET_ID else facts.sessionid, "cgroup": facts.cgroup,
                "unit": unit_of(facts.cgroup), "argv": list(facts.cmdline),
                "stamps": list(enforcer.stamps_of(facts.pid)) if enforcer is not None else []}


def wanted_reason(request: Request) -> str:
    """Return the reason that a request must give. Raises UsageError."""
    reason = " ".join((request.text("reason") or "").split())
    if not reason:
        raise UsageError("the reason is empty", f'say why: nbsp {request.verb} --reason "..."')
    if len(reason) > REASON_MAX:
        raise UsageError(f"the reason is longer than {REASON_MAX} characters", "say it shorter")
    return reason


def change_json(change: Change) -> Reply:
    """Return what a change did."""
    return {"before": change.before, "generation": change.generation,
            "added": {section: list(names) for section, names in change.added.items()},
            "removed": {section: list(names) for section, names in change.removed.items()},
            "changed": {section: list(names) for section, names in change.changed.items()}}


def record_json(record: Record) -> dict[str, Any]:
    """Return a record of the journal as a JSON object."""
    document: dict[str, Any] = json.loads(record.to_json())
    return document


def within_bytes(records: tuple[Record, ...], from_start: bool) -> tuple[list[Record], bool]:
    """Return as many records as a reply may hold, the first or the last ones, and whether some were left out."""
    kept: list[Record] = []
    room = RECORDS_BYTES
    for record in records if from_start else reversed(records):
        room -= len(record.to_json())
        if room < 0:
            return (kept if from_start else kept[::-1]), True
        kept.append(record)
    return (kept if from_start else kept[::-1]), False
