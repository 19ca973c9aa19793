"""The files of a world as a model: names, what stands at them, and by which declared path the kernel knows an inode.

nbspd looks at names when rules are applied, and again a moment after a declared name has changed. What an inode is
protected as in between may depend on that moment: such a node is `unsure` until the next look, and no act touches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

KINDS = {"folder": ("tree",), "file": ("file", "exec"), "program": ("file", "exec"), "device": ("device",),
         "socket": ("unix",), "symlink": ()}     # what each can be declared as


@dataclass(eq=False)
class Node:
    """An inode."""

    kind: str               # a word of KINDS
    minor: int = 0          # of a device
    declared: str = ""      # the declared path that protects it, by whatever name it is reached
    is_unsure: bool = False


def parent(path: str) -> str:
    """Return the folder of a path."""
    return path.rpartition("/")[0]


class Layout:
    """Names and what stands at them."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.places: dict[str, Node] = {base: Node("folder")}
        self.declared: dict[str, str] = {}      # path -> kind, as a plan has them

    def at(self, path: str) -> Node | None:
        """Return what stands at a name."""
        return self.places.get(path)

    def names(self, node: Node) -> list[str]:
        """Return the names of a node."""
        return [path for path, one in self.places.items() if one is node]

    def paths(self, *kinds: str) -> list[str]:
        """Return the names of nodes of some kinds that acts may touch."""
        return [path for path, node in self.places.items() if node.kind in kinds and self.is_sure(path)]

    def below(self, path: str) -> list[str]:
        """Return the names below a folder."""
        return [one for one in self.places if one.startswith(f"{path}/")]

    def is_sure(self, path: str) -> bool:
        """Return whether nothing at a name or above it is unsure."""
        while path != self.base:
            node = self.places.get(path)
            if node is not None and node.is_unsure:
                return False
            path = parent(path)
        return True

    def has_declared_below(self, path: str) -> bool:
        """Return whether a name below a folder is declared: without the folder it waits for the next look."""
        return any(one.startswith(f"{path}/") for one in self.declared)

    def fits(self, path: str, kind: str) -> bool:
        """Return whether a node of some kind may stand at a name; nbspd would refuse the rules otherwise."""
        return path not in self.declared or self.declared[path] in KINDS[kind]

    def is_steady(self, path: str) -> bool:
        """Return whether the node at a name may leave it without doubt: no other name of it is the declared one."""
        node = self.places[path]
        return node.declared in ("", path)

    def look(self, declared: Mapping[str, str]) -> None:
        """Bind all names anew, as a reload does."""
        self.declared = dict(declared)
        for node in self.places.values():
            node.declared, node.is_unsure = "", False
        for path in declared:
            if path in self.places:
                self.places[path].declared = path

    # what acts do

    def remove(self, path: str) -> None:
        """Take a name away."""
        node = self.places.pop(path)
        if self._was_declared(node, path):
            node.is_unsure = True       # by another name, if it has one

    def move(self, old: str, new: str) -> None:
        """Rename, over what stands there."""
        if new in self.places:
            self.remove(new)
        node = self.places[old]
        for path in [old, *self.below(old)]:
            self.places[new + path[len(old):]] = self.places.pop(path)
        self._arrive(node, old, new)

    def exchange(self, one: str, other: str) -> None:
        """Let two nodes change names."""
        first, second = self.places[one], self.places[other]
        self.places[one], self.places[other] = second, first
        self._arrive(first, one, other)
        self._arrive(second, other, one)

    def link(self, old: str, new: str) -> None:
        """Give a node one more name."""
        node = self.places[new] = self.places[old]
        if new in self.declared:
            node.declared = new

    def _was_declared(self, node: Node, path: str) -> bool:
        return node.declared == path or path in self.declared

    def _arrive(self, node: Node, old: str, new: str) -> None:
        """An inode that takes over a declared name is protected as that at once, by whatever name."""
        if new in self.declared:
            node.declared = new
        elif self._was_declared(node, old):
            node.is_unsure = True
