"""Where a path lies on a pseudo file system of this host, by its mounts alone: asking opens and mounts nothing."""

from __future__ import annotations

import os
from pathlib import Path

from ..kernel.mounts import Mount, mount_of
from ..rules.pseudo import ANYWHERE, MAGIC, PLACES, Place, mount_point


class Lookup:
    """Looks paths up in a table of mounts."""

    def __init__(self, table: tuple[Mount, ...]) -> None:
        self._table = table
        self._points = tuple(mount.point.rstrip("/") + "/" for mount in table if mount.fstype in MAGIC)

    def real(self, path: str) -> str:
        """Return a path without symbolic links. One that nothing is mounted for yet stays: looking would mount it."""
        if f"/{ANYWHERE}/" in path or self.is_waiting(path):
            return path
        return os.path.realpath(path)

    def is_waiting(self, path: str) -> bool:
        """Return whether a path lies where a pseudo file system belongs that is not mounted."""
        point = mount_point(path)
        return bool(point) and self._mount(path).fstype not in PLACES[point]

    def place(self, path: str) -> Place | None:
        """Return what a path is on the pseudo file system that is mounted there, None when none is."""
        if not f"{path}/".startswith(self._points):     # nearly all there are
            return None
        mount = self._mount(path.partition(f"/{ANYWHERE}/")[0])
        if mount.fstype not in MAGIC:
            return None
        if f"/{ANYWHERE}/" in path:
            return Place(mount.fstype, (ANYWHERE, os.path.basename(path)))
        below = os.path.relpath(path, mount.point)
        names = os.path.normpath(os.path.join(mount.root, below)).split("/")
        return Place(mount.fstype, tuple(name for name in names if name not in ("", ".")))

    def _mount(self, path: str) -> Mount:
        return mount_of(Path(path), self._table)
