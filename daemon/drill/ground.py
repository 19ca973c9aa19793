"""The ground of a drill: a file system, programs and servers of its own, thrown away afterwards.

    /run/nbspd-drill-XXXXXXXX/        mode 755
        image                         ext4, on a loop device (where there is none: a tmpfs without it)
        disk/                         its mount; every superblock that the drill makes guarded is this one
            bin/attempt checkpoint bastion foreign.so
            N/g/                      what one attempt is after: file, tree, tool, script, sockets
            N/d/                      a decoy of each
            N/c/own                   a checkpoint for this attempt alone
            N/s/                      its folder for what it makes
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Mapping

from ..errors import HostError
from ..kernel.mounts import cgroup2_root, mounts
from .attempt import Attempt
from .server import Server
from .stage import Monitor, Stage, facts
from .traces import PREFIX, RUN, clear_folder, quiet, traces, undisturbed

LOCK = RUN / "nbspd-drill.lock"
IMAGE_BYTES = 256 << 20         # sparse
PLACEHOLDER = b"nbsp-attempt-reveals-this-placeholder"
REVEALED_MAX = 63
UNUSED_ID = 64777               # uid and gid of nobody at all, for what is tried as an ordinary user
BUILT = Path(__file__).resolve().parents[2] / "build/drill"     # of a checkout
INSTALLED = Path("/usr/lib/nbspd")
TREE = {"tree", "in_tree", "tool_in_tree"}      # placeholders that stand for something in the tree
# files of the kernel that nobody minds being kept from writing for a minute, and the option that sets one
KNOBS = {"knob": "/proc/sys/kernel/domainname", "sysfs_knob": "/sys/kernel/rcu_expedited",
         "agent": "/sys/fs/cgroup/**/release_agent"}
INTERPRETED = {"with=python3": 'print("{}")\n', "with=perl": 'print("{}\\n");\n'}


def programs() -> tuple[Path, Path]:
    """Return nbsp-attempt and its library: the checkout's, else the installed ones. Raises HostError."""
    for folder in (BUILT, INSTALLED):
        found = folder / "nbsp-attempt", folder / "nbsp-foreign"
        if all(path.exists() for path in found):
            return found
    raise HostError("nbsp-attempt is not there", "install the package nbspd, or in a checkout: make drill")


