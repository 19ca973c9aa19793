"""Writes initramfs archives (cpio "newc"; Documentation/driver-api/early-userspace/buffer-format.rst of the kernel)."""

from __future__ import annotations

import stat


class Archive:
    """Collects entries; several archives may be put one behind the other."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._known: set[str] = set()
        self._number = 0

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a regular file, and the folders above it."""
        self._parents(path)
        self._entry(path, stat.S_IFREG | mode, content)

    def folder(self, path: str) -> None:
        """Add a folder, and the folders above it."""
        self._parents(f"{path}/.")

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._parents(path)
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path: str, major: int, minor: int) -> None:
        """Add a character device."""
        self._parents(path)
        self._entry(path, stat.S_IFCHR | 0o600, b"", major, minor)

    def content(self) -> bytes:
        """Return the finished archive."""
        parts = b"".join(self._parts) + self._encoded("TRAILER!!!", 0, b"", 0, 0)
        return parts + bytes(-len(parts) % 512)

    def _parents(self, path: str) -> None:
        names = path.split("/")[:-1]
        for depth in range(1, len(names) + 1):
            parent = "/".join(names[:depth])
            if parent not in self._known:
                self._known.add(parent)
                self._entry(parent, stat.S_IFDIR | 0o755, b"")

    def _entry(self, path: str, mode: int, content: bytes, major: int = 0, minor: int = 0) -> None:
        self._parts.append(self._encoded(path, mode, content, major, minor))

    def _encoded(self, path: str, mode: int, content: bytes, major: int, minor: int) -> bytes:
        self._number += 1
        name = path.encode() + b"\0"
        fields = (self._number, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
