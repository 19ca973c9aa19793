"""Paths on pseudo file systems, known by the path there: a kind of file system and the names from its root down.

Inodes do not do: procfs and its like number them anew, and every namespace may have a superblock of its own. A path
below one of PLACES means that file system wherever and whether or not it is mounted. Pure: hosts are asked in
programs/places.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterator

from .plan import Clauses, merge_clauses

# By the name in mountinfo; include/uapi/linux/magic.h
MAGIC = {"proc": 0x9FA0, "sysfs": 0x62656572, "cgroup2": 0x63677270, "cgroup": 0x27E0EB, "debugfs": 0x64626720,
         "tracefs": 0x74726163, "securityfs": 0x73636673, "bpf": 0xCAFE4A11, "binfmt_misc": 0x42494E4D,
         "efivarfs": 0xDE5E81E4, "configfs": 0x62656570, "pstore": 0x6165676C, "fusectl": 0x65735543,
         "selinuxfs": 0xF97CFF8C, "resctrl": 0x07655821}
# Where systemd mounts them. With several kinds a plain path is on the first; the others have their place further below.
PLACES: dict[str, tuple[str, ...]] = {
    "/proc": ("proc",), "/proc/sys/fs/binfmt_misc": ("binfmt_misc",), "/sys": ("sysfs",),
    "/sys/firmware/efi/efivars": ("efivarfs",), "/sys/fs/bpf": ("bpf",), "/sys/fs/cgroup": ("cgroup2", "cgroup"),
    "/sys/fs/fuse/connections": ("fusectl",), "/sys/fs/pstore": ("pstore",), "/sys/fs/resctrl": ("resctrl",),
    "/sys/fs/selinux": ("selinuxfs",), "/sys/kernel/config": ("configfs",), "/sys/kernel/debug": ("debugfs",),
    "/sys/kernel/debug/tracing": ("tracefs",), "/sys/kernel/security": ("securityfs",),
    "/sys/kernel/tracing": ("tracefs",)}
ANYWHERE = "**"     # as the first name: the one name that follows, in whatever directory


@dataclass(frozen=True)
class Place:
    """A path within a kind of pseudo file system."""

    kind: str
    names: tuple[str, ...] = ()

    @property
    def enclosing(self) -> Iterator["Place"]:
        """Yield the directories above and the place itself, from the root down."""
        for depth in range(len(self.names) + 1):
            yield Place(self.kind, self.names[:depth])


def mount_point(path: str) -> str:
    """Return which of PLACES a path lies on, "" for none."""
    if not path.startswith(("/proc", "/sys")):
        return ""
    while path not in PLACES:
        path = path.rpartition("/")[0]
        if not path:
            return ""
    return path


def places(path: str) -> tuple[Place, ...]:
    """Return what a path means on pseudo file systems that are mounted where they always are; none for other paths."""
    point = mount_point(path)
    if not point:
        return ()
    names = tuple(path[len(point):].split("/")[1:])
    kinds = PLACES[point] if not names or names[0] == ANYWHERE else PLACES[point][:1]
    return tuple(Place(kind, names) for kind in kinds)


def places_below(path: str) -> Iterator[Place]:
    """Yield the roots of the pseudo file systems that are mounted below a directory."""
    for point, kinds in PLACES.items():
        if point.startswith(path.rstrip("/") + "/"):
            yield from (Place(kind) for kind in kinds)


def process_name(path: str) -> str:
    """Return the name below /proc that makes a path one process's own, "" for any other path."""
    if mount_point(path) != "/proc" or path == "/proc":
        return ""
    name = path.split("/")[2]
    return name if name.isdigit() or name in ("self", "thread-self") else ""


@dataclass
class PseudoPaths:
    """What is declared on pseudo file systems, and the demands on each."""

    own: dict[Place, Clauses] = field(default_factory=dict)
    trees: dict[Place, Clauses] = field(default_factory=dict)
    words: dict[Place, str] = field(default_factory=dict)       # as declared

    def add(self, place: Place, path: str, clauses: Clauses, is_tree: bool) -> None:
        """Protect a place, of a tree also all below it."""
        table = self.trees if is_tree else self.own
        table[place] = merge_clauses(table.get(place, ()), clauses)
        self.words.setdefault(place, path)

    def add_conventional(self, path: str, clauses: Clauses, is_tree: bool) -> None:
        """Protect what a path means by convention."""
        for place in (*places(path), *(places_below(path) if is_tree else ())):
            self.add(place, path, clauses, is_tree)

    def clauses(self, place: Place) -> Clauses:
        """Return all demands on a place, as the kernel comes to them.

        A name that is declared wherever it stands has also the demands of every tree on such a file system: too many
        rather than too few.
        """
        return merge_clauses(*(self.trees.get(each, ()) for each in place.enclosing), self.own.get(place, ()),
                             self._anywhere(place))

    def _anywhere(self, place: Place) -> Clauses:
        found = self.own.get(Place(place.kind, (ANYWHERE, *place.names[-1:])))
        if not found:
            return ()
        return merge_clauses(found, *(clauses for tree, clauses in self.trees.items() if tree.kind == place.kind))

    def entries(self) -> Iterator[tuple[Place, Clauses, Clauses]]:
        """Yield each place with the demands on itself and on what is below it."""
        for place in self.own.keys() | self.trees.keys():
            tree = merge_clauses(*(self.trees.get(each, ()) for each in place.enclosing)) \
                if place in self.trees else ()
            yield place, self.clauses(place) if place in self.own else (), tree
