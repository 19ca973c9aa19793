"""Rules that are well-formed and still wrong, or wrong only in company."""

from __future__ import annotations

import os
from typing import Callable, Iterable, Iterator, Mapping, Sequence, Union

from ..abi import CLAUSES, Access, Exe
from ..errors import Problem
from . import itself
from .brokers import broker_of
from .lockouts import vital_paths
from .model import Checkpoint, Network, Rule, RuleSet
from .overlap import Demands, Overlap
from .pseudo import mount_point
from .reserved import FIRST, NEXT_STEPS
from .values import spell_network

Object = Union[str, bytes, tuple[int, Network, int]]
Meeting = tuple[Object, Demands]

MAX_CHECKPOINTS = 256
MAX_RULES = FIRST - 1
MAX_ENTRIES = 1_000_000
MAX_SHARED = Exe.bits.size // 4 - 1     # checkpoints that one program may become; the last word ends the list


def find_problems(rule_set: RuleSet) -> list[Problem]:
    """Return what makes a rule set unfit to be applied."""
    rules = sorted(rule_set.rules, key=lambda rule: rule.id)
    overlap = Overlap(rules, rule_set.resources, CLAUSES)
    found = list(_limits(rule_set))
    found += _cycles(rule_set.checkpoints)
    found += _lockouts(rule_set)
    meetings = [(thing, demands) for thing, demands, _ in _objects(overlap) if len(demands) > 1]
    found += _crowded(meetings, rules)
    found += _contradictions(meetings, rules, rule_set.checkpoints)
    problem = itself.find_problem(rule_set)
    found += [problem] if problem is not None else []
    found += _starved(overlap, rules, rule_set.checkpoints)
    return found


def find_advice(rule_set: RuleSet) -> list[Problem]:
    """Return what is legal and probably not meant: the unused, and rules that another makes pointless."""
    protected = {rule.protect for rule in rule_set.rules}
    used = {name for rule in rule_set.rules for name in rule.only_through}
    used.update(name for checkpoint in rule_set.checkpoints.values() for name in checkpoint.after)
    found = [Problem(resource.where, f"no rule protects the resource {name!r}, so it is open", "write a rule for it")
             for name, resource in rule_set.resources.items() if name not in protected]
    found += [Problem(checkpoint.where, f"no rule accepts the checkpoint {name!r}", "name it in only-through:")
              for name, checkpoint in rule_set.checkpoints.items() if name not in used]
    return found + list(_brokers(rule_set)) + list(_shadowed(rule_set))


def _brokers(rule_set: RuleSet) -> Iterator[Problem]:
    """Report checkpoints whose children keep the stamp and are started for anybody who asks."""
    for name, checkpoint in rule_set.checkpoints.items():
        broker = broker_of(checkpoint.exe) if checkpoint.stamp == "children" else None
        if broker is not None:
            yield Problem(checkpoint.where, f"the checkpoint {name!r} is {broker.name}, and everything that it starts "
                          f"for anybody carries the stamp ({broker.starts})",
                          "write stamp: self, or name the program that it starts as the checkpoint")


def is_absent(folder: str) -> bool:
    """Return whether there is certainly no directory at a path; what cannot be looked at may be one."""
    try:
        os.stat(f"{folder}/.")
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def find_absent_folders(rule_set: RuleSet, is_missing: Callable[[str], bool] = is_absent) -> list[Problem]:
    """Return what is legal and leaves a moment open on this host: paths whose directory does not exist."""
    known: dict[str, bool] = {}
    found = []
    for resource in rule_set.resources.values():
        folders: dict[str, list[str]] = {}
        for path in (*resource.files, *resource.trees, *resource.exec, *resource.devices, *resource.unix):
            if path.startswith("/") and not mount_point(path):
                folders.setdefault(os.path.dirname(path), []).append(path)
        for folder, paths in folders.items():
            if folder not in known:
                known[folder] = is_missing(folder)
            if known[folder]:
                rest = f" and {len(paths) - 1} more in it" if len(paths) > 1 else ""
                found.append(Problem(
                    resource.where, f"there is no directory {folder} on this host, so that {paths[0]}{rest} will not "
                    "be protected from the moment it appears but from the next look of nbspd on",
                    "make the directory first, then: nbsp reload; nbsp status shows such paths as pending"))
    return found


