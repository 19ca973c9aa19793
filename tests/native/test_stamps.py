"""Who carries a stamp: the checkpoint itself, its forks, what it starts; and who does not."""

from __future__ import annotations

import os

from .actor import PYTHON, Actor
from .host import TCP_PORT, Host, assert_allowed, assert_denied

DB = {"tcp": [f"127.0.0.1:{TCP_PORT}"]}
ASK = ("ask", "inet", "stream", ["127.0.0.1", TCP_PORT])
NOBODY = 65534


def children(actor: Actor, program: os.PathLike[str]) -> object:
    """Return how asking the database goes in a child of an actor that runs a program."""
    return actor.do("children", str(program), *ASK)


def test_a_fork_keeps_the_stamp(host: Host) -> None:
    host.apply(DB, id="fork")
    assert_allowed([("fork", host.actor("pooler").do("in_fork", *ASK))])
    assert_denied([("fork of a stranger", host.actor().do("in_fork", *ASK))])


def test_a_thread_has_the_stamp_of_its_process(host: Host) -> None:
    host.apply(DB, id="thread")
    assert_allowed([("thread", host.actor("pooler").do("in_thread", *ASK))])
    assert_denied([("thread of a stranger", host.actor().do("in_thread", *ASK))])


def test_exec_drops_a_self_stamp(host: Host) -> None:
    host.apply(DB, id="exec")
    pooler = host.actor("pooler")
    assert_denied([("child", pooler.do("children", str(PYTHON), *ASK))])
    assert_allowed([("child that is the pooler", host.actor().do("children", str(host.programs["pooler"]), *ASK))])
    assert_allowed([("exec", pooler.do("become", str(PYTHON)))])
    assert_denied([("after exec", pooler.do(*ASK))])
    assert_allowed([("exec", pooler.do("become", str(host.programs["pooler"])))])
    assert_allowed([("the pooler again", pooler.do(*ASK))])


def test_exec_by_a_thread(host: Host) -> None:
    host.apply(DB, id="exec-thread")
    pooler, client = host.actor("pooler"), host.actor()
    assert_allowed([("exec", pooler.do("in_thread", "become", str(PYTHON)))])
    assert_denied([("a stranger now", pooler.do(*ASK))])
    assert_allowed([("exec", client.do("in_thread", "become", str(host.programs["pooler"]))),
                    ("the pooler now", client.do(*ASK))])


def test_children_keep_a_stamp_of_that_kind(host: Host) -> None:
    host.apply(DB, id="children", checkpoints={"pooler": {"stamp": "children"}})
    pooler = host.actor("pooler")
    assert_allowed([("child", pooler.do("children", str(PYTHON), *ASK)),
                    ("grandchild", pooler.do("in_fork", "children", str(PYTHON), *ASK)),
                    ("exec", pooler.do("become", str(PYTHON))), ("after exec", pooler.do(*ASK))])
    lineage = host.daemon.ask("lineage", pid=pooler.pid)
    assert lineage["processes"][0]["stamps"] == ["pooler"]
    assert_denied([("a stranger", host.actor().do(*ASK))])


def test_after(host: Host) -> None:
    host.apply(DB, id="after", checkpoints={"pooler": {"after": ["bastion"]}, "bastion": {"stamp": "children"}})
    pooler, bastion = str(host.programs["pooler"]), host.actor("bastion")
    assert_denied([("pooler alone", host.actor("pooler").do(*ASK)), ("bastion alone", bastion.do(*ASK))])
    assert_allowed([("pooler after bastion", bastion.do("children", pooler, *ASK))])
    other = host.actor("agent")
    assert_denied([("pooler after agent", other.do("children", pooler, *ASK))])


def test_user(host: Host) -> None:
    host.apply(DB, id="user", checkpoints={"pooler": {"user": "nobody"}})
    pooler = host.actor("pooler")
    assert_denied([("root", pooler.do(*ASK))])
    assert_allowed([("seteuid", pooler.do("seteuid", NOBODY)), ("nobody", pooler.do(*ASK))])
    assert_allowed([("seteuid", pooler.do("seteuid", 0))])
    assert_denied([("root again", pooler.do(*ASK))])


def test_processes_that_run_already_are_stamped(host: Host) -> None:
    host.write()
    host.reload()
    pooler, bastion = host.actor("pooler"), host.actor("bastion")
    assert_allowed([("nothing declared", bastion.do(*ASK))])
    host.apply(DB, id="running")
    assert_allowed([("pooler", pooler.do(*ASK))])
    assert_denied([("bastion", bastion.do(*ASK))])
    host.apply(DB, id="running", only_through=["bastion"])
    assert_allowed([("bastion", bastion.do(*ASK))])
    assert_denied([("pooler", pooler.do(*ASK))])


def test_any_of_several_checkpoints(host: Host) -> None:
    host.apply(DB, id="several", only_through=["pooler", "bastion"])
    assert_allowed((name, host.actor(name).do(*ASK)) for name in ("pooler", "bastion"))
    assert_denied((name, host.actor(name).do(*ASK)) for name in ("agent", "client"))


def test_nobody(host: Host) -> None:
    host.apply(DB, id="nobody", only_through=[])
    assert_denied((name, host.actor(name).do(*ASK)) for name in ("pooler", "client"))


def test_a_name_is_no_identity(host: Host) -> None:
    host.apply(DB, id="name")
    fake = host.folder / "fake"
    fake.mkdir(exist_ok=True)
    (fake / "pooler").write_bytes(host.programs["pooler"].read_bytes())
    (fake / "pooler").chmod(0o755)
    assert_denied([("the same bytes elsewhere", host.actor().do("children", str(fake / "pooler"), *ASK))])
    link = fake / "link"
    link.unlink(missing_ok=True)
    os.link(host.programs["pooler"], link)
    assert_allowed([("the program itself by another name", host.actor().do("children", str(link), *ASK))])
