"""Hard links that lead into a tree from outside: a file below it has more names than the tree has."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Iterable

from ..abi import Access
from ..kernel.mounts import kernel_dev
from .finding import Counts, Finding, Holder, Kind
from .knowledge import Knowledge, Object, Protected

NAMES_MAX = 200_000


@dataclass
class Walk:
    """What was seen of the trees."""

    inside: dict[Object, Protected] = field(default_factory=dict)
    linked: dict[Object, tuple[str, int, int, Protected]] = field(default_factory=dict)    # name, links, names seen
    notes: list[str] = field(default_factory=list)


def walk_trees(known: Knowledge, trees: Iterable[Protected], own_stamps: frozenset[str], counts: Counts,
               names_max: int = NAMES_MAX) -> Walk:
    """Look at every name in the trees, up to a bound; `own_stamps` are ours.

    Where the rules keep us out as they keep out everybody, nothing is tried: it would be one more bypass, or kill us.
    """
    walk = Walk()
    seen: set[str] = set()
    for tree in sorted(trees, key=lambda one: one.path):
        if any(tree.path == path or tree.path.startswith(path.rstrip("/") + "/") for path in seen):
            continue
        seen.add(tree.path)
        unmet = known.unmet(tree.tree, int(Access.READ), own_stamps)
        if known.tier != "socket" and unmet:
            walk.notes.append(f"hard links into {tree.path}: rule {unmet[0].id} keeps this command out, too; "
                              f"through a checkpoint: find {tree.path} -type f -links +1")
            continue
        if not walk_one(walk, tree, counts, names_max):
            walk.notes.append(f"hard links into {tree.path}: only the first {names_max:,} names were looked at; "
                              f"for all: find {tree.path} -type f -links +1")
    return walk


def walk_one(walk: Walk, tree: Protected, counts: Counts, names_max: int) -> bool:
    """Look at the names of one tree; return whether these were all. What is mounted below is a tree of its own."""
    try:
        device = os.stat(tree.path).st_dev
    except OSError:
        return True         # not there: nothing has a name in it
    folders = [tree.path]
    left = names_max
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        return False
                    counts.names += 1
                    look_at_name(walk, tree, entry, device, folders)
        except FileNotFoundError:
            continue
        except OSError as error:
            walk.notes.append(f"hard links into {folder}: {error.strerror}")
    return True


def look_at_name(walk: Walk, tree: Protected, entry: os.DirEntry[str], device: int, folders: list[str]) -> None:
    """Note one name."""
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if facts.st_dev != device:
        return
    if stat.S_ISDIR(facts.st_mode):
        folders.append(entry.path)
        return
    key = kernel_dev(facts.st_dev), facts.st_ino
    walk.inside[key] = tree
    if facts.st_nlink > 1 and not stat.S_ISLNK(facts.st_mode):
        name, _, count, _ = walk.linked.get(key, (entry.path, 0, 0, tree))
        walk.linked[key] = name, facts.st_nlink, count + 1, tree


def link_findings(known: Knowledge, walk: Walk) -> list[Finding]:
    """Return the files that have names outside."""
    found = []
    for (_, number), (name, links, count, tree) in walk.linked.items():
        if links <= count:
            continue
        rules = known.unmet(tree.tree, 0xFF, ())
        found.append(Finding(
            Kind.HARD_LINK, Holder(), f"{name} has {links} names, and {count} of them in {tree.path}", path=name,
            resource=", ".join(dict.fromkeys(rule.resource for rule in rules)), rules=tuple(rule.id for rule in rules),
            only_through=tuple(dict.fromkeys(one for rule in rules for one in rule.only_through)),
            remedy=f"find the other names and remove them: find / -xdev -inum {number}"))
    return found
