"""One JSON object a line, both ways; docs/control-protocol.md lists the verbs and their replies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Mapping

from ..errors import EXIT_BUG, NbspdError, RulesError, UsageError

PROTOCOL = 1
REQUEST_MAX_BYTES = 64 * 1024
REPLY_MAX_BYTES = 16 * 1024 * 1024
CONTROLS = {code: None for code in range(32)} | {127: None}

Reply = dict[str, Any]


class WithDescriptor(Reply):
    """A reply that an open descriptor goes with (SCM_RIGHTS); whoever sends it closes that."""

    def __init__(self, reply: Reply, descriptor: int) -> None:
        super().__init__(reply)
        self.descriptor = descriptor


class Role(Enum):
    """What a peer may do: nothing, look, or change."""

    NOBODY = 0
    VIEWER = 1
    CHANGER = 2


@dataclass(frozen=True)
class Field:
    """One field of a request: its type, and whether it must be there."""

    type: type
    required: bool = False


@dataclass(frozen=True)
class Verb:
    """What a verb needs: the role of the peer and the fields of the request; and the command that asks for it."""

    role: Role
    fields: Mapping[str, Field]
    command: str = ""           # "": that of its name


VERBS: dict[str, Verb] = {
    "ping": Verb(Role.VIEWER, {}),
    "status": Verb(Role.VIEWER, {}),
    "coverage": Verb(Role.VIEWER, {"rule": Field(str), "offset": Field(int), "limit": Field(int)}),
    "journal": Verb(Role.VIEWER, {"since": Field(float), "rule": Field(str), "after": Field(int), "limit": Field(int),
                                  "follow": Field(bool)}),
    "explain": Verb(Role.VIEWER, {"seq": Field(int), "exe": Field(str), "pid": Field(int), "read": Field(str),
                                  "write": Field(str), "exec": Field(str), "move": Field(str),
                                  "connect": Field(str), "proto": Field(str)}),
    "lineage": Verb(Role.VIEWER, {"pid": Field(int, required=True)}),
    "audit": Verb(Role.VIEWER, {"offset": Field(int), "limit": Field(int), "sockets": Field(bool)}),
    "reload": Verb(Role.CHANGER, {"confirm_within_s": Field(float)}),
    "confirm": Verb(Role.CHANGER, {}),
    "rollback": Verb(Role.CHANGER, {}),
    "maintain": Verb(Role.CHANGER, {"for_s": Field(float, required=True), "reason": Field(str)}),
    "detach": Verb(Role.CHANGER, {"reason": Field(str, required=True)}),
    "close": Verb(Role.CHANGER, {"proto": Field(str, required=True), "local": Field(str, required=True),
                                 "remote": Field(str, required=True), "holders": Field(list, required=True),
                                 "failed": Field(str)}, command="audit --close"),
}


@dataclass(frozen=True)
class Request:
    """A request that has the right shape; fields that were not given are absent."""

    verb: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """Return a text field, or None."""
        value = self.fields.get(name)
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        """Return a whole-number field, or None."""
        value = self.fields.get(name)
        return None if value is None else int(value)

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a field that is a list of whole numbers; none without it."""
        return tuple(int(each) for each in self.fields.get(name) or ())

    def seconds(self, name: str) -> float | None:
        """Return a field that is a time in seconds, or None."""
        value = self.fields.get(name)
        return None if value is None else float(value)

    def flag(self, name: str) -> bool:
        """Return whether a flag is set."""
        return bool(self.fields.get(name, False))


def parse_request(line: bytes) -> Request:
    """Return the request that a line holds. Raises UsageError: not JSON, unknown verb, unknown or wrong field."""
    try:
        document = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError("the request is not JSON in UTF-8", "send one JSON object a line") from error
    if not isinstance(document, dict) or not isinstance(document.get("verb"), str):
        raise UsageError("the request names no verb", 'send {"verb": "status"}')
    name = document.pop("verb")
    verb = VERBS.get(name)
    if verb is None:
        raise UsageError(f"unknown verb {printable(name)}", "one of: " + ", ".join(VERBS))
    for key, value in document.items():
        field = verb.fields.get(key)
        if field is None:
            known = ", ".join(verb.fields) or "none"
            raise UsageError(f"{name}: unknown field {printable(key)}", f"it takes: {known}")
        if not is_of_type(value, field.type):
            raise UsageError(f"{name}: the field {key} has the wrong type", f"it is a {field.type.__name__}")
    for key, field in verb.fields.items():
        if field.required and key not in document:
            raise UsageError(f"{name}: the field {key} is missing", f"it is a {field.type.__name__}")
    return Request(name, document)


def is_of_type(value: object, wanted: type) -> bool:
    """Return whether a JSON value is of a type; whole numbers are also fractions, booleans are no numbers.

    A list is one of whole numbers.
    """
    if isinstance(value, bool):
        return wanted is bool
    if wanted is list:
        return isinstance(value, list) and all(is_of_type(each, int) for each in value)
    if wanted is float:
        return isinstance(value, (int, float)) and abs(value) < 1e15
    if wanted is int:
        return isinstance(value, int) and abs(value) < 1 << 63
    return isinstance(value, wanted)


def printable(text: str) -> str:
    """Return somebody else's text, short and without control characters."""
    return repr(text[:64].translate(CONTROLS))


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a request or reply as one line; undecodable file names travel as surrogate escapes in ASCII."""
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


def failure(error: NbspdError) -> Reply:
    """Return the reply that tells of an expected failure."""
    reply: Reply = {"ok": False, "cause": error.cause, "remedy": error.remedy, "exit_code": error.exit_code,
                    "problems": []}
    if isinstance(error, RulesError):
        reply["problems"] = [{"where": p.where, "what": p.what, "right": p.right} for p in error.problems]
    return reply


def bug(error: BaseException) -> Reply:
    """Return the reply that tells of a failure that is our own fault."""
    return {"ok": False, "cause": f"a bug in nbspd: {type(error).__name__}: {error}",
            "remedy": "the daemon goes on; please report it with the traceback from: journalctl -u nbspd",
            "exit_code": EXIT_BUG, "problems": []}
