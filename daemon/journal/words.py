"""Records in words: one line for the list, a story for the operator who has to do something about it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Iterable, Sequence

from ..rules.reserved import NEXT_STEPS

if TYPE_CHECKING:
    from .record import GapRow, Record

VERDICTS = {"denied": "DENIED", "killed": "KILLED", "audited": "AUDIT", "observed": "SEEN", "vouched": "VOUCHED"}
ACTS = {    # where the channel says more than read, write, execute, connect
    "mmap": "map as code", "receive": "receive a handle on", "create": "create", "mknod": "make the node",
    "mkdir": "make the folder", "symlink": "make the symbolic link", "link": "make a hard link of", "unlink": "delete",
    "rmdir": "delete the folder", "cover": "mount something over",
    "rename": "rename or replace", "setattr": "change mode, owner or size of",
    "xattr": "change extended attributes of", "acl": "change the access list of", "send": "send to",
    "mount_option": "set by a mount's option",
    "packet": "send a packet to", "interface": "send a frame to", "unix_send": "send to",
    "ptrace": "reach into or debug", "traceme": "be debugged by", "code": "run as its code",
    "dump": "leave a core dump of", "flags": "change the flags of",
    "inherit": "hand on to the program that it executes", "arrival": "hear", "raw_frames": "send",
    "signal": "signal", "debug": "look into or debug", "priority": "change priority or limits of", "bpf": "get hold of",
    "pin": "change", "mount": "unmount or cover", "knob": "turn a knob of",
    "kernel_code": "load", "kernel_memory": "reach", "program": "load"}
OUTCOMES = {
    "denied": "The kernel refused it (EPERM) before it had any effect.",
    "killed": "The kernel refused it and killed the process.",
    "audited": "It was allowed: the rule is in audit mode. With mode: enforce it would have been refused.",
    "observed": "It had already happened when it was seen: this host cannot refuse it on this channel "
                "(see nbsp coverage).",
    "vouched": "It was allowed: a voucher granted it to this operator."}


def printable(text: str, limit: int = 200) -> str:
    """Return text without anything that could move a terminal's cursor, and not longer than `limit` characters."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown if len(shown) <= limit else shown[:limit - 1] + "…"


def when(time_ns: int) -> str:
    """Return a wall clock time in local time, to the second."""
    return datetime.fromtimestamp(time_ns / 1e9).strftime("%Y-%m-%d %H:%M:%S")


def either(names: Iterable[str]) -> str:
    """Return "a", "a or b", "a, b or c"; "nobody" of nothing."""
    items = [printable(name) for name in names]
    if not items:
        return "nobody"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} or {items[-1]}"


def line(record: Record) -> str:
    """Return the record in one line."""
    head = f"{record.seq or '-':>6}  {when(record.time_ns)}  "
    if record.kind == "violation":
        way = f"by voucher {printable(record.voucher)}" if record.verdict == "vouched" else (
            f"only through {either(record.missing)}")
        return (f"{head}{VERDICTS.get(record.verdict, record.verdict):<7} {printable(record.rule)}  {_program(record)} "
                f"by {_operator(record)}: {_attempt(record)}; {way}")
    if record.kind == "repeat":
        return (f"{head}{'AGAIN':<7} {printable(record.rule)}  {_program(record)} by {_operator(record)}: "
                f"{_attempt(record)}; {_times(record.count)} more, as record {record.of}")
    text = printable(record.text, 400) or record.cause
    if record.kind == "gap":
        text += "; ".join(["", *(_gap(row) for row in record.gaps)])
    return f"{head}{record.kind.upper():<7} {text}{f' (by {printable(record.by)})' if record.by else ''}"


def story(record: Record) -> str:
    """Return the record in full, ending with what to do next."""
    if record.kind not in ("violation", "repeat"):
        return _story_of_event(record)
    did = "was allowed to" if record.verdict == "vouched" else "tried to"
    rows = [
        ("What", f"{_program(record)} {did} {_attempt(record)} (channel {record.channel})"),
        ("When", f"{when(record.time_ns)}, {record.boot_ns / 1e9:.3f} s after boot, generation {record.generation}"),
        ("Who", _who(record)),
        ("Program", f"{printable(record.exe) or 'unknown'}, pid {record.pid}"
                    + (f", started {when(record.started_ns)}" if record.started_ns else "")),
        ("Command", " ".join(printable(word) for word in record.argv)),
        ("Came from", _ancestry(record)),
        ("Where", printable(record.unit or record.cgroup)),
        ("Stamps", _stamps(record)),
        ("Voucher", printable(record.voucher)),
        ("Evidence", "; ".join(map(printable, record.evidence))),
        ("Rule", printable(record.rule) + (f", protecting {printable(record.resource)}" if record.resource else "")),
        ("Reason", printable(record.reason)),
        ("Owner", printable(record.owner)),
        ("Outcome", OUTCOMES.get(record.verdict, record.verdict)),
        ("Next", _next_step(record))]
    if record.kind == "repeat":
        rows.insert(1, ("Again", f"{_times(record.count)} since {when(record.first_ns)}, "
                                 f"all alike; the first is record {record.of}"))
    return "\n".join(f"{name:<10} {value}" for name, value in rows if value)


