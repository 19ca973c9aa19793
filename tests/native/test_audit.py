"""nbsp audit: what is older than the rules is found by whatever name it is held, and connections end if asked for."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest

from .actor import PYTHON
from .host import ABSTRACT, TCP_PORT, UDP_PORT, Host, assert_allowed

DB = {"tcp": [f"127.0.0.1:{TCP_PORT}"], "udp": [f"127.0.0.1:{UDP_PORT}"]}
TCP, UDP = ["127.0.0.1", TCP_PORT], ["127.0.0.1", UDP_PORT]
MULTIPATH = 262
IMPORTS = "import ctypes, mmap, os, select, socket, sys, threading"
THROUGH_A_BIND_MOUNT = """
libc = ctypes.CDLL(None)
assert not libc.unshare(0x20000)
assert not libc.mount(None, b"/", None, 0x44000, None)      # what is mounted here stays here
assert not libc.mount(sys.argv[1].encode(), sys.argv[2].encode(), None, 0x1000, None)
f = open(sys.argv[2] + "/b")
"""
IN_A_THREAD = """
done = threading.Event()
def run():
    assert not ctypes.CDLL(None).unshare(0x400)     # CLONE_FILES: a table of its own
    globals().update(f=os.open(sys.argv[1], os.O_RDONLY))
    done.set()
    select.select([], [], [])
