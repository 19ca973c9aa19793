"""A place of our own on this machine: a network namespace, a cgroup, a folder; all gone when it is left.

    <cgroup-v2 root>/NAME/          everything that we start, so that one write kills it
    <cgroup-v2 root>/NAME/guarded   what the daemon under test judges
    /sys/fs/bpf/NAME                its pins
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Iterator

from .. import conftest

assert conftest.ROOT

from nbspd.kernel import bpf, mounts     # noqa: E402  (the line above makes nbspd importable)
from nbspd.paths import Settings         # noqa: E402

CLONE_NEWNET = 0x40000000
FREED_WITHIN_S = 10.0
MS_NOSUID, MNT_DETACH = 2, 2
NS = "/proc/thread-self/ns/net"
LEAVING_TIMEOUT_MS = 20_000
LIBC = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


class Network:
    """A network namespace that lives as long as this object or a process in it."""

    def __init__(self) -> None:
        self.home = os.open(NS, os.O_RDONLY)
        _check(LIBC.unshare(CLONE_NEWNET), "making a network namespace")
        try:
            self.fd = os.open(NS, os.O_RDONLY)
        finally:
            self.join(self.home)

    def join(self, fd: int | None = None) -> None:
        """Move this thread into the namespace, or into another; for a child between fork and exec."""
        _check(LIBC.setns(self.fd if fd is None else fd, CLONE_NEWNET), "entering a network namespace")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Work inside for a while: sockets made now belong there for ever."""
        self.join()
        try:
            yield
        finally:
            self.join(self.home)

    def run(self, *argv: str) -> None:
        """Run a command inside. Raises CalledProcessError."""
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, preexec_fn=self.join)

    def up(self) -> None:
        """Switch the loopback device on."""
        self.run("ip", "link", "set", "lo", "up")

    def close(self) -> None:
        """Let go."""
        os.close(self.fd)
        os.close(self.home)


class Cgroup:
    """A cgroup of the v2 tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def join(self) -> None:
        """Move this process there; for a child between fork and exec."""
        (self.path / "cgroup.procs").write_text("0")

    def processes(self) -> list[int]:
        """Return who is there or below."""
        return [int(pid) for file in (self.path / "cgroup.procs", *self.path.glob("*/cgroup.procs"))
                for pid in file.read_text().split()]

    def remove(self) -> None:
        """Kill everything in it and remove it."""
        remove_cgroup(self.path)


def remove_cgroup(path: Path) -> None:
    """Kill everything in a cgroup and below, wait until it is gone, and remove the folders."""
    if not path.is_dir():
        return
    if (path / "cgroup.kill").exists():             # since Linux 5.14
        (path / "cgroup.kill").write_text("1")
    with open(path / "cgroup.events", encoding="ascii") as events:
        changes = select.poll()
        changes.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            if not changes.poll(LEAVING_TIMEOUT_MS):
                raise TimeoutError(f"there are still processes in {path}")
            events.seek(0)
    for folder in (*path.glob("*/"), path):
        folder.rmdir()


def remove_pins(path: Path) -> None:
    """Unpin everything below a folder; the kernel drops what nobody else holds."""
    if path.is_dir():
        for folder in sorted(path.iterdir()):       # links before maps
            for pin in folder.iterdir() if folder.is_dir() else ():
                pin.unlink()
            folder.rmdir() if folder.is_dir() else folder.unlink()
        path.rmdir()


class Place:
    """Everything above, entered and left as a context."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> "Place":
        if os.geteuid() != 0:
            raise PermissionError("loading programs into the kernel needs root; run it with sudo")
        self.lock = socket.socket(socket.AF_UNIX)
        try:
            self.lock.bind(f"\0{self.name}")
        except OSError as error:
            raise RuntimeError(f"another {self.name} is running on this machine; wait until it ends") from error
        self.pins = mounts.BPFFS / self.name
        self.root = mounts.cgroup2_root() / self.name
        self.leave_nothing()                        # of one that was killed
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        try:
            # a file system of its own, whatever a container has at /tmp: stat lies on overlayfs
            _check(LIBC.mount(b"tmpfs", bytes(self.folder), b"tmpfs", MS_NOSUID, b"mode=755"), "mounting a tmpfs")
            self.cgroup, self.guarded = Cgroup(self.root), Cgroup(self.root / "guarded")
            self.network = Network()
            self.network.up()
        except BaseException:
            self.leave_nothing()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)     # a second Ctrl-C does not stop the sweeping
        try:
            self.leave_nothing()
            self.network.close()
            self.lock.close()
        finally:
            signal.signal(signal.SIGINT, before)

    def leave_nothing(self) -> None:
        """Remove processes, pins, cgroup and folder."""
        remove_cgroup(self.root)
        remove_pins(self.pins)
        for folder in Path(tempfile.gettempdir()).glob(f"{self.name}-????????"):
            LIBC.umount2(bytes(folder), MNT_DETACH)
            shutil.rmtree(folder, ignore_errors=True)

    def enter_guarded(self) -> None:
        """Move this process where it is judged; for a child between fork and exec."""
        self.guarded.join()
        self.network.join()

    def settings(self) -> Settings:
        """Return the settings of a daemon here."""
        return Settings(rules=self.folder / "rules.d", state=self.folder / "state", runtime=self.folder / "run",
                        pins=self.pins, cgroup=self.guarded.path)


class Pinned:
    """The ids of what is pinned below a folder now, to ask later whether the kernel still has it."""

    def __init__(self, pins: Path) -> None:
        self.links: set[int] = set()
        self.programs: set[int] = set()
        self.maps: set[int] = set()
        for pin in pins.glob("*/*"):
            fd = bpf.obj_get(pin)
            try:
                info = bpf.obj_info(fd)
            finally:
                os.close(fd)
            if isinstance(info, bpf.LinkInfo):
                self.links.add(info.id)
                self.programs.add(info.prog_id)
            elif isinstance(info, bpf.ProgInfo):
                self.programs.add(info.id)
            else:
                self.maps.add(info.id)

    def left(self, *kinds: str) -> list[str]:
        """Return in words what is still there, of all kinds or of some (link, program, table).

        The kernel frees what nobody holds a little later.
        """
        deadline = time.monotonic() + FREED_WITHIN_S
        while True:
            found = [f"{what} {number}" for what, mine, there in (
                ("link", self.links, bpf.link_ids()), ("program", self.programs, bpf.prog_ids()),
                ("table", self.maps, bpf.map_ids())) if what in (kinds or what)
                     for number in sorted(mine & set(there))]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)