class Ground:
    """Made when entered, gone without a trace when left."""

    def __init__(self) -> None:
        self.key = secrets.token_hex(8)
        self.server = Server(self.key)
        self.stages = 0
        self.idle: subprocess.Popen[bytes] | None = None
        self.folder = Path()
        self.disk = Path()
        self.words: dict[str, str] = dict(KNOBS)

    def __enter__(self) -> Ground:
        if os.geteuid() != 0:
            raise HostError("a drill needs root: it tries what root may try, too", "sudo nbsp drill")
        self.take_lock()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=RUN))
        try:
            self.folder.chmod(0o755)
            self.mount_disk()
            self.fill_disk()
            self.open_ports()
            self.server.start()
        except BaseException:
            self.clear()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        with undisturbed():
            self.clear()

    # -- making

    def take_lock(self) -> None:
        """Make sure that this is the only drill, and clear away what one that was killed has left. Raises HostError."""
        self.lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self.lock)
            raise HostError("another drill runs on this host", "wait until it ends") from error
        for folder in RUN.glob(f"{PREFIX}????????"):
            clear_folder(folder)

    def mount_disk(self) -> None:
        """Mount a file system of our own: ext4 on a loop device, else tmpfs."""
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        image = self.folder / "image"
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        made = quiet("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-N", "65536", "-E", "nodiscard", str(image))
        is_looped = made and quiet("mount", "-o", "loop", str(image), str(self.disk))
        if not is_looped and not quiet("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self.disk)):
            raise HostError(f"neither a loop device nor a tmpfs can be mounted at {self.disk}", "see: dmesg | tail")
        source = next(mount.source for mount in mounts() if mount.point == str(self.disk))
        missing = str(self.folder / "no-loop-device")
        self.words |= {"mounted": str(self.disk), "image": str(image) if is_looped else missing,
                       "device": source if is_looped else missing}
        self.disk.chmod(0o755)

    def fill_disk(self) -> None:
        """Copy the programs, so that each is an inode of its own."""
        program, library = programs()
        folder = self.disk / "bin"
        folder.mkdir(mode=0o755)
        for name in ("attempt", "checkpoint", "bastion"):
            shutil.copyfile(program, folder / name)
            (folder / name).chmod(0o755)
            self.words[name] = str(folder / name)
        shutil.copyfile(library, folder / "foreign.so")     # of the ordinary user, in a folder that is not the system's
        os.chown(folder / "foreign.so", UNUSED_ID, UNUSED_ID)
        self.words["library"] = str(folder / "foreign.so")
        self.attempt = program.read_bytes()
        if self.attempt.count(PLACEHOLDER) != 1:
            raise HostError(f"{program} has not exactly one placeholder", "build it again: make")

    def open_ports(self) -> None:
        """Listen everywhere."""
        server = self.server
        for name, kind in (("tcp", socket.SOCK_STREAM), ("open_tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM),
                           ("open_udp", socket.SOCK_DGRAM)):
            self.words[name] = str(server.ports(kind, not name.startswith("open_")))
        self.words["vsock"] = str(server.vsock())
        for name, kind in (("abstract", socket.SOCK_STREAM), ("abstract_dgram", socket.SOCK_DGRAM)):
            self.words[name] = f"@{self.folder.name}-{name}"
            server.unix(self.words[name], kind)
        try:
            self.words["cgroup"] = str(cgroup2_root())
        except (HostError, OSError):
            self.words["cgroup"] = str(self.folder / "no-cgroup")

    # -- one attempt's part

    def stage(self, attempt: Attempt, is_protected: bool = True) -> Stage:
        """Make what one attempt is tried on."""
        self.stages += 1
        secret = f"nbspd-drill-{self.stages:05d}-{self.key}"
        token = f"token-{self.stages:05d}-{self.key}"
        folder = self.disk / str(self.stages)
        goal, decoy, checkpoint, scratch = (folder / name for name in ("g", "d", "c", "s"))
        wanted = attempt.placeholders
        # a decoy has as many letters as its target
        words = {**self.words, "secret": secret, "token": token, "mark": secret[:18], "scratch": str(scratch),
                 "uid": str(UNUSED_ID), "gid": str(UNUSED_ID), "file": str(goal / "file"), "tool": str(goal / "tool"),
                 "script": str(goal / "script"), "tree": str(goal / "tree"), "in_tree": str(goal / "tree/in/file"),
                 "tool_in_tree": str(goal / "tree/in/tool"), "later": str(goal / "later/file"),
                 "stream": str(goal / "stream"), "dgram": str(goal / "dgram"), "seqpacket": str(goal / "seqpacket"),
                 "decoy": str(decoy / "file"), "decoy_tool": str(decoy / "tool"), "own": str(checkpoint / "own")}
        for path in (folder, goal, decoy, checkpoint, scratch):
            path.mkdir()
        self.fill(folder, wanted, words, attempt, is_protected)
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                os.chown(path, UNUSED_ID, UNUSED_ID)
                path.chmod(0o777 if path.is_dir() or stat.S_IMODE(path.stat().st_mode) & 0o100 else 0o666)
        watched = (goal, *goal.rglob("*"), checkpoint, *checkpoint.rglob("*"))
        holders = frozenset((goal, checkpoint))
        command = tuple(word.format_map(words) for word in attempt.command)

        def declared(*names: str) -> tuple[str, ...]:
            return tuple(words[name] for name in names if name in wanted) if is_protected else ()

        return Stage(command, secret.encode(), token, scratch, is_protected, declared("file", "later"),
                     (words["tree"],) if is_protected and wanted & TREE else (),
                     declared("tool", "script"), declared("stream", "dgram", "seqpacket"),
                     words["own"] if "own" in wanted else "", {path: facts(path, path in holders) for path in watched},
                     holders, declared("knob", "sysfs_knob", "agent"))

    def fill(self, folder: Path, wanted: frozenset[str], words: Mapping[str, str], attempt: Attempt,
             is_protected: bool) -> None:
        """Make the files, programs and sockets that a command names."""
        secret = words["secret"]
        if "file" in wanted:
            self.fill_file(Path(words["file"]), secret)
        if wanted & TREE:
            (folder / "g/tree/in").mkdir(parents=True)
            (folder / "g/tree/empty").mkdir()
            self.fill_file(Path(words["in_tree"]), secret)
        if "decoy" in wanted:
            Path(words["decoy"]).write_text("decoy\n")
        for name, shown in (("tool", secret), ("tool_in_tree", secret), ("decoy_tool", "decoy")):
            if name in wanted:
                replaced = shown.encode().ljust(len(PLACEHOLDER), b"\0")
                if len(replaced) > REVEALED_MAX:
                    raise AssertionError(f"{shown} is too long to be revealed")
                Path(words[name]).write_bytes(self.attempt.replace(PLACEHOLDER.ljust(len(replaced), b"\0"), replaced))
                Path(words[name]).chmod(0o755)
        if "script" in wanted:
            form = next((text for word, text in INTERPRETED.items() if word in attempt.command),
                        "#!/bin/sh\necho {}\n")
            Path(words["script"]).write_text(form.replace("{}", secret))
            Path(words["script"]).chmod(0o755)
        if "own" in wanted:
            shutil.copyfile(words["checkpoint"], words["own"])
            Path(words["own"]).chmod(0o755)
        for name, kind in (("stream", socket.SOCK_STREAM), ("dgram", socket.SOCK_DGRAM),
                           ("seqpacket", socket.SOCK_SEQPACKET)):
            if name in wanted:
                self.server.unix(words[name], kind, is_protected)

    @staticmethod
    def fill_file(path: Path, secret: str) -> None:
        """Write a file of one page that begins with the secret, with an extended attribute where there are such."""
        path.write_bytes(f"{secret}\n".encode().ljust(4096, b"."))
        try:
            os.setxattr(path, "user.kept", b"1")
        except OSError:
            return      # a tmpfs of an older kernel; what needs them says that they are absent

    def stand_in(self) -> Monitor:
        """Return something to be attacked where no daemon runs: an idle process, a pinned table, a few files."""
        from ..kernel import bpf
        bpffs = self.folder / "bpf"
        bpffs.mkdir()
        if quiet("mount", "-t", "bpf", "bpf", str(bpffs)):
            (bpffs / "nbspd/maps-0").mkdir(parents=True)
            for number in range(4):     # some attempts take one away
                made = bpf.map_create(bpf.BPF_MAP_TYPE_HASH, 4, 4, 1, name="drill")
                bpf.obj_pin(made, bpffs / f"nbspd/maps-0/table{number}")
                os.close(made)
        stood = self.disk / "monitor"
        (stood / "rules.d").mkdir(parents=True)
        for name in ("rules.d/10-rule.yaml", "journal.db", "code.py", "unit.service"):
            (stood / name).write_text("\n")
        group = Path(self.words["cgroup"]) / self.folder.name
        if group.parent.is_dir():
            group.mkdir()
        return Monitor(self.idle_pid(), bpffs / "nbspd", bpffs, stood / "rules.d", stood / "rules.d/10-rule.yaml",
                       stood / "journal.db", stood, stood / "code.py", stood / "unit.service", group)

    def idle_pid(self) -> int:
        """Return the stand-in's process, started anew when an attempt has ended it."""
        if self.idle is None or self.idle.poll() is not None:
            self.idle = subprocess.Popen([self.words["attempt"], "idle"], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL)
            group = Path(self.words["cgroup"]) / self.folder.name
            if group.is_dir():
                (group / "cgroup.procs").write_text(str(self.idle.pid))
        return self.idle.pid

    def sync(self) -> None:
        """Bring everything to the image, where the attempts below the file system look for it."""
        descriptor = os.open(self.disk, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.sync()
        finally:
            os.close(descriptor)

    # -- unmaking

    def clear(self) -> None:
        """End the server, unmount, and remove the folder."""
        self.server.close()
        if self.idle is not None:
            self.idle.kill()
            self.idle.wait()
        group = Path(self.words.get("cgroup", "/nonexistent")) / self.folder.name
        if group.is_dir():
            group.rmdir()
        clear_folder(self.folder)
        LOCK.unlink(missing_ok=True)
        os.close(self.lock)

    def leftovers(self) -> list[str]:
        """Return in words what is still there after the drill was cleared away."""
        return list(traces(self.folder))
