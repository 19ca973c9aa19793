"""A folder of rule files to one rule set, or to every problem in all of them."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping, Protocol, TypeVar

from ..errors import Problem, RulesError
from .lint import find_problems
from .model import RuleSet
from .parse import Declarations, parse_text
from .pause import paused_collection

MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Source:
    """One file's text; a file that could not be read carries the problem instead."""

    name: str
    text: str
    problem: Problem | None = None


class _Named(Protocol):
    @property
    def where(self) -> str: ...


Thing = TypeVar("Thing", bound=_Named)


def load_rules(path: Path) -> RuleSet:
    """Read a folder, or one file, and return its rule set; Raises: RulesError."""
    return parse_sources(load_directory(path) if path.is_dir() or not path.exists() else (load_file(path),))


def load_directory(folder: Path) -> tuple[Source, ...]:
    """Read the folder's *.yaml in name order; what cannot be read becomes a problem of parse_sources()."""
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return (_unread(folder, "the rule directory does not exist", f"create it: mkdir -p {folder}"),)
    except NotADirectoryError:
        return (_unread(folder, "this is not a directory", "name the directory that holds the rule files"),)
    except OSError as error:
        return (_unread(folder, f"the rule directory cannot be read: {error.strerror}", "check its owner and mode"),)
    sources = [load_file(folder / name) for name in names if name.endswith(".yaml")]
    sources += [_unread(folder / name, "only files ending in .yaml are read", f"rename it to {name[:-4]}.yaml")
                for name in names if name.endswith(".yml")]
    return tuple(sources)


def load_file(path: Path) -> Source:
    """Read one file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return _unread(path, "this is not a regular file", "move it out of the rule directory")
        if status.st_size > MAX_BYTES:
            return _unread(path, f"the file is larger than {MAX_BYTES >> 20} MiB", "split it or use trees and networks")
        return Source(str(path), path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object[:error.start].count(b"\n") + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        return Source(str(path), "", Problem(f"{path}:{line}:{column}", "the file is not UTF-8", "save it as UTF-8"))
    except OSError as error:
        return _unread(path, f"the file cannot be read: {error.strerror}", "check its owner, mode and links")


@paused_collection()
def parse_sources(sources: Iterable[Source]) -> RuleSet:
    """Return the rule set of all sources together.

    Raises:
        RulesError: with every problem of every source, by file and line.
    """
    into = Declarations()
    order: dict[str, int] = {}
    for source in sources:
        order[source.name] = len(order)
        if source.problem is not None:
            into.problems.append(source.problem)
        else:
            parse_text(source.name, source.text, into)
    rule_set = _join(into)
    into.problems += find_problems(rule_set)
    if into.problems:
        raise RulesError(sorted(set(into.problems), key=lambda problem: _position(problem, order)))
    return rule_set


def _join(into: Declarations) -> RuleSet:
    """Look every name up and keep what is whole."""
    checkpoints = _unique(into, "checkpoint", ((item.name, item) for item in into.checkpoints))
    resources = _unique(into, "resource", ((item.name, item) for item in into.resources))
    issuers = _unique(into, "issuer", ((item.name, item) for item in into.issuers))
    rules = _unique(into, "rule", ((item.id, item) for item in into.rules))
    known: dict[str, Mapping[str, object]] = {"checkpoint": checkpoints, "resource": resources}
    for refer in into.references:
        if refer.name not in known[refer.kind]:
            into.broken.add(refer.owner)
            if f"{refer.kind} {refer.name}" not in into.broken:
                into.problems.append(Problem(
                    refer.where, f"the {refer.kind} {refer.name!r} is not declared",
                    into.meant(refer.name, known[refer.kind]) or f"declare it under {refer.kind}s:"))
        elif f"{refer.kind} {refer.name}" in into.broken:
            into.broken.add(refer.owner)
    whole = tuple(rule for rule in rules.values() if f"rule {rule.id}" not in into.broken)
    return RuleSet(checkpoints, resources, whole, tuple(into.updaters), issuers)


def _unique(into: Declarations, kind: str, things: Iterable[tuple[str, Thing]]) -> dict[str, Thing]:
    found: dict[str, Thing] = {}
    for name, thing in things:
        first = found.setdefault(name, thing)
        if first is not thing and name:
            into.problems.append(Problem(thing.where, f"the {kind} {name!r} is declared twice",
                                         f"rename one; the first is at {first.where}"))
    return found


def _position(problem: Problem, order: Mapping[str, int]) -> tuple[int, str, int, int, str]:
    name, _, rest = problem.where.rpartition(":")
    name, _, line = name.rpartition(":")
    if name and line.isdigit() and rest.isdigit():
        return order.get(name, len(order)), name, int(line), int(rest), problem.what
    return order.get(problem.where, len(order)), problem.where, 0, 0, problem.what


def _unread(path: Path, what: str, right: str) -> Source:
    return Source(str(path), "", Problem(str(path), what, right))
