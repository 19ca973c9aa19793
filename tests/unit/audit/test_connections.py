"""Which sockets are connected to what is protected, and what the kernel may refuse to tell."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from nbspd.audit.connections import Connections, Namespace, connections, namespaces
from nbspd.audit.finding import Counts
from nbspd.audit.knowledge import Knowledge, Protected
from nbspd.audit.places import MountTables, Places
from nbspd.kernel.sock_diag import MPTCP, TCP, UDP, UDPLITE, UnixSocket

from .made import CLIENT, CONNECT, DEMANDS, HERE, SERVER, FakeDiagnosis, knowledge

INET, INET6 = socket.AF_INET, socket.AF_INET6
TABLE = 1000        # a descriptor that only the fake is given


def look(known: Knowledge, diagnosis: FakeDiagnosis, spaces: Any = (HERE,),
         counts: Counts | None = None) -> Connections:
    return connections(known, Places(known, MountTables().own), spaces, counts or Counts(), TABLE,
                       diagnosis)      # type: ignore[arg-type]


def test_the_end_that_went_to_the_protected_one() -> None:
    counts = Counts()
    other = replace(CLIENT, remote=(ip_address("127.0.0.1"), 5433), inode=902)
    found = look(knowledge(), FakeDiagnosis({(INET, TCP): [SERVER, other, CLIENT]}), counts=counts)
    one, = found.found
    assert (one.inet, one.other_end, one.inode, one.demands, one.is_multipath) == (CLIENT, SERVER, 900, DEMANDS, False)
    assert counts.sockets == 3 and counts.namespaces == 1 and found.notes == []


def test_ipv4_in_ipv6_is_ipv4() -> None:
    mapped = replace(CLIENT, family=INET6, local=(ip_address("::ffff:127.0.0.1"), 40000),
                     remote=(ip_address("::ffff:127.0.0.1"), 5432))
    one, = look(knowledge(), FakeDiagnosis({(INET, TCP): [SERVER], (INET6, TCP): [mapped]})).found
    assert one.inet == mapped and one.other_end == SERVER


def test_multipath_tcp_is_its_subflow() -> None:
    master = replace(CLIENT, protocol=MPTCP, cookie=99)
    one, = look(knowledge(), FakeDiagnosis({(INET, TCP): [CLIENT], (INET, MPTCP): [master]})).found
    assert one.inet == CLIENT and one.is_multipath


def test_udp_lite_counts_as_udp() -> None:
    known = knowledge()
    known.endpoints[17, 5432] = known.endpoints.pop((6, 5432))
    lite = replace(CLIENT, protocol=UDPLITE)
    one, = look(known, FakeDiagnosis({(INET, UDPLITE): [lite], (INET, TCP): [CLIENT]})).found
    assert one.inet == lite
    missing: dict[tuple[int, int], Any] = {(INET, UDPLITE): OSError(errno.ENOENT, "none")}
    assert look(known, FakeDiagnosis(missing)).notes == []


def test_protocols_without_rules_are_not_asked_for() -> None:
    refusing = {(INET, UDP): OSError(errno.ENOENT, "No such file or directory")}
    assert look(knowledge(), FakeDiagnosis(refusing)).notes == []


@pytest.mark.parametrize("key, words", [((INET, TCP), "tcp sockets: "), ((INET, UDP), "modprobe udp_diag")])
def test_a_kernel_that_does_not_list_them(key: tuple[int, int], words: str) -> None:
    known = knowledge()
    known.endpoints[17, 53] = {}
    refusing: dict[tuple[int, int], Any] = {(INET, TCP): [CLIENT], key: OSError(errno.ENOENT, "No such file")}
    assert words in "".join(look(known, FakeDiagnosis(refusing)).notes)


def test_a_kernel_without_multipath_tcp_is_no_trouble() -> None:
    lists: dict[tuple[int, int], Any] = {(INET, MPTCP): OSError(errno.ENOENT, "none")}
    assert look(knowledge(), FakeDiagnosis(lists)).notes == []
    lists[INET, MPTCP] = OSError(errno.EPERM, "no")
    assert len(look(knowledge(), FakeDiagnosis(lists)).notes) == 1


def unix(inode: int, name: bytes = b"", peer: int = 0, file: tuple[int, int] | None = None) -> UnixSocket:
    return UnixSocket(inode, 1, 1, name, peer, file)


def test_unix_sockets_by_the_inode_that_their_peer_is_bound_to() -> None:
    known = knowledge()
    known.objects[8, 5 + (1 << 32)] = Protected("/run/db.sock", ((0, CONNECT),))       # sock_diag tells 32 bits of it
    known.objects[8, 6] = Protected("/key", ((0, 3),))
    known.unix_names = {b"\0name": DEMANDS, b"/run/db.sock": DEMANDS}
    sockets = [unix(1, peer=2), unix(2, b"/run/other-name", 1, (8, 5)), unix(3, peer=4), unix(4, b"\0name", 3),
               unix(5, peer=6), unix(6, b"/run/db.sock", 5, (8, 77)),           # replaced since, on that file system
               unix(7, peer=8), unix(8, b"/run/db.sock", 7, (9, 5)),            # of the same name elsewhere
               unix(9, peer=10), unix(10, b"/key", 9, (8, 6)), unix(11), unix(12, peer=999)]
    found = look(known, FakeDiagnosis(unix=sockets)).found
    assert [(one.inode, one.peer) for one in found] == [(1, "/run/other-name"), (3, "@name"), (5, "/run/db.sock")]


def test_peers_in_another_namespace_are_found() -> None:
    known = knowledge(unix_names={b"\0name": DEMANDS})
    one, other = FakeDiagnosis(unix=[unix(1, peer=2)]), FakeDiagnosis(unix=[unix(2, b"\0name", 1)])
    found = connections(known, Places(known, {}), [HERE, Namespace(HERE.number + 1, 0)], Counts(), TABLE,
                        lambda _fd, each=iter([one, other]): next(each))   # type: ignore[arg-type, return-value, misc]
    assert [each.inode for each in found.found] == [1]


def test_unix_sockets_that_are_not_listed() -> None:
    assert "modprobe unix_diag" in look(knowledge(), FakeDiagnosis(unix=OSError(errno.ENOENT, "none"))).notes[0]


def test_namespaces_of_processes() -> None:
    own = os.stat("/proc/self/ns/net").st_ino
    assert namespaces([os.getpid(), 1 << 30]) == [Namespace(own, 0)]


def test_a_namespace_that_cannot_be_entered_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Namespace(4711, os.getpid())        # that process is not there any more
    found = look(knowledge(), FakeDiagnosis({(INET, TCP): [CLIENT]}), [HERE, elsewhere, Namespace(5, 1 << 30)])
    assert len(found.found) == 1 and [note.partition(":")[0] for note in found.notes] == [
        f"connections in the network namespace 4711 (of process {os.getpid()})",
        f"connections in the network namespace 5 (of process {1 << 30})"]


def test_a_namespace_is_entered_by_its_descriptor() -> None:
    own = os.stat("/proc/self/ns/net").st_ino
    diagnosis = FakeDiagnosis()
    look(knowledge(), diagnosis, [HERE, Namespace(own, os.getpid())])
    assert diagnosis.opened[0] is None and isinstance(diagnosis.opened[1], int)
    with pytest.raises(OSError):
        os.fstat(diagnosis.opened[1])       # and closed again


def test_without_the_table_of_what_sockets_carry_that_is_said() -> None:
    known, diagnosis = knowledge(), FakeDiagnosis({(INET, TCP): [CLIENT]})
    found = connections(known, Places(known, {}), [HERE], Counts(), None, diagnosis)    # type: ignore[arg-type]
    assert found.notes[0].startswith("the stamps that sockets carry themselves: ") and not found.found[0].is_stamp_known
    assert look(known, diagnosis).found[0].is_stamp_known
