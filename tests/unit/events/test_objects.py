"""Objects in words."""

import pytest

from nbspd import abi
from nbspd.events.decode import decode
from nbspd.events.host import Host
from nbspd.events.objects import below, object_words

from .hits import file_record, record, sun_record

KEY = (8 << 20 | 1, 55, 9)


class StubHost(Host):
    """A host with one mount and one interface."""

    def mount(self, dev: int) -> str:
        return {8 << 20 | 1: "/mnt/data"}.get(dev, "")

    def interface(self, index: int) -> str:
        return f"eth{index}"


@pytest.mark.parametrize("raw, declared, words", [
    (record(), {}, "tcp 127.0.0.1:5432"),
    (record(proto=17, addr=type(abi.Violation().addr)(*bytes(15), 1)), {}, "udp [::1]:5432"),
    (record(proto=132), {}, "sctp 127.0.0.1:5432"),
    (record(proto=47), {}, "protocol 47 127.0.0.1:5432"),
    (record(channel=abi.Channel.RAW_FRAMES, kind=abi.Kind.NONE), {}, "frames that no filter sees"),
    (record(channel=abi.Channel.INTERFACE, ifindex=2), {}, "tcp 127.0.0.1:5432 by eth2"),
    (sun_record(b"\0bus"), {}, "unix @bus"),
    (sun_record(b"/run/s"), {}, "unix /run/s"),
    (file_record(b"s", b"run", channel=abi.Channel.UNIX_SEND), {KEY: "/run/s"}, "unix /run/s"),
    (file_record(b"x", b"payroll", b"srv"), {KEY: "/srv/payroll"}, "/srv/payroll/x"),
    (file_record(b"x", b"y"), {}, "/mnt/data/y/x"),
    (file_record(b"x", b"y", object=abi.ObjectKey(ino=1, dev=5)), {}, "…/y/x"),
    (file_record(object=abi.ObjectKey(ino=1, dev=5)), {}, "inode 1 on device 0:5"),
    (file_record(b"f", b"e", b"d", b"c", b"b", b"a"), {}, "…/a/b/c/d/e/f"),
    (file_record(b"n", b"etc", kind=abi.Kind.SLOT), {KEY: "/etc"}, "/etc/n"),
    (file_record(b"modprobe", b"kernel", b"sys", kind=abi.Kind.PSEUDO, object=abi.ObjectKey(ino=77)),
     {(0, 77, 0): "/proc/sys/kernel/modprobe"}, "/proc/sys/kernel/modprobe"),
    (file_record(b"release_agent", kind=abi.Kind.PSEUDO, object=abi.ObjectKey(ino=77)),
     {(0, 77, 0): "/sys/fs/cgroup/**/release_agent"}, "/sys/fs/cgroup/**/release_agent"),
    (file_record(b"on", b"x", kind=abi.Kind.PSEUDO, object=abi.ObjectKey(ino=77)), {(0, 77, 0): "/sys/kernel/debug"},
     "/sys/kernel/debug/x/on"),
    (file_record(b"tty7", b"dev", kind=abi.Kind.RDEV, object=abi.ObjectKey(ino=4 << 20 | 7, dev=abi.RDEV_DEV)), {},
     "/dev/tty7 (device 4:7)")])
def test_words(raw: bytes, declared: dict[tuple[int, int, int], str], words: str) -> None:
    assert object_words(decode(raw), declared, StubHost()) == words


@pytest.mark.parametrize("base, names, is_slot, path", [
    ("/srv/payroll", ("payroll", "srv"), False, "/srv/payroll"),
    ("/srv/payroll", ("payroll",), False, "/srv/payroll"),                      # /srv is a mount
    ("/srv/a", ("a", "a", "a", "srv"), False, "/srv/a/a/a"),
    ("/srv/a", ("f", "b", "a", "data"), False, "/srv/a/b/f"),                   # /data bound over /srv
    ("/srv", ("f", "b"), False, "/srv/b/f"),                                    # the root of its file system
    ("/", ("f", "etc"), False, "/etc/f"),
    ("/srv/a", ("6", "5", "4", "3", "2", "1"), False, "/srv/a/…/1/2/3/4/5/6"),
    ("/srv/a", (), False, "/srv/a"),
    ("/etc", ("etc", "etc"), True, "/etc/etc"),
    ("/", ("n",), True, "/n")])
def test_below(base: str, names: tuple[str, ...], is_slot: bool, path: str) -> None:
    assert below(base, names, len(names) < abi.PATH_NAMES, is_slot) == path