def _story_of_event(record: Record) -> str:
    rows = [("What", f"{record.kind}: {printable(record.text or record.cause, 2000)}"), ("When", when(record.time_ns)),
            ("By", printable(record.by)), ("Why", printable(record.cause) if record.text else "")]
    if record.kind == "gap":
        rows.append(("Between", f"{when(record.from_ns)} and {when(record.to_ns)}"))
        rows += [("Rule", _gap(row)) for row in record.gaps]
        rows.append(("Next", _after_gap(record.gaps)))
    return "\n".join(f"{name:<10} {value}" for name, value in rows if value)


def _program(record: Record) -> str:
    return f"{printable(record.comm) or '?'}[{record.pid}]"


def _attempt(record: Record) -> str:
    act = ACTS.get(record.channel) or ("connect to" if record.action == "connect" else record.action) or "use"
    return f"{act} {printable(record.object, 400) or 'an object without a name'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _operator(record: Record) -> str:
    return printable(record.operator) or printable(record.user) or f"uid {record.uid}"


def _who(record: Record) -> str:
    def named(number: int, name: str) -> str:
        return f"{printable(name)} ({number})" if name else str(number)
    parts = [_operator(record)]
    if record.login_uid >= 0:
        parts.append(f"logged in as {named(record.login_uid, record.login)}")
    parts.append(f"running as {named(record.uid, record.user)}")
    if record.euid != record.uid:
        parts.append(f"with the rights of {named(record.euid, record.euser)}")
    return ", ".join(parts)


def _stamps(record: Record) -> str:
    if not record.stamps:
        return "none: it came through no checkpoint"
    names = ", ".join(map(printable, record.stamps))
    return names if record.verdict == "vouched" else f"{names}: not what the rule asks for"


def _ancestry(record: Record) -> str:
    steps = [f"{printable(comm)}[{pid}]" for pid, comm, *_ in reversed(record.ancestry)]
    return " → ".join([*steps, _program(record)]) if steps else ""


def _gap(row: GapRow) -> str:
    parts = [f"{row.journaled:,} with details in the journal", f"{row.lost:,} lost (counted only)"]
    if row.gone:
        parts.append(f"{row.gone:,} were in a journal that is gone")
    return f"{printable(row.rule)}: {row.hits:,} hits, {', '.join(parts)}"


def _after_gap(gaps: Sequence[GapRow]) -> str:
    """Say what is left to do; a gap without rows is a time in which nothing was enforced, or nobody knows what."""
    if not gaps:
        return ("nobody counted in that time, so nothing of it is in the journal; what was opened or connected in it "
                "may still be held, see: nbsp coverage")
    lost = sum(row.lost + row.gone for row in gaps)
    if lost:
        return f"of {lost:,} there are no details; who goes on will be recorded; counts: nbsp status"
    return "nothing to do: all of them are in the journal"


# nbspd's own demands on whoever carries a stamp: going through a checkpoint is not the way out of these
SEALED_STEPS = {
    "ptrace": "look at it with ps, its own log or nbsp lineage; to debug it, take it out of only-through or set the "
              "rules that name it to mode: audit, then nbsp reload",
    "code": "if it needs that code, list it under code: of the checkpoint (anonymous: what it makes in memory), then "
            "nbsp reload",
    "dump": "its log says why it ended; for a dump set the rules that name it to mode: audit, then nbsp reload"}
SEALED_STEPS["traceme"] = SEALED_STEPS["ptrace"]


def _next_step(record: Record) -> str:
    if record.verdict == "vouched":
        return "nothing to do"
    if record.rule == "self":
        return ("to change nbspd itself: nbsp maintain --for 10m --reason TEXT; to stop or restart it: systemctl; "
                f"while it runs, see: nbsp lineage {record.pid}")
    if record.rule == "sealed" and record.channel in SEALED_STEPS:
        way = SEALED_STEPS[record.channel]
    elif record.rule in NEXT_STEPS:
        way = NEXT_STEPS[record.rule]
    elif record.missing:
        way = f"do it through {either(record.missing)}"
    else:
        way = "nobody may do this: the rule names no checkpoint"
    owner = f"; if it should be allowed, ask {printable(record.owner)}" if record.owner else ""
    return f"{way}{owner}; while it runs, see: nbsp lineage {record.pid}"
