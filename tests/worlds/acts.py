"""Makes up acts that a file system has nothing against, and does them in the model of it."""

from __future__ import annotations

from random import Random
from typing import Mapping, Sequence

from .declare import TCP_PORTS, UDP_PORTS
from .layout import Layout, Node, parent
from .model import OPENS

ADDRESSES = ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "10.77.1.1",
             "10.77.2.1", "::ffff:10.77.1.1", "fd77::1")
INET = ("tcp", "udp", "say", "send")
UNIX = ("stream", "dgram", "post")
FILES = ("read", "read", "read", "write", "write", "rdwr", "list", "create", "create", "map", "unlink", "mkdir",
         "rmdir", "chmod", "truncate", "setxattr", "symlink", "rename", "rename", "rename", "exchange", "link", "link")
FIXED = ("bin", "run", "free")      # folders that stay


class Acts:
    """What can be done in a layout; `links` are symbolic links by what they point to, `sockets` names by kind."""

    def __init__(self, random: Random, layout: Layout, links: Mapping[str, str], sockets: Mapping[str, Sequence[str]],
                 has_files: bool, has_unix: bool) -> None:
        self._random, self.layout, self._links, self._sockets = random, layout, links, sockets
        self._has_files = has_files
        self.verbs = ("exec",) * (2 if has_files else 3) + INET * (1 if has_files else 2) + (
            UNIX if has_unix else ()) + (FILES if has_files else ())
        self._count = 0

    # -- choosing

    def choose(self, is_root: bool) -> tuple[str, ...] | None:
        """Return a verb and its names, an act that would succeed if nobody forbade it; None when none was found."""
        verb = self._random.choice(self.verbs)
        if verb == "chmod" and not is_root:
            return None
        names = self._names(verb)
        return None if None in names or not self._makes_sense(verb, names) else (verb, *map(str, names))

    def _names(self, verb: str) -> tuple[str | None, ...]:
        layout, random = self.layout, self._random
        if verb in INET:
            return random.choice(ADDRESSES), str(random.choice(TCP_PORTS if verb == "tcp" else UDP_PORTS))
        if verb in UNIX:
            return self._one(self._sockets["stream" if verb == "stream" else "dgram"]),
        if verb == "exec":
            return self._one([path for path in layout.paths("program") if not self._is_checkpoint(path)]),
        if verb == "list":
            return self._one(self._folders()),
        if verb in OPENS:
            return self._one(self._files("device")),
        if verb in ("create", "mkdir"):
            return self._new(),
        if verb == "symlink":
            return "/nowhere", self._new()
        if verb == "rmdir":
            return self._one([path for path in self._folders() if not layout.below(path)]),
        if verb == "rename":
            old = self._one([*self._files("device", "symlink"), *self._folders()])
            is_over = old is not None and layout.places[old].kind != "folder" and random.random() < 0.4
            return old, self._one(self._files("device")) if is_over else self._new()
        if verb == "exchange":
            return self._one(self._files()), self._one(self._files())
        if verb == "link":
            return self._one(self._files()), self._new()
        return self._one(self._files()),

    def _one(self, paths: Sequence[str]) -> str | None:
        return self._random.choice(paths) if paths else None

    def _is_checkpoint(self, path: str) -> bool:
        return parent(path) == f"{self.layout.base}/bin"

    def _folders(self) -> list[str]:
        return [path for path in self.layout.paths("folder") if path.rpartition("/")[2] not in FIXED]

    def _files(self, *more: str) -> list[str]:
        return [path for path in self.layout.paths("file", "program", *more) if not self._is_checkpoint(path)]

    def _new(self) -> str:
        """Return a name that nothing has, now and then a declared one that waits for something."""
        layout = self.layout
        waiting = [path for path in layout.declared if path not in layout.places and parent(path) in layout.places
                   and layout.is_sure(path)]
        if waiting and self._random.random() < 0.4:
            return self._random.choice(waiting)
        self._count += 1
        return f"{self._random.choice([*self._folders(), f'{layout.base}/free'])}/a{self._count}"

    def _makes_sense(self, verb: str, names: Sequence[str | None]) -> bool:
        if verb not in ("rename", "exchange", "link"):
            return True
        old, new = map(str, names)
        is_same = self.layout.at(old) is self.layout.at(new)    # renaming a file to itself does nothing
        return not is_same and not new.startswith(f"{old}/")

    # -- doing

    def is_clear(self, verb: str, names: Sequence[str]) -> bool:
        """Return whether what follows from the act does not depend on when nbspd looks at the names again."""
        layout = self.layout
        if verb in ("create", "mkdir"):
            return layout.fits(names[0], "file" if verb == "create" else "folder")
        if verb == "symlink":
            return layout.fits(names[1], "symlink")
        if any(node is not None and node.kind == "device" and node.declared for node in map(layout.at, names)):
            return verb in OPENS        # without a node at the declared name, nobody knows the number
        if verb in ("unlink", "rmdir"):
            return not layout.has_declared_below(names[0])
        if verb not in ("rename", "exchange", "link"):
            return True
        return self._is_clear_change(verb, *names)

    def _is_clear_change(self, verb: str, old: str, new: str) -> bool:
        layout = self.layout
        node, over = layout.places[old], layout.at(new)
        if not layout.fits(new, node.kind) or layout.has_declared_below(old):
            return False
        if verb == "link":      # an inode with two declared names is merged at the next look, and not before
            return new not in layout.declared if node.declared else old not in layout.declared
        if not layout.is_steady(old) or over is not None and not layout.is_steady(new):
            return False
        return verb == "rename" or over is not None and layout.fits(old, over.kind)

    def take_place(self, verb: str, names: Sequence[str]) -> None:
        """Do an act in the layout."""
        layout = self.layout
        if verb in ("create", "mkdir"):
            layout.places[names[0]] = Node("file" if verb == "create" else "folder")
        elif verb == "symlink":
            layout.places[names[1]] = Node("symlink")
        elif verb in ("unlink", "rmdir"):
            layout.remove(names[0])
        elif verb == "rename":
            layout.move(*names)
        elif verb == "exchange":
            layout.exchange(*names)
        elif verb == "link":
            layout.link(*names)
        elif verb == "truncate" and layout.places[names[0]].kind == "program":
            layout.places[names[0]].kind = "file"       # nobody can execute it now

    def spell(self, name: str) -> str:
        """Return a name, or now and then another way to the same."""
        if not name.startswith(self.layout.base) or not self._has_files or self._random.random() < 0.6:
            return name
        for target, link in self._links.items():
            if name.startswith(f"{target}/") and target in self.layout.places:
                return link + name[len(target):]
        folder, _, last = name.rpartition("/")
        return self._random.choice((f"/proc/self/root{name}", name.replace("/", "//", 2), f"{folder}/./{last}",
                                    f"{folder}/../{folder.rpartition('/')[2]}/{last}"))
