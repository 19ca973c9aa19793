"""Folders that are built once and named after what went into them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KEPT_UNUSED_S = 14 * 86400


def cache_folder() -> Path:
    """Return the cache: $NBSPD_LAB_CACHE, else one outside of the checkout, so that clones share it."""
    folder = Path(os.environ.get("NBSPD_LAB_CACHE") or "/var/cache/nbspd-lab")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(*inputs: str | Path) -> str:
    """Return twelve hexadecimal digits for these texts and these files' contents."""
    total = hashlib.sha256()
    for item in inputs:
        content = item.read_bytes() if isinstance(item, Path) else item.encode()
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:12]


def say(text: str) -> None:
    """Tell the person at the terminal what the lab is busy with."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def built(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cached folder `name`; `build(folder)` fills a temporary one, renamed only when it is whole."""
    final = cache_folder() / name
    with open(cache_folder() / f"{name.split('-')[0]}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            os.utime(final)
            return final
        say(f"building {name} (once; kept in {cache_folder()})")
        begin = time.monotonic()
        work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=cache_folder()))
        try:
            build(work)
            work.chmod(0o755)
            work.rename(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        say(f"built {name} in {time.monotonic() - begin:.0f} s")
        _forget(name.rsplit("-", 1)[0])
        return final


def _forget(kind: str) -> None:
    """Remove what of this kind nobody has used for two weeks."""
    for folder in cache_folder().glob(f"{kind}-*"):
        if folder.is_dir() and folder.stat().st_mtime < time.time() - KEPT_UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)
