"""One text of rules to typed declarations, collecting every problem on the way."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Callable, Iterable, NamedTuple, TypeVar

from ..errors import Problem
from . import values
from .model import READ_AND_WRITE, Checkpoint, Issuer, Resource, Rule
from .nodes import Mapping, Node, Scalar, Sequence, TextError, read_items

Value = TypeVar("Value")
Fields = dict[str, Node]

MAX_GUESSES = 20        # did-you-mean is slow when there are many names

SECTIONS: dict[str, type[Node]] = {
    "version": Scalar, "checkpoints": Mapping, "resources": Mapping, "rules": Sequence, "updaters": Sequence,
    "issuers": Mapping, "aspects": Mapping}
CHECKPOINT = frozenset({"exe", "sha256", "unit", "user", "after", "stamp", "code"})
RESOURCE = frozenset({"tcp", "udp", "unix", "files", "trees", "exec", "devices", "access"})
RULE = frozenset({"id", "protect", "only-through", "mode", "on-bypass", "voucher", "owner", "reason", "i-understand"})
ISSUER = frozenset({"key", "resources"})
LOCKS_OUT = "locks-out-everyone"

_KINDS = {Scalar: "one value", Mapping: "a mapping", Sequence: "a list"}
_LIKE = {Scalar: "a single text", Mapping: "indented lines of name: value", Sequence: "[one, two]"}


class Reference(NamedTuple):
    """A name that something must declare."""

    kind: str       # checkpoint | resource
    name: str
    owner: str      # "rule x"
    file: str
    node: Node

    @property
    def where(self) -> str:
        """Return its position."""
        return f"{self.file}:{self.node.line + 1}:{self.node.column + 1}"


@dataclass
class Declarations:
    """What the files declare, before the names are looked up."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    updaters: list[str] = field(default_factory=list)
    issuers: list[Issuer] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)       # names and ids of declarations that had problems
    problems: list[Problem] = field(default_factory=list)
    guesses: int = 0

    def meant(self, text: str, known: Iterable[str]) -> str:
        """Return "did you mean …?", or what is known when little is."""
        names = sorted(known)
        self.guesses += 1
        near = get_close_matches(text, names, 1) if self.guesses <= MAX_GUESSES else []
        if near:
            return f"did you mean {near[0]!r}?"
        return f"known: {', '.join(names)}" if 0 < len(names) <= 12 else ""


def parse_text(name: str, text: str, into: Declarations) -> None:
    """Read one file's text; what is wrong with it becomes problems of `into`."""
    _Parser(name, into).read(text)


