"""YAML text to small nodes that know their position, one entry of a section at a time.

libyaml's event stream is used, not its composer: the composer recurses in C (deep nesting ends the process), keeps
the whole tree alive, and costs five times as much under the garbage collector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Union

import yaml

try:
    from yaml.cyaml import CParser as EventParser
except ImportError:     # PyYAML without libyaml: slower, the same answers
    from yaml.loader import BaseLoader as EventParser

MAX_DEPTH = 12
MAX_NODES = 8_000_000       # with every alias counted as if it were written out

NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class Scalar:
    """A piece of text; numbers and truth values are text here."""

    __slots__ = ("text", "line", "column", "is_null")

    def __init__(self, text: str, line: int, column: int, is_null: bool) -> None:
        self.text = text
        self.line = line
        self.column = column
        self.is_null = is_null


class Sequence:
    """A list of nodes."""

    __slots__ = ("items", "line", "column")

    def __init__(self, line: int, column: int) -> None:
        self.items: list[Node] = []
        self.line = line
        self.column = column


class Mapping:
    """Pairs of nodes in the order they were written; a key may stand twice."""

    __slots__ = ("items", "line", "column")

    def __init__(self, line: int, column: int) -> None:
        self.items: list[tuple[Node, Node]] = []
        self.line = line
        self.column = column


Node = Union[Scalar, Sequence, Mapping]


class TextError(Exception):
    """The text cannot be read; line and column count from 0."""

    def __init__(self, line: int, column: int, what: str, right: str) -> None:
        super().__init__(what)
        self.line = line
        self.column = column
        self.what = what
        self.right = right


@dataclass(frozen=True)
class Item:
    """One entry of a top-level section.

    The first item of each section has `is_head` and carries the value without its entries (or the whole value when it
    is a scalar); then come the entries, with a key when the section is a mapping.
    """

    section: Node
    key: Node | None
    value: Node
    is_head: bool = False


class Composer:
    """Turns the events of one text into items."""

    def __init__(self, text: str) -> None:
        self._next: Any = EventParser(text).get_event
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._nodes = 0

    def items(self) -> Iterator[Item]:
        """Yield the entries of all sections of the one document.

        Raises:
            TextError: the text is not YAML, not a mapping, more than one document, or uses what rules do not need.
        """
        self._next()                                    # the start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):
            return
        event = self._next()
        if isinstance(event, yaml.MappingStartEvent):
            self._check(event)
            yield from self._sections()
        elif not isinstance(event, yaml.ScalarEvent) or not self._scalar(event).is_null:
            raise _refusal(event, "the file is not a mapping", "start with version: 1")
        self._next()                                    # the end of the document
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _refusal(event, "a second document starts here", "put it into a file of its own")

    def _sections(self) -> Iterator[Item]:
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            section = self._compose(event, 1)
            event = self._next()
            is_plain = not isinstance(event, yaml.AliasEvent) and event.anchor is None
            if is_plain and isinstance(event, yaml.MappingStartEvent):
                yield Item(section, None, self._collection(Mapping, event), True)
                while not isinstance(event := self._next(), yaml.MappingEndEvent):
                    key = self._compose(event, 2)
                    yield Item(section, key, self._compose(self._next(), 2))
            elif is_plain and isinstance(event, yaml.SequenceStartEvent):
                yield Item(section, None, self._collection(Sequence, event), True)
                while not isinstance(event := self._next(), yaml.SequenceEndEvent):
                    yield Item(section, None, self._compose(event, 2))
            else:
                yield from _replay(section, self._compose(event, 1))

    def _compose(self, event: Any, depth: int) -> Node:
        """Return the node that starts with this event."""
        kind = event.__class__
        self._nodes += 1
        if kind is yaml.ScalarEvent:
            scalar = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (scalar, 1)
            return scalar
        if kind is yaml.AliasEvent:
            return self._alias(event)
        if depth >= MAX_DEPTH:
            raise _refusal(event, "this is nested too deeply", "rules need four levels")
        before = self._nodes
        if kind is yaml.SequenceStartEvent:
            sequence = self._collection(Sequence, event)
            while (inner := self._next()).__class__ is not yaml.SequenceEndEvent:
                sequence.items.append(self._compose(inner, depth + 1))
            node: Node = sequence
        else:
            mapping = self._collection(Mapping, event)
            while (inner := self._next()).__class__ is not yaml.MappingEndEvent:
                key = self._compose(inner, depth + 1)
                mapping.items.append((key, self._compose(self._next(), depth + 1)))
            node = mapping
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._nodes - before + 1)
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise _refusal(event, f"the alias *{event.anchor} stands for nothing",
                           f"write &{event.anchor} at what it means, before it")
        node, size = self._anchors[event.anchor]
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise _refusal(event, f"aliases make this file longer than {MAX_NODES:,} values", "write fewer of them")
        return node

    def _scalar(self, event: Any) -> Scalar:
        if event.tag is not None and event.tag != "!":
            raise _tagged(event)
        mark = event.start_mark
        text: str = event.value
        return Scalar(text, mark.line, mark.column, text in NULLS and event.implicit[0])

    def _collection(self, kind: type[Any], event: Any) -> Any:
        self._check(event)
        return kind(event.start_mark.line, event.start_mark.column)

    def _check(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            raise _tagged(event)


def read_items(text: str) -> Iterator[Item]:
    """Yield the entries of all sections of a text; Raises: TextError."""
    try:
        yield from Composer(text).items()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        what = f"this is not YAML: {error.problem or error.context}"
        raise TextError(line, column, what, _hint(text, line)) from None
    except yaml.reader.ReaderError as error:
        before = text.encode("utf-8", "surrogatepass")[:error.position]
        line = before.count(b"\n")
        raise TextError(line, len(before) - before.rfind(b"\n") - 1, f"this is not YAML: {error.reason}",
                        "take the character out") from None


def _replay(section: Node, value: Node) -> Iterator[Item]:
    """Yield a value that was composed whole as if it had been streamed."""
    yield Item(section, None, value, True)
    if isinstance(value, Mapping):
        yield from (Item(section, key, inner) for key, inner in value.items)
    elif isinstance(value, Sequence):
        yield from (Item(section, None, inner) for inner in value.items)


def _hint(text: str, line: int) -> str:
    lines = text.splitlines()
    near = "".join(lines[max(0, line - 1):line + 1])
    return "indent with spaces, not tabs" if "\t" in near else "check the indentation, colons and brackets here"


def _refusal(event: Any, what: str, right: str) -> TextError:
    return TextError(event.start_mark.line, event.start_mark.column, what, right)


def _tagged(event: Any) -> TextError:
    tag = event.tag.replace("tag:yaml.org,2002:", "!!")
    return _refusal(event, f"the tag {tag} is not read here", "leave the tag out")