threading.Thread(target=run).start()
done.wait()
"""


class Keeper:
    """Processes that hold something until the test is over; each runs a text of Python and says when it holds it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.processes: list[subprocess.Popen[str]] = []

    def keep(self, text: str, *arguments: str | Path, program: Path = PYTHON) -> int:
        """Start one and return its process id."""
        text = f"{IMPORTS}\n{text}\nprint('held', flush=True)\nselect.select([], [], [])"
        process = subprocess.Popen([program, "-I", "-S", "-c", text, *map(str, arguments)], stdout=subprocess.PIPE,
                                   preexec_fn=self.host.place.enter_guarded, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process.pid

    def close(self) -> None:
        """End them."""
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def keeper(host: Host) -> Iterator[Keeper]:
    found = Keeper(host)
    yield found
    found.close()


def audit(host: Host, *words: str) -> dict[str, Any]:
    """Return what nbsp audit says."""
    found: dict[str, Any] = host.daemon.nbsp_json("audit", *words)
    assert "error" not in found, found
    return found


def of(report: dict[str, Any], pid: int) -> list[dict[str, Any]]:
    """Return what was found of one process."""
    return [one for one in report["findings"] if one["holder"]["pid"] == pid]


def without_rules(host: Host) -> None:
    """Let everything be done."""
    host.write()
    host.reload()


def test_connections_are_found_and_closed(host: Host) -> None:
    without_rules(host)
    client, pooler = host.actor(), host.actor("pooler")
    for name, where in (("tcp", ("inet", "stream", TCP)), ("six", ("inet6", "stream", ["::ffff:127.0.0.1", TCP_PORT])),
                        ("udp", ("inet", "dgram", UDP)), ("unix", ("unix", "stream", host.path("db.sock"))),
                        ("abstract", ("unix", "stream", ABSTRACT)),
                        ("datagrams", ("unix", "dgram", host.path("db.dgram")))):
        assert_allowed([(name, client.do("hold", name, *where)), (name, client.do("use", name))])
    host.apply({**DB, "unix": [host.path("db.sock"), host.path("db.dgram"), ABSTRACT]}, id="audited", owner="dba")
    assert_allowed([("pooler", pooler.do("hold", "own", "inet", "stream", TCP)), ("pooler", pooler.do("use", "own"))])

    report = audit(host)
    assert not report["clean"] and report["generation"] == host.daemon.ask("status")["generation"]
    mine = of(report, client.pid)
    assert sorted((one["kind"], one["protocol"], one["remote"]) for one in mine) == sorted([
        ("connection", "tcp", f"127.0.0.1:{TCP_PORT}"), ("connection", "tcp", f"127.0.0.1:{TCP_PORT}"),
        ("connection", "udp", f"127.0.0.1:{UDP_PORT}"), ("unix", "unix", host.path("db.sock")),
        ("unix", "unix", host.path("db.dgram")), ("unix", "unix", ABSTRACT)])
    for one in mine:
        assert (one["rules"], one["only_through"], one["resource"]) == (["audited"], ["pooler"], "database")
        assert not one["accepted"] and not one["harmless"] and one["remedy"] and one["holder"]["stamps"] == []
        assert os.path.exists(f"/proc/{client.pid}/fd/{one['fd']}")
    assert of(report, pooler.pid) == []
    assert host.daemon.nbsp("audit").returncode == 1

    done = audit(host, "--close")
    assert {one["protocol"] for one in of(done, client.pid)} == {"unix"}        # these the kernel cannot end
    closed = [one for one in done["closed"] if one["pids"] == [client.pid]]
    assert sorted(one["protocol"] for one in closed) == ["tcp", "tcp", "udp"]
    assert all(one["closed"] and one["rules"] == ["audited"] for one in closed)
    for name in ("tcp", "six"):
        assert client.do("use", name).errno in (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)
    assert client.do("use", "udp").errno == errno.EDESTADDRREQ      # it is connected to nothing any more
    assert_allowed([("the checkpoint's own", pooler.do("use", "own")), ("unix", client.do("use", "unix"))])
    record = host.last("close")
    assert record["by"].startswith("uid 0") and f"[{client.pid}]" in record["text"] and "audited" in record["text"]
    assert host.counters("audited")["hits"] == 0       # ending them was no bypass
    assert of(audit(host, "--close"), client.pid) == of(audit(host), client.pid)


def test_multipath_tcp_is_closed(host: Host, keeper: Keeper) -> None:
    without_rules(host)
    connect = f"s = socket.socket(2, 1, {MULTIPATH})\ns.connect(('127.0.0.1', {TCP_PORT}))"
    if host.actor().do("connect", "inet", "stream", TCP, MULTIPATH).errno:      # a kernel without it
        assert host.actor().do("connect", "inet", "stream", TCP, MULTIPATH).errno in (
            errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EINVAL)
        return
    pid = keeper.keep(connect)
    host.apply(DB, id="multipath")
    assert [one["remote"] for one in of(audit(host), pid)] == [f"127.0.0.1:{TCP_PORT}"]
    done = audit(host, "--close")
    assert of(done, pid) == [] and [one["closed"] for one in done["closed"] if one["pids"] == [pid]] == [True]
    assert of(audit(host), pid) == []


def test_a_connection_that_a_checkpoint_left_behind(host: Host, keeper: Keeper) -> None:
    host.apply(DB, id="left-behind")
    connect = (f"s = socket.create_connection(('127.0.0.1', {TCP_PORT}))\ns.set_inheritable(True)\n"
               "os.execv(sys.argv[1], [sys.argv[1], '-I', '-S', '-c', 'import select; print(\"held\", flush=True); "
               "select.select([], [], [])'])")
    pid = keeper.keep(connect, PYTHON, program=host.programs["pooler"])
    found, = of(audit(host), pid)
    assert found["socket_stamps"] == ["pooler"] and not found["accepted"] and "in other hands" in found["what"]
    done = audit(host, "--close")
    assert of(done, pid) == [] and [one["closed"] for one in done["closed"] if one["pids"] == [pid]] == [True]


def test_what_a_checkpoint_shares_is_left_alone(host: Host, keeper: Keeper) -> None:
    host.apply(DB, id="shared")
    share = (f"s = socket.create_connection(('127.0.0.1', {TCP_PORT}))\ns.set_inheritable(True)\n"
             "os.fork() or os.execv(sys.argv[1], [sys.argv[1], '-I', '-S', '-c', "
             "'import select; select.select([], [], [])'])\n")
    pid = keeper.keep(share, PYTHON, program=host.programs["pooler"])
    try:
        report = audit(host, "--close")
        shared = [one for one in report["findings"] if one["kind"] == "connection" and one["rules"] == ["shared"]]
        assert of(report, pid) == [] and len(shared) == 1 and not shared[0]["harmless"]
        assert [one for one in report["closed"] if shared[0]["holder"]["pid"] in one["pids"]] == []
    finally:
        subprocess.run(["pkill", "-P", str(pid)], check=True)


def test_files_by_whatever_name(host: Host, keeper: Keeper) -> None:
    without_rules(host)
    tree, other = host.folder / "audit-tree", host.folder / "audit-other"
    (tree / "deep").mkdir(parents=True)
    other.mkdir()
    for name in ("a", "deep/b", "gone", "linked"):
        (tree / name).write_text("secret")
    key = host.folder / "audit-key"
    key.write_text("secret")
    os.link(tree / "linked", other / "outside")
    reading = "f = open(sys.argv[1])"
    pids = {
        "plain": keeper.keep(reading, tree / "a"),
        "writing": keeper.keep("f = open(sys.argv[1], 'a')", tree / "deep/b"),
        "deleted": keeper.keep(f"{reading}\nos.unlink(sys.argv[1])", tree / "gone"),
        "elsewhere": keeper.keep(THROUGH_A_BIND_MOUNT, tree / "deep", other),
        "outside": keeper.keep(reading, other / "outside"),
        "place": keeper.keep("f = os.open(sys.argv[1], os.O_PATH)", tree / "a"),
        "thread": keeper.keep(IN_A_THREAD, tree / "a"),
        "file": keeper.keep(reading, key),
        "mapping": keeper.keep("f = open(sys.argv[1])\nm = mmap.mmap(f.fileno(), 0, prot=1)", key),
        "code": keeper.keep("f = open(sys.argv[1])\nm = mmap.mmap(f.fileno(), 0, prot=5)", key),
        "checkpoint": keeper.keep(reading, tree / "a", program=host.programs["pooler"]),
        "unrelated": keeper.keep(reading, host.folder / "pooler")}
    host.apply({"trees": [str(tree)], "files": [str(key)]}, id="files")
    report = audit(host)
    found = {name: of(report, pid) for name, pid in pids.items()}
    assert {name: sorted({(one["kind"], one["access"]) for one in each}) for name, each in found.items()} == {
        "plain": [("descriptor", "read")], "writing": [("descriptor", "write")], "deleted": [("descriptor", "read")],
        "elsewhere": [("descriptor", "read")],
        "outside": [("descriptor", "read")] if report["tier"] == "socket" else [],
        "place": [("descriptor", "")], "thread": [("descriptor", "read")], "file": [("descriptor", "read")],
        "mapping": [("descriptor", "read"), ("mapping", "read")],
        "code": [("descriptor", "read"), ("mapping", "read+exec")], "checkpoint": [], "unrelated": []}
    assert found["place"][0]["harmless"] and not found["plain"][0]["harmless"]
    code = next(one for one in found["code"] if one["kind"] == "mapping")
    assert found["plain"][0]["fd"] >= 0 and code["span"] and "as code" in code["what"]
    assert all(one["rules"] == ["files"] and one["only_through"] == ["pooler"] for each in found.values()
               for one in each)
    links = [one for one in report["findings"] if one["kind"] == "hard-link"]
    if report["tier"] == "socket":
        assert [one["path"] for one in links] == [str(tree / "linked")]
    else:       # the rules keep nbsp out of the tree, too, and it does not try
        assert any(str(tree) in text for text in report["not_looked_at"])
        assert host.counters("files")["hits"] == 0


def test_programs_that_run(host: Host, keeper: Keeper) -> None:
    without_rules(host)
    older = keeper.keep("", program=host.programs["other"])
    host.apply({"exec": [str(host.programs["other"])]}, id="programs", only_through=["bastion"],
               checkpoints={"bastion": {"user": "nobody"}})
    bastion = host.actor("bastion")
    report = audit(host)
    assert [(one["kind"], one["access"], one["rules"]) for one in of(report, older)] == [
        ("program", "exec", ["programs"])]
    unstamped, = of(report, bastion.pid)
    assert unstamped["kind"] == "unstamped" and unstamped["harmless"] and "not as nobody" in unstamped["what"]


def test_a_grip_on_a_checkpoint(host: Host, keeper: Keeper) -> None:
    without_rules(host)
    pooler = host.actor("pooler")
    pid = keeper.keep("f = open(f'/proc/{sys.argv[1]}/mem', 'rb')", str(pooler.pid))
    host.apply(DB, id="gripped")
    found, = of(audit(host), pid)
    assert (found["kind"], found["only_through"]) == ("grip", ["pooler"]) and f"pooler[{pooler.pid}]" in found["what"]


def test_nothing_is_found_when_nothing_is_held(host: Host) -> None:
    host.apply({"tcp": ["127.0.0.1:5999"]}, id="clean")
    done = host.daemon.nbsp("audit")
    assert done.returncode == 0 and "Next  nothing" in done.stdout
    report = audit(host, "--close")
    assert report["clean"] and report["closed"] == [] and report["counts"]["processes"] > 1


def test_the_daemon_knows_what_may_not_be_closed(host: Host) -> None:
    host.apply(DB, id="asked")
    client = host.actor()
    with pytest.raises(Exception, match="is not protected"):
        host.daemon.ask("close", proto="tcp", local="127.0.0.1:40000", remote="127.0.0.1:5999", holders=[client.pid])
    pooler = host.actor("pooler")
    with pytest.raises(Exception, match="carries pooler"):
        host.daemon.ask("close", proto="tcp", local="127.0.0.1:40000", remote=f"127.0.0.1:{TCP_PORT}",
                        holders=[client.pid, pooler.pid])
