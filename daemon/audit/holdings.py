"""What processes hold of protected files, devices and sockets: descriptors, mappings, rings, programs that run."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import Iterable

from ..abi import Access
from ..kernel.mounts import Mount, kernel_dev
from ..kernel.process import ProcessFacts
from .finding import Counts, Kind
from .knowledge import Demands, Object, Protected
from .places import DELETED, REMOTE, MountTables, Place, Places, Table, objects_of, place_of
from .processes import Descriptor, DescriptorInfo, Mapping, OpenProcess, Vanished

NOTES_MAX = 20
SOCKET = re.compile(r"socket:\[(\d+)\]")
RING_FILE = re.compile(r"^\s*\d+: (/.*)$", re.MULTILINE)
RING_COUNT = re.compile(r"^UserFiles:\s*(\d+)", re.MULTILINE)
MEMORY = re.compile(r"/(\d+)/(?:task/\d+/)?mem$")
IN_FLIGHT = re.compile(r"^scm_fds:\s*([1-9]\d*)", re.MULTILINE)
EITHER = Access.READ | Access.WRITE


@dataclass(frozen=True)
class Hold:
    """Something protected in the hands of a process, whoever that is."""

    kind: Kind
    facts: ProcessFacts
    path: str
    protected: Protected
    demands: Demands
    wanted: int                 # abi.Access bits; 0: O_PATH
    fd: int = -1
    span: str = ""
    words: str = ""


@dataclass
class Holdings:
    """What was found in all processes."""

    held: list[Hold] = field(default_factory=list)
    memories: list[tuple[ProcessFacts, int, int]] = field(default_factory=list)     # who, descriptor, whose memory
    sockets: dict[int, list[tuple[ProcessFacts, int]]] = field(default_factory=dict)    # by inode: who, descriptor
    processes: dict[int, ProcessFacts] = field(default_factory=dict)
    exes: dict[int, tuple[tuple[Object, ...], Place | None]] = field(default_factory=dict)
    closed_to_us: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    notes_dropped: int = 0

    def note(self, text: str) -> None:
        """Say what could not be looked at; not without end."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append(text)
        else:
            self.notes_dropped += 1


