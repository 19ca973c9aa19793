"""Unix sockets by path, relative path and abstract name; streams and datagrams."""

from __future__ import annotations

from .host import ABSTRACT, Host, assert_allowed, assert_denied


def test_paths(host: Host) -> None:
    stream, dgram = host.path("db.sock"), host.path("db.dgram")
    host.apply({"unix": [stream, dgram]}, id="paths")
    acts = (("ask", "unix", "stream", stream), ("ask", "unix", "stream", "db.sock"), ("ask", "unix", "dgram", dgram),
            ("ask", "unix", "dgram", "db.dgram"), ("send_to", "unix", dgram), ("send_to", "unix", "db.dgram"))
    client, pooler = host.actor(), host.actor("pooler")
    assert_allowed((act, pooler.do(*act)) for act in acts)
    if host.has_unix:
        assert_denied((act, client.do(*act)) for act in acts)
        assert host.counters("paths")["hits"] == len(acts)
        assert {record["object"] for record in host.violations("paths")} >= {f"unix {stream}", f"unix {dgram}"}
    else:
        assert_allowed((act, client.do(*act)) for act in acts)
        assert {row["state"] for row in host.daemon.ask("coverage", rule="paths")["rows"]} == {"open"}


def test_abstract_names(host: Host) -> None:
    host.apply({"unix": [ABSTRACT, f"{ABSTRACT}-dgram"]}, id="abstract")
    acts = (("ask", "unix", "stream", ABSTRACT), ("ask", "unix", "dgram", f"{ABSTRACT}-dgram"),
            ("send_to", "unix", f"{ABSTRACT}-dgram"))
    client, pooler = host.actor(), host.actor("pooler")
    assert_allowed((act, pooler.do(*act)) for act in acts)
    if host.has_unix:
        assert_denied((act, client.do(*act)) for act in acts)
        assert host.violations("abstract")[0]["object"] == f"unix {ABSTRACT}"
    host.listen("unix", "stream", f"{ABSTRACT}-longer")
    assert_allowed([("a longer name", client.do("ask", "unix", "stream", f"{ABSTRACT}-longer"))])


def test_a_socket_made_anew_is_protected_too(host: Host) -> None:
    new = host.path("new.sock")
    host.apply({"unix": [new]}, id="anew")
    client, pooler = host.actor(), host.actor("pooler")
    for _ in range(2):
        host.listen("unix", "stream", new)
        if host.has_unix:
            assert_denied([("client", client.do("ask", "unix", "stream", new))])
        assert_allowed([("pooler", pooler.do("ask", "unix", "stream", new)),
                        ("unlink", host.database.do("unlink", new))])
    host.listen("unix", "stream", host.path("temporary.sock"))
    assert_allowed([("rename", host.database.do("rename", host.path("temporary.sock"), new))])
    if host.has_unix:
        assert_denied([("renamed into place", client.do("ask", "unix", "stream", new))])
    assert_allowed([("pooler", pooler.do("ask", "unix", "stream", new))])