class _Parser:
    """Reads one file."""

    def __init__(self, name: str, into: Declarations) -> None:
        self._name = name
        self._into = into
        self._problems = into.problems

    def read(self, text: str) -> None:
        seen: dict[str, Node] = {}
        entry: Callable[[Node | None, Node], None] | None = None
        try:
            for item in read_items(text):
                if item.is_head:
                    entry = self._open(item.section, item.value, seen)
                elif entry is not None:
                    entry(item.key, item.value)
        except TextError as error:
            self._problems.append(Problem(f"{self._name}:{error.line + 1}:{error.column + 1}", error.what, error.right))
            return
        if "version" not in seen:
            self._problems.append(Problem(f"{self._name}:1:1", "the file has no version", "start with version: 1"))

    def _open(self, section: Node, value: Node, seen: dict[str, Node]) -> Callable[[Node | None, Node], None] | None:
        """Check the head of a section and return what reads its entries."""
        name = self._key(section, seen, SECTIONS.keys(), "at the top of the file")
        if name is None:
            return None
        if name == "version":
            if not isinstance(value, Scalar) or value.text != "1":
                self._problem(value, "this version of the grammar is not known", "write version: 1")
            return None
        if not self._is_kind(value, SECTIONS[name], name):
            return None
        if name == "aspects":
            return lambda key, node: self._problem(key or node, "aspects are not yet supported", "take the section out")
        if name == "updaters":
            return self._updater
        if name == "rules":
            return lambda key, node: self._rule(node)
        section_name = name
        read = {"checkpoints": self._checkpoint, "resources": self._resource, "issuers": self._issuer}[name]
        return lambda key, node: self._named(key or node, node, section_name, read)

    # what a section holds

    def _named(self, key: Node, node: Node, section: str, read: Callable[[str, Scalar, Fields], None]) -> None:
        if not isinstance(key, Scalar):
            self._problem(key, f"a name in {section} is {_KINDS[type(key)]}", "write one word")
            return
        before = len(self._problems)
        name = self._value(key, values.read_name) or key.text
        known = {"checkpoints": CHECKPOINT, "resources": RESOURCE, "issuers": ISSUER}[section]
        fields = self._fields(node, known, f"{section[:-1]} {name!r}")
        if fields is not None:
            read(name, key, fields)
        if len(self._problems) > before:
            self._into.broken.add(f"{section[:-1]} {name}")

    def _checkpoint(self, name: str, key: Scalar, fields: Fields) -> None:
        self._require(key, fields, ("exe",), f"checkpoint {name!r}")
        code = fields.get("code")
        is_system = code is None or isinstance(code, Scalar) and code.text == "system"
        if isinstance(code, Scalar) and not is_system:
            self._problem(code, f"code: {code.text!r} is neither system nor a list",
                          "write code: system, or a list of paths, trees and the words system and anonymous")
            is_system = True
        exe = self._one(fields, "exe", values.read_path)
        if exe == "/":
            self._problem(fields["exe"], "/ is not a program", "name the program")
        self._into.checkpoints.append(Checkpoint(
            name, exe or "", self._one(fields, "sha256", values.read_sha256),
            self._one(fields, "unit", values.read_unit), self._one(fields, "user", values.read_user),
            self._refer(fields, "after", "checkpoint", f"checkpoint {name}"),
            self._choice(fields, "stamp", ("self", "children")),
            None if is_system else self._many(fields, "code", values.read_code), self._where(key)))

    def _resource(self, name: str, key: Scalar, fields: Fields) -> None:
        access = READ_AND_WRITE
        if "access" in fields:
            access = frozenset(self._many(fields, "access", lambda text: _choose(text, ("read", "write"))))
            if not access and isinstance(fields["access"], Sequence) and not fields["access"].items:
                self._problem(fields["access"], "access is empty", "write [read], [write] or [read, write]")
            if not fields.keys() & {"files", "trees", "devices"}:
                self._problem(fields["access"], "access says nothing about endpoints, sockets and programs",
                              "leave it out, or protect files, trees or devices")
        resource = Resource(
            name, self._many(fields, "tcp", values.read_endpoint), self._many(fields, "udp", values.read_endpoint),
            self._many(fields, "unix", values.read_socket), self._many(fields, "files", values.read_protected),
            self._many(fields, "trees", values.read_tree), self._many(fields, "exec", values.read_path),
            self._many(fields, "devices", values.read_path), access, self._where(key))
        if not fields.keys() - {"access"}:
            self._problem(key, f"resource {name!r} is empty", "give it tcp, udp, unix, files, trees, exec or devices")
        self._into.resources.append(resource)

    def _rule(self, node: Node) -> None:
        fields = self._fields(node, RULE, "a rule")
        if fields is None:
            return
        before = len(self._problems)
        self._require(node, fields, ("id", "protect", "only-through"), "the rule")
        if self._choice(fields, "voucher", ("none", "required")) == "required":
            self._problem(fields["voucher"], "voucher: required is not yet supported", "write voucher: none")
        understands = self._one(fields, "i-understand", _same)
        if understands not in (None, LOCKS_OUT):
            self._problem(fields["i-understand"], f"i-understand: {understands!r} says nothing",
                          f"write i-understand: {LOCKS_OUT}, or leave it out")
        name = self._one(fields, "id", values.read_name) or ""
        rule = Rule(
            name, self._refer_one(fields, "protect", "resource", f"rule {name}") or "",
            self._refer(fields, "only-through", "checkpoint", f"rule {name}"),
            self._choice(fields, "mode", ("enforce", "audit")), self._choice(fields, "on-bypass", ("deny", "kill")),
            "none", self._one(fields, "owner", _same) or "",
            self._one(fields, "reason", _same) or "", understands == LOCKS_OUT, self._where(fields.get("id", node)))
        self._into.rules.append(rule)
        if len(self._problems) > before:
            self._into.broken.add(f"rule {name}")

    def _issuer(self, name: str, key: Scalar, fields: Fields) -> None:
        self._require(key, fields, ("key", "resources"), f"issuer {name!r}")
        self._into.issuers.append(Issuer(name, self._one(fields, "key", values.read_key) or b"",
                                         self._refer(fields, "resources", "resource", f"issuer {name}"),
                                         self._where(key)))

    def _updater(self, key: Node | None, node: Node) -> None:
        path = self._value(node, values.read_path)
        if path is not None and path not in self._into.updaters:
            self._into.updaters.append(path)

    # what a value holds

    def _fields(self, node: Node, known: frozenset[str], what: str) -> Fields | None:
        if not isinstance(node, Mapping):
            self._problem(node, f"{what} is {_KINDS[type(node)]}", f"write {_LIKE[Mapping]}")
            return None
        fields: Fields = {}
        nulls = []
        for key, value in node.items:
            if isinstance(key, Scalar) and key.text in known and key.text not in fields:
                fields[key.text] = value
                if isinstance(value, Scalar) and value.is_null:
                    nulls.append(key.text)
            else:
                self._key(key, fields, known, f"in {what}")
        for name in nulls:
            del fields[name]
        return fields

    def _key(self, key: Node, seen: dict[str, Node], known: Iterable[str], place: str) -> str | None:
        """Return a key that is known and new, else say why not."""
        if not isinstance(key, Scalar):
            self._problem(key, f"a key {place} is {_KINDS[type(key)]}", "write one word")
        elif key.text == "<<":
            self._problem(key, "merge keys are not read", "write the values out, or use an alias for one value")
        elif key.text not in known:
            self._problem(key, f"unknown key {key.text!r} {place}", self._into.meant(key.text, known))
        elif key.text in seen:
            first = seen[key.text]
            self._problem(key, f"the key {key.text!r} stands twice {place}",
                          f"keep one; the other is on line {first.line + 1}")
        else:
            seen[key.text] = key
            return key.text
        return None

    def _require(self, node: Node, fields: Fields, names: tuple[str, ...], what: str) -> None:
        for name in names:
            if name not in fields:
                self._problem(node, f"{what} has no {name}", "write only-through: [CHECKPOINT], or [] for nobody"
                              if name == "only-through" else f"add {name}:")

    def _one(self, fields: Fields, name: str, read: Callable[[str], Value]) -> Value | None:
        node = fields.get(name)
        return None if node is None or not self._is_kind(node, Scalar, name) else self._value(node, read)

    def _many(self, fields: Fields, name: str, read: Callable[[str], Value]) -> tuple[Value, ...]:
        node = fields.get(name)
        if node is None or not self._is_kind(node, Sequence, name):
            return ()
        assert isinstance(node, Sequence)
        found: dict[Value, None] = {}
        for item in node.items:
            value = self._value(item, read)
            if value is None:
                continue
            if found and value in found:
                self._problem(item, f"{_spelled(item)} stands twice in {name}", "keep one")
            found[value] = None
        return tuple(found)

    def _refer(self, fields: Fields, name: str, kind: str, owner: str) -> tuple[str, ...]:
        """Return a list of names, each of which something must declare."""
        found = self._many(fields, name, values.read_name)
        node = fields.get(name)
        if isinstance(node, Sequence):
            self._into.references += [Reference(kind, item.text, owner, self._name, item) for item in node.items
                                      if isinstance(item, Scalar) and item.text in found]
        return found

    def _refer_one(self, fields: Fields, name: str, kind: str, owner: str) -> str | None:
        found = self._one(fields, name, values.read_name)
        if found is not None:
            self._into.references.append(Reference(kind, found, owner, self._name, fields[name]))
        return found

    def _choice(self, fields: Fields, name: str, choices: tuple[str, ...]) -> str:
        """Return one of the choices; the first is the default."""
        return self._one(fields, name, lambda text: _choose(text, choices)) or choices[0]

    def _value(self, node: Node, read: Callable[[str], Value]) -> Value | None:
        if not isinstance(node, Scalar):
            self._problem(node, f"this is {_KINDS[type(node)]}", f"write {_LIKE[Scalar]}")
            return None
        try:
            return read(node.text)
        except values.Wrong as wrong:
            self._problem(node, wrong.what, wrong.right)
            return None

    def _is_kind(self, node: Node, kind: type[Node], name: str) -> bool:
        if isinstance(node, kind):
            return True
        if not (isinstance(node, Scalar) and node.is_null):
            like = f"[{node.text}]" if kind is Sequence and isinstance(node, Scalar) else _LIKE[kind]
            self._problem(node, f"{name} is {_KINDS[type(node)]} and not {_KINDS[kind]}", f"write {name}: {like}")
        return False

    def _where(self, node: Node) -> str:
        return f"{self._name}:{node.line + 1}:{node.column + 1}"

    def _problem(self, node: Node, what: str, right: str) -> None:
        self._problems.append(Problem(self._where(node), what, right))


def _same(text: str) -> str:
    return sys.intern(text)     # owners and reasons are the same in many rules


def _choose(text: str, choices: tuple[str, ...]) -> str:
    if text in choices:
        return text
    near = get_close_matches(text, choices, 1)
    raise values.Wrong(f"{text!r} is not a choice", f"did you mean {near[0]!r}?" if near
                       else f"write {' or '.join(choices)}")


def _spelled(node: Node) -> str:
    return repr(node.text) if isinstance(node, Scalar) else "this"