class Searcher:
    """Looks into one process after another."""

    def __init__(self, places: Places, tables: MountTables, sockets: Iterable[int], counts: Counts,
                 daemon: int = 0, is_whole: bool = True) -> None:
        """`sockets` are the inodes of those that matter; `daemon` holds the programs of checkpoints by O_PATH.

        Without `is_whole` only who holds those sockets is looked up.
        """
        self.places = places
        self.tables = tables
        self.sockets = frozenset(sockets)
        self.counts = counts
        self.daemon = daemon
        self.is_whole = is_whole
        self.found = Holdings()

    def search(self, pids: Iterable[int]) -> Holdings:
        """Look into every process of a list but this one; who vanishes meanwhile is forgotten."""
        for pid in pids:
            if pid == os.getpid():
                continue
            try:
                with OpenProcess(pid) as process:
                    self.look_into(process)
            except Vanished:
                continue
            except (FileNotFoundError, ProcessLookupError):
                continue        # in the middle of it: what it held ended with it
            except PermissionError:
                self.found.closed_to_us.append(pid)
            except (OSError, ValueError, IndexError) as error:
                self.found.note(f"process {pid}: {error}")
        return self.found

    def look_into(self, process: OpenProcess) -> None:
        """Look at everything of one process. Raises Vanished, OSError, ValueError."""
        self.counts.processes += 1
        facts = process.facts
        self.found.processes[facts.pid] = facts
        table = self.tables.of(process)
        self.look_at_program(facts, table)
        for one in process.descriptors():
            self.counts.descriptors += 1
            socket = SOCKET.fullmatch(one.link)
            if socket is not None:
                self.look_at_socket(process, one, int(socket[1]))
            elif not self.is_whole:
                continue
            elif one.link.startswith("/"):
                self.look_at_file(process, one, table)
            elif one.link == "anon_inode:[io_uring]":
                self.look_at_ring(process, one)
        if self.is_whole:
            self.look_at_memory(process, table)

    # -- descriptors

    def look_at_file(self, process: OpenProcess, one: Descriptor, table: Table) -> None:
        """Keep a descriptor if it is of something protected."""
        info = process.info(one)
        if info is None:
            return
        mount = table.get(info.mount)
        memory = MEMORY.search(one.link) if mount is not None and mount.fstype == "proc" else None
        if memory is not None:
            self.found.memories.append((process.facts, one.fd, int(memory[1])))
        if mount is not None and not self.places.devices and mount.dev not in self.places.superblocks:
            return
        facts = None
        if mount is None or info.inode is None or self.places.devices and mount.fstype not in REMOTE:
            facts = process.stat(one)
        objects = objects_of(mount, info.inode, facts)
        found = self.find(objects, one.link, *([mount] if mount is not None else []))
        if found is None and facts is not None and (stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode)):
            device = self.places.devices.get(kernel_dev(facts.st_rdev))
            found = (device, device.own) if device is not None else None
        if found is not None:
            self.keep_descriptor(process.facts, one, info, *found)
        elif mount is None and any(device in {tree for tree, _ in self.places.trees} for device, _ in objects):
            self.found.note(f"descriptor {one.fd} of {process.facts.comm}[{process.pid}] ({one.link}) lies on a mount "
                            "that is gone: whether it is in a tree cannot be told")

    def find(self, objects: tuple[Object, ...], path: str, *mounts: Mount) -> tuple[Protected, Demands] | None:
        """Return what a file counts as on any of some mounts; a deleted one is still known by the name that it had."""
        names = (path, path.removesuffix(DELETED)) if path.endswith(DELETED) else (path,)
        for place in (*(place_of(name, mount) for name in names for mount in mounts), None):
            found = self.places.find(objects, place)
            if found is not None:
                return found
        return None

    def keep_descriptor(self, facts: ProcessFacts, one: Descriptor, info: DescriptorInfo, protected: Protected,
                        demands: Demands) -> None:
        """Note a descriptor of something protected."""
        wanted = opened_for(info.flags)
        if not wanted and facts.pid == self.daemon:
            return
        words = f"descriptor {one.fd} on {one.link}"
        if one.table != "fd":
            words += f", in a table of thread {one.table.split('/')[1]} alone"
        self.found.held.append(Hold(Kind.DESCRIPTOR, facts, one.link, protected, demands, wanted, one.fd, words=words))

    def look_at_socket(self, process: OpenProcess, one: Descriptor, inode: int) -> None:
        """Note who holds a socket that matters, and that handles wait in it which nobody can see."""
        if inode in self.sockets:
            self.found.sockets.setdefault(inode, []).append((process.facts, one.fd))
        info = process.info(one) if self.is_whole else None
        waiting = IN_FLIGHT.search(info.text) if info is not None else None
        if waiting is not None:
            self.found.note(f"{waiting[1]} descriptors wait in the unix socket {one.fd} of {process.facts.comm}"
                            f"[{process.pid}] to be received: what they are cannot be told")

    def look_at_ring(self, process: OpenProcess, one: Descriptor) -> None:
        """Files registered with io_uring are held by the ring; some kernels tell their names, none their inodes."""
        info = process.info(one)
        count = RING_COUNT.search(info.text) if info is not None else None
        if info is None or count is None or count[1] == "0":
            return
        names = RING_FILE.findall(info.text)
        for name in names:
            found = self.find((), name, *showing(None, name, self.tables.of(process)))
            if found is not None:
                protected, demands = found
                self.found.held.append(Hold(
                    Kind.RING, process.facts, name, protected, demands, int(EITHER), one.fd,
                    words=f"registered with the io_uring of descriptor {one.fd}: {name}"))
        if len(names) < int(count[1]):
            self.found.note(f"{count[1]} files or sockets are registered with the io_uring {one.fd} of "
                            f"{process.facts.comm}[{process.pid}]: which, this kernel does not tell of all")

    # -- memory and programs

    def look_at_memory(self, process: OpenProcess, table: Table) -> None:
        """Keep what a process has mapped of protected files, one for each file; its own program is not among them."""
        groups: dict[tuple[int, int, str], list[Mapping]] = {}
        for one in process.mappings():
            self.counts.mappings += 1
            if one.device in self.places.superblocks:
                groups.setdefault((one.device, one.inode, one.path), []).append(one)
        exe = self.found.exes.get(process.pid, ((), None))[0]
        for (device, inode, path), group in groups.items():
            if (device, inode) in exe:
                continue
            found = self.find(((device, inode),), path, *showing(device, path, table))
            if found is not None:
                wanted, rights = 0, [one.rights for one in group]
                for text in rights:
                    wanted |= mapped_for(text)
                words = f"{len(group)} mappings of {path}" if len(group) > 1 else f"a mapping of {path}"
                words += f" ({', '.join(dict.fromkeys(rights))})" + (", as code" if wanted & Access.EXEC else "")
                self.found.held.append(Hold(Kind.MAPPING, process.facts, path, *found, wanted, span=group[0].span,
                                            words=words))

    def look_at_program(self, facts: ProcessFacts, table: Table) -> None:
        """Remember what a process runs, and keep it if the program is protected."""
        if not facts.exe:
            return
        path = facts.exe.removesuffix(DELETED)
        own = kernel_dev(facts.exe_dev), facts.exe_ino
        mounts = showing(own[0], path, table) or showing(None, path, table)[:1]     # stat lies on some file systems
        objects = (own, *((mount.dev, facts.exe_ino) for mount in mounts[:1] if mount.dev != own[0]))
        self.found.exes[facts.pid] = objects, place_of(path, mounts[0]) if mounts else None
        found = self.find(objects, path, *mounts)
        if found is not None:
            self.found.held.append(Hold(Kind.PROGRAM, facts, facts.exe, *found, int(Access.EXEC),
                                        words=f"runs {facts.exe}"))


def showing(device: int | None, path: str, table: Table) -> list[Mount]:
    """Return the mounts (of a superblock, or of any) that a path may go through, the innermost first.

    Which one it does go through is not told of what is mapped, and another may since have been put over it.
    """
    found = [mount for mount in table.values() if device in (None, mount.dev) and place_of(path, mount) is not None]
    return sorted(found, key=lambda mount: len(mount.point), reverse=True)


def opened_for(flags: int) -> int:
    """Return what a descriptor may do, as abi.Access bits; nothing with O_PATH."""
    if flags & os.O_PATH:
        return 0
    return int({os.O_RDONLY: Access.READ, os.O_WRONLY: Access.WRITE, os.O_RDWR: EITHER}.get(
        flags & os.O_ACCMODE, Access.READ))


def mapped_for(rights: str) -> int:
    """Return what a mapping may do; a private one that is written to is a copy."""
    wanted = Access.READ if "r" in rights else Access(0)
    if "w" in rights and "s" in rights:
        wanted |= Access.WRITE
    if "x" in rights:
        wanted |= Access.EXEC
    return int(wanted)


def access_words(wanted: int) -> str:
    """Return access in words: read+write, exec, connect."""
    return "+".join(one.name.lower() for one in Access if one & wanted and one.name)
