"""Where a file lies as the kernel sees it: which superblock, and by which names below that superblock's root.

That is what the programs in the kernel walk: bind mounts, chroot and mount namespaces change what a path looks like and
not this. /proc tells the mount of a descriptor by its number, and mountinfo what part of a superblock a mount shows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..kernel.mounts import Mount, kernel_dev, mounts, parse_mountinfo
from .knowledge import Demands, Knowledge, Object, Protected
from .processes import OpenProcess, parse_fdinfo

Place = tuple[int, str]         # superblock device in the kernel's encoding, path from the superblock's root
DELETED = " (deleted)"
ROOT_DELETED = "//deleted"
# asking one of these for an inode may take for ever: somebody else answers
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "autofs", "gfs2", "ocfs2", "lustre"})

Table = dict[int, Mount]


class MountTables:
    """The mounts of every mount namespace, read once."""

    def __init__(self) -> None:
        self._own = os.readlink("/proc/self/ns/mnt")
        self.own: Table = {mount.id: mount for mount in mounts()}
        self._tables: dict[str, tuple[bool, Table]] = {self._own: (True, self.own)}

    def of(self, process: OpenProcess) -> Table:
        """Return the mounts that a process sees, as paths read by us name them. Raises OSError.

        Paths are read from the root of a namespace, and so a process that is not in a chroot is preferred.
        """
        namespace = process.link("ns/mnt")
        is_whole, table = self._tables.get(namespace, (False, None))
        if table is None or not is_whole and process.link("root") == "/":
            is_whole = process.link("root") == "/"
            table = {mount.id: mount for mount in parse_mountinfo(process.read("mountinfo"))}
            self._tables[namespace] = is_whole, table
        return table


def place_of(path: str, mount: Mount | None) -> Place | None:
    """Return where a path on a mount lies, None when the path does not go through that mount as we see it."""
    if mount is None:
        return None
    point = mount.point.rstrip("/")
    if path != (point or "/") and not path.startswith(point + "/"):
        return None
    root = mount.root.removesuffix(ROOT_DELETED).rstrip("/")
    return mount.dev, (root + path[len(point):]).rstrip("/") or "/"


@dataclass(frozen=True)
class Seen:
    """A path as it is now."""

    objects: tuple[Object, ...]     # by the superblock's device, and by that of stat(2)
    place: Place | None
    mode: int


def look(path: str, table: Table) -> Seen | None:
    """Return what a path leads to, None when there is nothing; it is not opened, so nobody judges this."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(descriptor)
        info = parse_fdinfo(Path(f"/proc/self/fdinfo/{descriptor}").read_text())
        real = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    mount = table.get(info.mount)
    return Seen(objects_of(mount, info.inode, facts), place_of(real, mount), facts.st_mode)


def objects_of(mount: Mount | None, inode: int | None, facts: os.stat_result | None) -> tuple[Object, ...]:
    """Return by what pairs of device and number the daemon may know an inode."""
    found: dict[Object, None] = {}
    number = inode if inode is not None else facts.st_ino if facts is not None else None
    if mount is not None and number is not None:
        found[mount.dev, number] = None
    if facts is not None:
        found[kernel_dev(facts.st_dev), facts.st_ino] = None
    return tuple(found)


class Places:
    """What is protected, found by inode, by name in its superblock, or by the tree around it."""

    def __init__(self, known: Knowledge, table: Table) -> None:
        """`table` are our own mounts; what the rules name is looked at once more, and compared with what is bound."""
        self.known = known
        self.objects = dict(known.objects)
        self.names: dict[Place, Protected] = {}
        self.trees: dict[Place, Protected] = {}
        self.inside: dict[Object, Protected] = {}       # inodes that have a name in a tree, found by walking it
        self.devices = known.devices
        self.moved: list[str] = []          # paths that lead elsewhere than when they were bound
        folders: dict[str, Seen | None] = {}
        for folder, path, name, protected in known.names:
            if path not in folders:
                folders[path] = look(path, table)
            seen = folders[path]
            if seen is None or folder not in seen.objects or seen.place is None:
                self.moved.append(path)
                continue
            place = seen.place[0], os.path.join(seen.place[1], name)
            self.names[place] = protected
            if protected.tree:
                self.trees[place] = protected
        for key, protected in known.objects.items():
            if protected.tree or known.tier == "socket":
                self._look_at(key, protected, table)
        self.superblocks = ({device for device, _ in self.objects} | {device for device, _ in self.names}
                            | {device for device, _ in self.trees})

    def _look_at(self, key: Object, protected: Protected, table: Table) -> None:
        """Tier socket knows inodes by stat alone, whose device lies on some file systems; trees need their place."""
        seen = look(protected.path, table) if protected.path else None
        if seen is None or key not in seen.objects:
            if protected.tree:
                self.moved.append(protected.path)
            return
        for other in seen.objects:
            self.objects.setdefault(other, protected)
        if protected.tree and seen.place is not None:
            self.trees[seen.place] = protected

    def find(self, objects: tuple[Object, ...], place: Place | None) -> tuple[Protected, Demands] | None:
        """Return what a file counts as, and what the rules demand; None when it is not protected."""
        for key in objects:
            protected = self.objects.get(key)
            if protected is not None:
                return protected, protected.own or protected.tree
        if place is not None:
            named = self.names.get(place)
            if named is not None:
                return named, named.own or named.tree
            tree = self._tree_around(place)
            if tree is not None:
                return tree, tree.tree
        for key in objects:
            if key in self.inside:
                return self.inside[key], self.inside[key].tree
        return None

    def _tree_around(self, place: Place) -> Protected | None:
        device, path = place
        if not self.trees:
            return None
        while True:
            found = self.trees.get((device, path))
            if found is not None or path == "/":
                return found
            path = os.path.dirname(path)
