"""What guests compiled, kept for the next one: under emulation clang takes a minute or two.

A file's name is nbspd's own digest of sources, kernel and options, worked out inside of the guest; so what was made
from another checkout is never asked for, and what is damaged nbspd throws away. The first guest of a kind finds nothing
here, compiles, and what it made is fetched; with NBSPD_LAB_COMPILE=1 every guest compiles.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .cache import cache_folder, say

if TYPE_CHECKING:
    from .guest import Guest

FOLDER = "/var/lib/nbspd/compiled"
GIVEN = 6       # of the newest, for a kernel: two checkouts in three tiers
KEPT = 24
NAME = re.compile(r"[0-9a-f]{16}")


def give(guest: Guest) -> None:
    """Put what earlier guests with this kernel compiled where nbspd looks for it, before it starts."""
    if os.environ.get("NBSPD_LAB_COMPILE"):
        return
    files = sorted((path for path in _folder(guest).iterdir() if NAME.fullmatch(path.name)),
                   key=lambda path: path.stat().st_mtime, reverse=True)
    guest.run(f"mkdir -p -m 700 /var/lib/nbspd {FOLDER}", 30, check=True)
    for path in files[:GIVEN]:
        guest.put(f"{FOLDER}/{path.name}", path.read_bytes(), 0o600)


def fetch(guest: Guest) -> None:
    """Keep what this guest compiled."""
    folder = _folder(guest)
    for name in guest.run(f"ls {FOLDER} 2>/dev/null").output.split():
        if not NAME.fullmatch(name) or (folder / name).exists():
            continue
        content = guest.get(f"{FOLDER}/{name}").encode()
        title, _, body = content.partition(b"\n")
        if title.endswith(b" " + hashlib.sha256(body).hexdigest().encode()):     # it came whole
            temporary = folder / f".{os.getpid()}"
            temporary.write_bytes(content)
            temporary.replace(folder / name)
            say(f"keeping the compiled programs {name}")
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        path.unlink(missing_ok=True)


def _folder(guest: Guest) -> Path:
    release = guest.run("uname -r", check=True).output.strip()
    folder = cache_folder() / f"compiled-{release}"
    folder.mkdir(exist_ok=True)
    return folder
