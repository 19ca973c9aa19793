"""What a drill leaves on a host: nothing, and how that is made sure of."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..errors import HostError
from ..kernel.mounts import cgroup2_root, mounts

RUN = Path("/run")
PREFIX = "nbspd-drill-"


@contextmanager
def undisturbed() -> Iterator[None]:
    """Tidy up to the end: a second Ctrl-C does not stop it. In the main thread only, as signals are."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def clear_folder(folder: Path) -> None:
    """Unmount everything below a drill's folder and remove it."""
    for mount in sorted((mount.point for mount in mounts() if mount.point.startswith(f"{folder}/")), key=len,
                        reverse=True):
        quiet("umount", mount) or quiet("umount", "--lazy", mount)
    shutil.rmtree(folder, ignore_errors=True)


def traces(folder: Path) -> Iterator[str]:
    """Yield whatever of a drill can still be found on this host."""
    if folder.exists():
        yield f"the folder {folder}"
    yield from (f"the mount {mount.point}" for mount in mounts() if mount.point.startswith(str(folder)))
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if backing.read_text().startswith(str(folder)):
                yield f"the loop device {backing.parts[3]}"
        except OSError:
            continue        # it went away meanwhile
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.readlink(process / "exe").startswith(str(folder)):
                yield f"process {process.name}"
        except OSError:
            continue
    yield from (f"the interface {name}" for _, name in socket.if_nameindex() if name.startswith("nbspdrill"))
    try:
        yield from (f"the cgroup {path}" for path in cgroup2_root().glob(f"{PREFIX}*"))
    except (HostError, OSError):
        return


def quiet(*command: str) -> bool:
    """Run a command without a word and return whether it succeeded."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False
