"""One record of the journal: who tried what, by what path, and what was done about it."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any, Callable, NamedTuple

from ..errors import JournalError
from . import words

KINDS = frozenset((
    "violation", "repeat", "start", "stop", "reload", "reload-failed", "rollback", "confirm", "detach", "gap", "adopt",
    "degraded", "note", "anchor", "close", "maintenance", "key", "signature"))


class Ancestor(NamedTuple):
    """One step of a process's ancestry, the parent first; `exe` is empty when it was gone."""

    pid: int
    comm: str
    uid: int
    exe: str = ""


class GapRow(NamedTuple):
    """What became of one rule's hits during a gap: `hits` = `journaled` + `lost` + `gone`."""

    rule: str
    hits: int
    journaled: int      # read from the kernel's ring when the gap ended
    lost: int           # the ring was full: the kernel counted them, no details exist
    gone: int = 0       # journaled once, in a journal that has since been deleted or damaged


class Signed(NamedTuple):
    """What the host signs about its journal: everything up to record `to`, whose hash is `head`, and the accounts.

    The kernel's count of hits, and what became of them, are those of the epoch: hits = journaled + coalesced + lost +
    waiting. `violations`, `repeats` and `losses` are how many the journal has written, in all epochs: what lies between
    two signatures, or behind the last one, can be compared with them.
    """

    to: int
    head: str           # hex
    key: str            # the id of the host's key
    boot: str           # boot id
    epoch: str          # boot id and map id, "" while no programs are loaded
    hits: int
    journaled: int
    coalesced: int
    lost: int
    waiting: int
    violations: int
    repeats: int
    losses: int
    signature: str = ""     # base64


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal; fields that do not apply keep their defaults and are left out of the JSON.

    Times ending in `_ns` are wall clock nanoseconds since 1970, except `boot_ns` (boot clock, as the kernel said).
    User and login ids are -1 when unknown or not set.
    """

    kind: str
    time_ns: int
    boot_ns: int = 0
    seq: int = 0                        # its number in the journal; 0: not stored yet
    text: str = ""                      # said in words, for every kind but violation and repeat
    by: str = ""                        # who asked for a change
    rule: str = ""
    rule_number: int = -1
    generation: int = 0
    verdict: str = ""                   # denied, killed, audited (allowed), observed (seen after the effect), vouched
    missing: tuple[str, ...] = ()       # the checkpoints, any one of which would have done
    resource: str = ""
    owner: str = ""
    reason: str = ""
    action: str = ""                    # read, write, execute, connect, or several joined by "+"
    channel: str = ""
    object: str = ""                    # in words: a path, "tcp 127.0.0.1:5432", "unix @name"
    operator: str = ""
    uid: int = -1
    user: str = ""
    euid: int = -1
    euser: str = ""
    gid: int = -1
    login_uid: int = -1
    login: str = ""
    session: int = -1
    unit: str = ""
    cgroup: str = ""
    pid: int = 0
    tid: int = 0
    started_ns: int = 0
    start_ticks: int = 0                # 1/100 s since boot, with pid the name of a process
    exe: str = ""
    comm: str = ""
    argv: tuple[str, ...] = ()
    ancestry: tuple[Ancestor, ...] = ()
    stamps: tuple[str, ...] = ()
    voucher: str = ""                   # the id of the voucher that it was allowed by, or that did not do
    evidence: tuple[str, ...] = ()      # in words: what the verdict rests on beside rule, stamps and voucher
    of: int = 0                         # repeat: the violation it repeats
    count: int = 1                      # repeat: how many more times
    first_ns: int = 0                   # repeat: when the first of them happened; time_ns is the last
    cause: str = ""                     # gap: why nobody was reading
    from_ns: int = 0
    to_ns: int = 0
    gaps: tuple[GapRow, ...] = ()
    dropped_to: int = 0                 # anchor: the last record that retention dropped, and its hash
    dropped_hash: str = ""
    signed: Signed | None = None        # signature

    def to_json(self) -> str:
        """Return the canonical JSON: sorted keys, no blanks, ASCII, nothing that has its default value."""
        values: dict[str, Any] = {
            name: value for name, default, value in zip(_NAMES, _DEFAULTS, _VALUES(self)) if value != default}
        if self.ancestry:
            values["ancestry"] = [{"pid": pid, "comm": comm, "uid": uid, **({"exe": exe[0]} if exe and exe[0] else {})}
                                  for pid, comm, uid, *exe in self.ancestry]
        if self.gaps:
            values["gaps"] = [row._asdict() for row in self.gaps]
        if self.signed:
            values["signed"] = self.signed._asdict()
        return _encode(values)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Return the record that `to_json` wrote. Raises JournalError on anything else."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise _bad(f"it is not JSON ({error})") from None
        if not isinstance(values, dict):
            raise _bad("it is not a JSON object")
        arguments: dict[str, Any] = {}
        for name, value in values.items():
            if name not in _READERS:
                raise _bad(f"unknown key {name!r}")
            try:
                arguments[name] = _READERS[name](value)
            except (TypeError, ValueError, KeyError):
                raise _bad(f"{name} has the wrong form") from None
        if "kind" not in arguments or "time_ns" not in arguments:
            raise _bad("kind or time_ns is missing")
        if arguments["kind"] not in KINDS:
            raise _bad(f"unknown kind {arguments['kind']!r}")
        return cls(**arguments)

    def line(self) -> str:
        """Return the record in one printable line, for `nbsp journal`."""
        return words.line(self)

    def story(self) -> str:
        """Return the record in full and the next step, for `nbsp explain`."""
        return words.story(self)


def _bad(what: str) -> JournalError:
    return JournalError(f"a journal record cannot be read: {what}", "find out where with: nbsp journal verify")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(_text, value))


def _ancestors(value: Any) -> tuple[Ancestor, ...]:
    return tuple(Ancestor(_number(step["pid"]), _text(step["comm"]), _number(step["uid"]), _text(step.get("exe", "")))
                 for step in _objects(value))


def _gaps(value: Any) -> tuple[GapRow, ...]:
    return tuple(GapRow(_text(row["rule"]), *(_number(row[name]) for name in GapRow._fields[1:]))
                 for row in _objects(value))


def _signed(value: Any) -> Signed:
    row, = _objects([value])
    if row.keys() != set(Signed._fields):
        raise KeyError
    values: dict[str, Any] = {
        name: _text(value) if name in _SIGNED_TEXTS else _number(value) for name, value in row.items()}
    return Signed(**values)


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError
    return value


_SIGNED_TEXTS = frozenset(("head", "key", "boot", "epoch", "signature"))
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_NAMES = tuple(field.name for field in fields(Record))
_DEFAULTS = tuple(None if field.default is MISSING else field.default for field in fields(Record))
_VALUES = attrgetter(*_NAMES)
_BY_TYPE: dict[str, Callable[[Any], Any]] = {
    "str": _text, "int": _number, "tuple[str, ...]": _texts, "tuple[Ancestor, ...]": _ancestors,
    "tuple[GapRow, ...]": _gaps, "Signed | None": _signed}
_READERS = {field.name: _BY_TYPE[str(field.type)] for field in fields(Record)}