def _limits(rule_set: RuleSet) -> Iterator[Problem]:
    checkpoints = list(rule_set.checkpoints.values())
    if len(checkpoints) > MAX_CHECKPOINTS:
        yield Problem(checkpoints[MAX_CHECKPOINTS].where,
                      f"there are {len(checkpoints)} checkpoints, and {MAX_CHECKPOINTS} is the limit",
                      "from this one on they are too many")
    if len(rule_set.rules) > MAX_RULES:
        yield Problem(rule_set.rules[MAX_RULES].where, f"there are {len(rule_set.rules):,} rules, and {MAX_RULES:,} is "
                      "the limit", "let one rule protect a resource with many entries")
    for rule in rule_set.rules:
        if rule.id in NEXT_STEPS:
            yield Problem(rule.where, f"the id {rule.id!r} is that of a demand of nbspd's own",
                          "give the rule another id")
    entries = 0
    for resource in rule_set.resources.values():
        entries += resource.size
        if entries > MAX_ENTRIES:
            yield Problem(resource.where, f"the resources have more than {MAX_ENTRIES:,} entries",
                          "use trees and networks")
            break
    programs: dict[str, int] = {}
    for checkpoint in checkpoints:
        programs[checkpoint.exe] = programs.get(checkpoint.exe, 0) + 1
        if programs[checkpoint.exe] == MAX_SHARED + 1 and checkpoint.exe:
            yield Problem(checkpoint.where, f"more than {MAX_SHARED} checkpoints are the program {checkpoint.exe}",
                          "let checkpoints with the same conditions be one")


def _cycles(checkpoints: Mapping[str, Checkpoint]) -> Iterator[Problem]:
    """Report checkpoints that wait for one another; each circle once."""
    earnable: set[str] = set()
    waiting = dict(checkpoints)
    while True:
        ready = [name for name, one in waiting.items()
                 if all(other in earnable or other not in checkpoints for other in one.after)]
        if not ready:
            break
        earnable.update(ready)
        for name in ready:
            del waiting[name]
    told: set[str] = set()
    for start in waiting:
        trail: list[str] = []
        name = start
        while name not in trail and name not in told:
            trail.append(name)
            name = next(other for other in waiting[name].after if other in waiting)
        if name in trail:
            circle = trail[trail.index(name):]
            yield Problem(checkpoints[circle[0]].where, "nothing can earn the checkpoints of a circle: "
                          + " after ".join([*circle, circle[0]]), "take one out of after:")
        told.update(trail)


def _lockouts(rule_set: RuleSet) -> Iterator[Problem]:
    for rule in rule_set.rules:
        if rule.mode == "enforce" and not rule.i_understand:
            for path, reason in vital_paths(rule_set.resources[rule.protect]):
                yield Problem(rule.where, f"rule {rule.id!r} protects {path}: {reason}",
                              "protect less, or write i-understand: locks-out-everyone")


def _crowded(meetings: Iterable[Meeting], rules: Sequence[Rule]) -> Iterator[Problem]:
    told: set[frozenset[int]] = set()
    for thing, demands in meetings:
        if len(demands) > CLAUSES and (key := frozenset(demands)) not in told:
            told.add(key)
            names = ", ".join(rules[index].id for index in sorted(demands)[:CLAUSES + 1])
            yield Problem(rules[max(demands)].where, f"more than {CLAUSES} rules meet on {_words(thing)}: {names}",
                          "let fewer rules name more checkpoints")


