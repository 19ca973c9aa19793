"""A protected program: refused where the kernel lets us, else killed before its first instruction."""

from __future__ import annotations

import errno
import shutil
import signal
from pathlib import Path

import pytest

from .actor import Actor, Outcome
from .host import Host, assert_allowed


def admin_tool(host: Host) -> Path:
    """Return a program that leaves a mark when it runs."""
    tool = host.folder / "admin-tool"
    if not tool.exists():
        shutil.copyfile("/usr/bin/touch", tool)
        tool.chmod(0o755)
    return tool


def run(actor: Actor, tool: Path, mark: Path) -> Outcome:
    """Run the tool."""
    mark.unlink(missing_ok=True)
    return actor.do("run", [str(tool), str(mark)])


@pytest.mark.parametrize("stamp", ("self", "children"))
def test_exec(host: Host, stamp: str) -> None:
    """A stamp that ends with the exec is still there when that is judged, also where it is judged afterwards."""
    tool, mark = admin_tool(host), host.folder / "mark"
    client, pooler = host.actor(), host.actor("pooler")
    host.write()
    host.reload()
    assert run(client, tool, mark).value["status"] == 0 and mark.exists()
    host.apply({"exec": [str(tool)]}, id="exec-tool", checkpoints={"pooler": {"stamp": stamp}})
    outcome = run(client, tool, mark)
    if host.tier == "socket":
        assert outcome.value["status"] == -signal.SIGKILL
    else:
        assert outcome.errno == errno.EPERM
    assert not mark.exists(), "it ran"
    record = host.violations("exec-tool")[0]
    assert record["verdict"] == ("killed" if host.tier == "socket" else "denied")
    assert record["object"] == str(tool)
    outcome = run(pooler, tool, mark)
    assert_allowed([("pooler", outcome)])
    assert outcome.value["status"] == 0 and mark.exists()
