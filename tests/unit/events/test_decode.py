"""Decoding the kernel's records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbspd import abi
from nbspd.errors import HostError
from nbspd.events.decode import SIZE, HitAncestor, decode

from .hits import file_record, record, sun_record


def test_every_field_arrives() -> None:
    hit = decode(record())
    assert (hit.time_ns, hit.generation, hit.rule, hit.tgid, hit.tid) == (5_000_000_000, 4, 3, 4000, 4001)
    assert (hit.address, hit.port, hit.proto) == ("127.0.0.1", 5432, 6)
    assert (hit.uid, hit.euid, hit.gid, hit.login_uid, hit.session) == (1000, 0, 1000, 1000, 7)
    assert (hit.start_ticks, hit.cgroup, hit.exe) == (99, 77, (8 << 20 | 1, 1234))
    assert (hit.exe_name, hit.comm) == ("psql", "psql")
    assert hit.stamps == (5, 511)
    assert hit.argv == ("psql", "-h", "127.0.0.1")
    assert hit.ancestors == (HitAncestor(812, 0, 1000, "bash"), HitAncestor(1, 1, 1000, "systemd"))
    assert (hit.channel, hit.verdict, hit.access) == (abi.Channel.CONNECT, abi.VerdictCode.DENIED, abi.Access.CONNECT)


def test_a_file() -> None:
    hit = decode(file_record(b"x", b"payroll", b"srv"))
    assert hit.names == ("x", "payroll", "srv")
    assert hit.object == (8 << 20 | 1, 55, 9)
    assert hit.address == ""


def test_ids_that_are_not_set_are_minus_one() -> None:
    hit = decode(record(loginuid=abi.UNSET_ID, sessionid=abi.UNSET_ID))
    assert (hit.login_uid, hit.session) == (-1, -1)


@pytest.mark.parametrize("raw, name", [
    (b"\0bus", "@bus"), (b"/run/x.sock", "/run/x.sock"), (b"", ""), (b"\0a\0b", "@a\0b"),
    (b"\0" + b"n" * 109, "@" + "n" * 109)])
def test_unix_names(raw: bytes, name: str) -> None:
    assert decode(sun_record(raw)).sun_name == name


def test_bytes_that_are_no_utf8_are_shown() -> None:
    assert decode(record(comm=b"a\xffb")).comm == "a\\xffb"


def test_addresses_of_version_6() -> None:
    assert decode(record(addr=type(abi.Violation().addr)(*bytes(15), 1))).address == "::1"


@pytest.mark.parametrize("size", (0, SIZE - 1, SIZE + 8))
def test_a_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(HostError, match=f"{size} bytes"):
        decode(bytes(size))


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_any_bytes_decode(raw: bytes) -> None:
    decode(raw)
