"""Descriptors, mappings, rings and programs of processes: what is kept of them, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nbspd.audit import holdings
from nbspd.audit.finding import Counts, Kind
from nbspd.audit.holdings import NOTES_MAX, Searcher, access_words, mapped_for, opened_for, showing
from nbspd.audit.knowledge import Knowledge, Protected
from nbspd.audit.places import MountTables, Places
from nbspd.audit.processes import Descriptor, DescriptorInfo, OpenProcess, Vanished, parse_fdinfo
from nbspd.kernel.mounts import Mount

from .conftest import Start
from .made import DEMANDS, EXEC, READ, WRITE, knowledge, process
from .test_places import seen
from .test_processes import HOLD


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("secret")
    return path


def searcher(known: Knowledge, *sockets: int, **named: Any) -> Searcher:
    tables = MountTables()
    return Searcher(Places(known, tables.own), tables, sockets, Counts(), **named)


def protecting(path: Path, **changes: Any) -> Knowledge:
    """Return knowledge in which a file or folder is protected."""
    known = knowledge(**changes)
    protected = Protected(str(path), tree=DEMANDS) if path.is_dir() else Protected(str(path), DEMANDS)
    known.objects[seen(path, MountTables().own).objects[0]] = protected
    return known


def test_a_descriptor_and_a_mapping(key: Path, running: Start) -> None:
    pid = running(HOLD, key)
    found = searcher(protecting(key)).search([pid])
    assert {(hold.kind, hold.wanted, hold.path) for hold in found.held} == {
        (Kind.DESCRIPTOR, READ, str(key)), (Kind.MAPPING, READ, str(key))}
    assert all(hold.facts.pid == pid for hold in found.held) and pid in found.processes
    descriptor = next(hold for hold in found.held if hold.kind is Kind.DESCRIPTOR)
    assert descriptor.fd >= 0 and f"descriptor {descriptor.fd} on {key}" == descriptor.words


def test_a_deleted_file_in_a_tree(tmp_path: Path, key: Path, running: Start) -> None:
    pid = running("import os, sys; f = open(sys.argv[1]); os.unlink(sys.argv[1])", key)
    found = searcher(protecting(tmp_path)).search([pid])
    assert [(hold.kind, hold.path) for hold in found.held] == [(Kind.DESCRIPTOR, f"{key} (deleted)")]


def test_a_place_only(key: Path, running: Start) -> None:
    pid = running("import os, sys; f = os.open(sys.argv[1], os.O_PATH)", key)
    assert [hold.wanted for hold in searcher(protecting(key)).search([pid]).held] == [0]
    assert searcher(protecting(key), daemon=pid).search([pid]).held == []       # its programs, held so


def test_a_device_by_its_number(running: Start) -> None:
    known = knowledge()
    known.devices[os.major(os.stat("/dev/zero").st_rdev) << 20 | 5] = Protected("/dev/zero", DEMANDS)
    pid = running("f = open('/dev/zero')")
    assert [(hold.path, hold.wanted) for hold in searcher(known).search([pid]).held] == [("/dev/zero", READ)]


def test_a_protected_program(running: Start) -> None:
    pid = running("")
    program = Path(os.path.realpath(f"/proc/{pid}/exe"))
    found = searcher(protecting(program)).search([pid])
    assert [(hold.kind, hold.wanted) for hold in found.held] == [(Kind.PROGRAM, EXEC)]      # and not its mappings


def test_who_holds_a_socket(running: Start) -> None:
    pid = running("import socket; s = socket.socket()")
    link = next(os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")
                if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"))
    inode = int(link[8:-1])
    found = searcher(knowledge(), inode, is_whole=False).search([pid])
    assert [facts.pid for facts, _ in found.sockets[inode]] == [pid] and found.held == []


def test_handles_that_wait_in_a_socket(key: Path, running: Start) -> None:
    pid = running("import socket, sys; a, b = socket.socketpair(); f = open(sys.argv[1]); "
                  "socket.send_fds(a, [b'x'], [f.fileno()])", key)
    notes = searcher(knowledge()).search([pid]).notes
    if "scm_fds" in Path(f"/proc/{pid}/fdinfo/3").read_text():      # else this kernel does not tell
        assert len(notes) == 1 and "1 descriptors wait in the unix socket" in notes[0]
    else:
        assert notes == []


class Scripted:
    """A process of which only the fdinfo of one descriptor is known."""

    def __init__(self, info: DescriptorInfo | None) -> None:
        self.pid, self.facts, self._info = 77, process(), info

    def info(self, _one: Descriptor) -> DescriptorInfo | None:
        return self._info

    def stat(self, _one: Descriptor) -> os.stat_result:
        return os.stat("/")

    def link(self, name: str) -> str:
        return os.readlink(f"/proc/self/{name}")


RING = Descriptor(5, "anon_inode:[io_uring]", "fd")


@pytest.mark.parametrize("text, held, notes", [
    ("UserFiles:\t0\n", 0, 0), ("UserFiles:\t1\n    0: {}\nUserBufs:\t0\n", 1, 0), ("UserFiles:\t2\n    0: {}\n", 1, 1),
    ("UserFiles:\t1\n    0: /dev/null\n", 0, 0), ("UserFiles:\t3\n", 0, 1)])
def test_files_that_a_ring_holds(text: str, held: int, notes: int, key: Path) -> None:
    one = searcher(protecting(key.parent))
    one.look_at_ring(Scripted(parse_fdinfo(text.format(key))), RING)      # type: ignore[arg-type]
    assert [hold.kind for hold in one.found.held] == [Kind.RING] * held and len(one.found.notes) == notes
    one.look_at_ring(Scripted(None), RING)      # type: ignore[arg-type]


def test_a_mount_that_is_gone_is_said(tmp_path: Path) -> None:
    one = searcher(protecting(tmp_path))
    device = next(iter(one.places.trees))[0]
    one.places.trees = {(os.major(os.stat("/").st_dev) << 20 | os.minor(os.stat("/").st_dev), "/x"):
                        one.places.trees[device, next(iter(one.places.trees))[1]]}
    one.look_at_file(Scripted(DescriptorInfo(0, 1 << 30, 2, "")),      # type: ignore[arg-type]
                     Descriptor(4, "/was/here", "fd"), one.tables.own)
    assert len(one.found.notes) == 1 and "a mount that is gone" in one.found.notes[0]


@pytest.mark.parametrize("error, closed, notes", [
    (Vanished(), [], 0), (ProcessLookupError(3, "gone"), [], 0), (FileNotFoundError(2, "gone"), [], 0),
    (PermissionError(13, "no"), [77], 0), (OSError(5, "input/output error"), [], 1), (ValueError("odd"), [], 1)])
def test_who_cannot_be_looked_into(error: Exception, closed: list[int], notes: int,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_pid: int) -> None:
        raise error
    monkeypatch.setattr(holdings, "OpenProcess", fail)
    found = searcher(knowledge()).search([77])
    assert (found.closed_to_us, len(found.notes), found.held) == (closed, notes, [])


def test_this_process_is_left_out_and_others_that_end_do_no_harm(running: Start) -> None:
    one = searcher(knowledge())
    one.search([os.getpid(), 1 << 30, running("")])
    assert one.counts.processes == 1 and one.counts.descriptors >= 2


def test_notes_are_not_without_end() -> None:
    found = searcher(knowledge()).found
    for number in range(NOTES_MAX + 3):
        found.note(str(number))
    assert len(found.notes) == NOTES_MAX and found.notes_dropped == 3


def test_words_for_access() -> None:
    assert opened_for(os.O_RDWR | os.O_CLOEXEC) == READ | WRITE and opened_for(os.O_WRONLY) == WRITE
    assert opened_for(os.O_PATH | os.O_RDWR) == 0 and opened_for(os.O_ACCMODE) == READ
    assert mapped_for("r-xp") == READ | EXEC and mapped_for("rw-p") == READ and mapped_for("rw-s") == READ | WRITE
    assert access_words(READ | EXEC) == "read+exec" and access_words(0) == ""


def test_the_mounts_that_a_path_may_go_through() -> None:
    table = MountTables().own
    mounts = showing(None, "/proc/self", table)
    assert mounts[0].fstype == "proc" and mounts[-1].point == "/" and showing(None, "relative", table) == []
    assert [mount.point for mount in showing(mounts[0].dev, "/proc/self", table)] == ["/proc"]


def test_what_is_mounted_over_a_tree_hides_no_mapping(tmp_path: Path, key: Path, running: Start) -> None:
    one = searcher(protecting(tmp_path))
    device, _ = next(iter(one.places.trees))
    over = Mount(1 << 30, 0, device, "/elsewhere", str(tmp_path), "ext4", "disk")
    assert showing(device, str(key), {**one.tables.own, over.id: over})[0] == over
    table = {**one.tables.own, over.id: over}
    with OpenProcess(running(HOLD, key)) as process_:
        one.look_at_memory(process_, table)
    assert [hold.kind for hold in one.found.held] == [Kind.MAPPING]