def _contradictions(meetings: Iterable[Meeting], rules: Sequence[Rule],
                    checkpoints: Mapping[str, Checkpoint]) -> Iterator[Problem]:
    """Report pairs of enforced rules that no process can satisfy together."""
    told: set[tuple[int, int]] = set()
    for thing, demands in meetings:
        several = [index for index in sorted(demands) if rules[index].mode == "enforce" and rules[index].only_through]
        for position, second in enumerate(several):
            for first in several[:position]:
                if (first, second) in told or not demands[first] & demands[second]:
                    continue
                if not any(_can_hold_both(checkpoints[one], checkpoints[other])
                           for one in rules[first].only_through for other in rules[second].only_through):
                    told.add((first, second))
                    yield Problem(rules[second].where, f"rules {rules[first].id!r} and {rules[second].id!r} contradict "
                                  f"each other on {_words(thing)}: no process can come through both",
                                  f"give them a checkpoint in common; the other rule is at {rules[first].where}")


def _can_hold_both(one: Checkpoint, other: Checkpoint) -> bool:
    """Return whether a process can carry both stamps.

    A stamp that is kept by children stays when the child becomes the other checkpoint; one program can be several.
    """
    return one.exe == other.exe or "children" in (one.stamp, other.stamp)


def _starved(overlap: Overlap, rules: Sequence[Rule], checkpoints: Mapping[str, Checkpoint]) -> Iterator[Problem]:
    """Report checkpoints whose own program may be executed only with the stamp that executing it would give."""
    for checkpoint in checkpoints.values():
        for index, access in overlap.at(checkpoint.exe).items():
            rule = rules[index]
            if access & Access.EXEC and rule.mode == "enforce" and not rule.i_understand \
                    and all(checkpoints[name].exe == checkpoint.exe for name in rule.only_through):
                yield Problem(rule.where, f"rule {rule.id!r} also protects {checkpoint.exe}, so that the checkpoint "
                              f"{checkpoint.name!r} can never start",
                              "keep the program outside, or protect only writing with access: [write]")


def _shadowed(rule_set: RuleSet) -> Iterator[Problem]:
    """Report rules that never decide anything that one other rule does not decide at least as strictly."""
    rules = sorted(rule_set.rules, key=lambda rule: rule.id)
    accepts = [frozenset(rule.only_through) for rule in rules]
    makers: dict[int, set[int]] = {}
    for _, demands, own in _objects(Overlap(rules, rule_set.resources, CLAUSES)):
        for index in own:
            if makers.get(index, {-1}):
                stricter = {other for other in demands if other != index and not demands[index] & ~demands[other]
                            and _is_stricter(rules, accepts, other, index)}
                makers[index] = makers.get(index, stricter) & stricter
    for index, others in makers.items():
        if others:
            other = rules[min(others)]
            yield Problem(rules[index].where, f"rule {rules[index].id!r} never decides: {other.id!r} is at least as "
                          "strict on everything it protects", f"take one out; the other is at {other.where}")


def _is_stricter(rules: Sequence[Rule], accepts: Sequence[frozenset[str]], one: int, other: int) -> bool:
    """Return whether a rule leaves another nothing to decide; of two that are alike the first does."""
    strict, loose = rules[one], rules[other]
    if strict.mode == "audit" and loose.mode == "enforce" or not accepts[one] <= accepts[other]:
        return False
    if loose.mode == "enforce" and loose.on_bypass == "kill" and strict.on_bypass == "deny":
        return False
    is_alike = (strict.mode, strict.on_bypass, accepts[one]) == (loose.mode, loose.on_bypass, accepts[other])
    return not is_alike or one < other


def _objects(overlap: Overlap) -> Iterator[tuple[Object, Demands, Iterable[int]]]:
    """Yield every declared object, all demands on it, and the rules that declared it."""
    for path, kind, demands in overlap.paths():
        yield path, demands, overlap.declared(path, kind)
    for proto, network, port, demands, own in overlap.endpoints():
        yield (proto, network, port), demands, own
    for name, demands in overlap.abstracts():
        yield name, demands, demands


def _words(thing: Object) -> str:
    if isinstance(thing, tuple):
        proto, network, port = thing
        return f"{'tcp' if proto == 6 else 'udp'} {spell_network(network)}:{port}"
    return thing if isinstance(thing, str) else f"unix @{thing.decode()}"
