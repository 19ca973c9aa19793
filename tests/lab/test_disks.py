"""What lies above and below a protected file: directories, the disk, mounts; and that Debian works on with them."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .example import Applied, answer, assert_refused

PLACE = "/srv/disks-test"
KEY = f"{PLACE}/deep/key"
RULE = "key-through-tac"
TEXT = f"""version: 1
checkpoints:
  tac: {{exe: /usr/bin/tac}}
  mv: {{exe: /usr/bin/mv}}
resources:
  key: {{files: [{KEY}]}}
  later: {{trees: [{PLACE}/empty/later]}}
rules:
  - {{id: {RULE}, protect: key, only-through: [tac, mv]}}
  - {{id: later-through-tac, protect: later, only-through: [tac]}}
"""
OWN = """version: 1
checkpoints:
  dd: {exe: /usr/bin/dd}
resources:
  disk: {devices: [%s]}
rules:
  - {id: disk-through-dd, protect: disk, only-through: [dd]}
"""
PACKAGE = r"""set -e
rm -rf /root/small && mkdir -p /root/small/DEBIAN /root/small/usr/lib/nbspd-small && cd /root
printf 'Package: nbspd-small\nVersion: 1\nArchitecture: all\n' > small/DEBIAN/control
printf 'Maintainer: a <a@example.org>\nDescription: x\n' >> small/DEBIAN/control
echo 'activate-noawait ldconfig' > small/DEBIAN/triggers
echo content > small/usr/lib/nbspd-small/file
dpkg-deb --build small small.deb
"""
# renameat2(2) has no command; errno by name
PYTHON = """import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
how, one, other = sys.argv[1:]
done = libc.renameat2(-100, one.encode(), -100, other.encode(), 2 if how == 'exchange' else 0)
print('allowed' if done == 0 else errno.errorcode[ctypes.get_errno()])
"""


@pytest.fixture(scope="module")
def disk(guest: Guest) -> str:
    """The device below the root file system."""
    return guest.run("findmnt -n -o SOURCE /", check=True).output.strip()


@pytest.fixture(scope="module")
def applied(guest: Guest, disk: str) -> Iterator[Applied]:
    """Everything works before; then the rules come."""
    guest.put("/root/rename.py", PYTHON)
    guest.run(f"rm -rf {PLACE} /srv/disks-other; mkdir -p {PLACE}/deep {PLACE}/empty /srv/disks-other; "
              f"echo secret > {KEY}; echo other > /srv/disks-other/file", check=True)
    guest.run(f"dd if={disk} bs=4096 count=1 status=none | wc -c | grep -qx 4096", check=True)
    guest.run(f"cd {PLACE} && mv deep deeper && mv deeper deep && rmdir empty && mkdir empty", check=True)
    guest.run(f"unshare -m sh -c 'mount --bind /srv/disks-other/file {KEY} && grep -q other {KEY}'", check=True)
    try:
        with Applied(guest, "60-disks.yaml", TEXT) as rules:
            yield rules
    finally:
        guest.run(f"rm -rf {PLACE} /srv/disks-other /root/rename.py /root/small*; dpkg -P nbspd-small")


def needs_files(guest: Guest) -> None:
    """Leave where tier socket has nothing of it, as coverage says."""
    if guest.tier == "socket":
        pytest.skip("tier socket judges no files: coverage says so, as test_coverage_says_it checks")


def renamed(guest: Guest, how: str, one: str, other: str) -> str:
    return guest.run(["/usr/bin/python3", "/root/rename.py", how, one, other], check=True).output.strip()


def test_coverage_says_it(guest: Guest, applied: Applied) -> None:
    state = applied.coverage(RULE)
    wanted = "open" if guest.tier == "socket" else "enforced"
    assert [state[name] for name in ("ancestor", "raw-device", "mount-over")] == [wanted] * 3
    assert state["stacked-device"] == state["mount-above"] == "open"


def test_the_directories_above_stay_where_they_are(guest: Guest, applied: Applied) -> None:
    needs_files(guest)
    assert renamed(guest, "rename", f"{PLACE}/deep", f"{PLACE}/deeper") == "EPERM"
    assert renamed(guest, "rename", PLACE, "/srv/disks-moved") == "EPERM"
    for one, other in ((PLACE, "/srv/disks-other"), ("/srv/disks-other", PLACE)):
        assert renamed(guest, "exchange", one, other) == "EPERM"
    assert_refused(guest.run(f"rmdir {PLACE}/empty"))
    record = applied.violations(RULE, object=f"{PLACE}/deep", channel="rename")[-1]
    assert record["action"].endswith("move") and set(record["missing"]) == {"mv", "tac"}


def test_the_rest_in_them_is_free(guest: Guest, applied: Applied) -> None:
    guest.run(f"cd {PLACE}/deep && ls && touch new && mv new newer && rm newer && mkdir d && rmdir d && chmod 755 .",
              check=True)
    guest.run(f"cd {PLACE} && mv deep deeper && mv deeper deep && tac {KEY} | grep -q secret", check=True)


def test_the_disk_is_for_the_tools_only(guest: Guest, applied: Applied, disk: str) -> None:
    needs_files(guest)
    assert_refused(guest.run(f"dd if={disk} bs=4096 count=1 of=/dev/null"))
    assert_refused(guest.run(f"dd of={disk} bs=1 count=0 conv=notrunc if=/dev/null"))
    assert_refused(guest.run(f"rm -f /root/node; mknod /root/node b $(stat -c '0x%t 0x%T' {disk}) && "
                             "dd if=/root/node count=1; s=$?; rm /root/node; exit $s"))
    assert_refused(guest.run(f"cp /usr/sbin/blkid /root/blkid && /root/blkid -p {disk} 2>&1 || dd if={disk} count=1"))
    record = applied.violations("disks", comm="dd")[-1]
    assert disk in record["object"] and record["channel"] == "device_open"
    told = guest.run(["nbsp", "explain", str(record["seq"])], check=True).output
    assert "holds protected files" in told and "devices:" in told
    for command, words in ((f"blkid -p {disk}", 'TYPE="ext4"'), (f"e2fsck -n {disk}", "clean"), ("lsblk -f", "ext4"),
                           (f"tune2fs -l {disk}", "Filesystem UUID"),
                           (f"udevadm trigger --settle {disk} && udevadm info -q property {disk}", "ID_FS_TYPE=ext4"),
                           (f"mount {disk} /mnt && ls /mnt && umount /mnt", "srv")):
        assert words in guest.run(command, 60).output, command


def test_a_package_with_triggers_is_installed(guest: Guest, applied: Applied) -> None:
    guest.run(PACKAGE, check=True)
    done = guest.run("DEBIAN_FRONTEND=noninteractive apt-get install -y /root/small.deb 2>&1", 120, check=True)
    assert "Processing triggers for libc-bin" in done.output
    guest.run("apt-get remove -y nbspd-small && update-initramfs -u -k none; true", 120, check=True)


def test_the_image_below_a_loop_device(guest: Guest, applied: Applied) -> None:
    needs_files(guest)
    guest.run("truncate -s 8M /srv/disks-image && mke2fs -q -F /srv/disks-image && mkdir -p /srv/disks-loop && "
              "mount -o loop /srv/disks-image /srv/disks-loop && echo secret > /srv/disks-loop/key && sync", check=True)
    loop = guest.run("findmnt -n -o SOURCE /srv/disks-loop", check=True).output.strip()
    try:
        guest.run("losetup -f --show -r /srv/disks-image | xargs losetup -d", check=True)
        with Applied(guest, "61-loop.yaml", "version: 1\nresources: {x: {files: [/srv/disks-loop/key]}}\n"
                     "rules: [{id: in-the-image, protect: x, only-through: []}]\n"):
            for command in ("cat /srv/disks-image", "losetup -f --show -r /srv/disks-image", f"dd if={loop} count=1"):
                assert_refused(guest.run(command))
    finally:
        guest.run("umount /srv/disks-loop; rm -rf /srv/disks-image /srv/disks-loop", check=True)


def test_a_rule_of_ones_own_is_the_only_one(guest: Guest, applied: Applied, disk: str) -> None:
    needs_files(guest)
    with Applied(guest, "61-own.yaml", OWN % disk):
        guest.run(f"dd if={disk} bs=4096 count=1 of=/dev/null", check=True)
        assert guest.run(f"blkid -p {disk}").status != 0
    assert_refused(guest.run(f"dd if={disk} bs=4096 count=1 of=/dev/null"))
    guest.run(f"blkid -p {disk}", check=True)


def test_nobody_mounts_over_it_but_systemd(guest: Guest, applied: Applied) -> None:
    needs_files(guest)
    for command in (f"unshare -m mount --bind /srv/disks-other/file {KEY}",
                    f"unshare -Urm mount --bind /srv/disks-other/file {KEY}"):
        assert guest.run(command).status != 0, command
    record = applied.violations(RULE, channel="cover", object=KEY)[-1]
    assert record["verdict"] == "denied"
    for how in ("-m", "-Urm"):      # a disk is mounted so, and sandboxes hide directories
        guest.run(f"unshare {how} sh -c 'mount -t tmpfs x {PLACE} && test ! -e {KEY}'", check=True)
    guest.run(f"unshare -m mount -o remount,bind,ro {PLACE} 2>/dev/null; unshare -m mount --make-shared /", check=True)
    hidden = ("systemd-run --wait -q --pipe -p InaccessiblePaths=%s -p ProtectSystem=strict -p PrivateTmp=yes "
              "-p ReadOnlyPaths=%s sh -c 'wc -c < %s'" % (KEY, PLACE, KEY))
    assert guest.run(hidden, 60, check=True).output.strip() == "0"
    assert_refused(guest.run(f"systemd-run --wait -q --pipe -p ReadOnlyPaths={KEY} cat {KEY}", 60))


def test_what_is_said_of_it(guest: Guest, applied: Applied) -> None:
    needs_files(guest)
    own = {rule["id"]: rule["counters"]["hits"] for rule in answer(guest, "status")["rules"]
           if rule["state"] == "nbspd's own"}
    assert set(own) == {"above", "disks", "sealed"} and own["disks"]
