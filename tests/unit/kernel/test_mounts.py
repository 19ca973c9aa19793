"""Mount tables: escapes, which mount holds a path, and the trees that we need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nbspd.errors import HostError
from nbspd.kernel import mounts

TABLE = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 27 0:28 / /sys/fs/cgroup rw shared:4 master:1 - tmpfs none rw,mode=755
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
50 27 8:17 /sub/a\\040b /srv/with\\040blank\\134\\011 rw,relatime shared:1 - btrfs /dev/my\\040disk rw
51 27 0:50 / /srv rw - tmpfs tmpfs rw
52 27 0:51 / /srv rw - xfs top rw
"""


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> tuple[mounts.Mount, ...]:
    parsed = mounts.parse_mountinfo(TABLE)
    monkeypatch.setattr(mounts, "mounts", lambda pid="self": parsed)
    return parsed


def test_fields(table: tuple[mounts.Mount, ...]) -> None:
    assert table[0] == mounts.Mount(27, 1, 254 << 20, "/", "/", "ext4", "/dev/vda")
    assert table[3] == mounts.Mount(50, 27, 8 << 20 | 17, "/sub/a b", "/srv/with blank\\\t", "btrfs", "/dev/my disk")


def test_the_deepest_and_topmost_mount_holds_a_path(table: tuple[mounts.Mount, ...]) -> None:
    for path, number in (("/etc/passwd", 27), ("/srv", 52), ("/srv/x", 52), ("/srvx", 27), ("/sys/fs/cgroup/a", 31)):
        assert mounts.mount_of(Path(path)).id == number, path


def test_relative_path_has_no_mount(table: tuple[mounts.Mount, ...]) -> None:
    with pytest.raises(HostError, match="no mount holds etc"):
        mounts.mount_of(Path("etc"))


def test_cgroup2_is_found_on_a_mixed_host(table: tuple[mounts.Mount, ...]) -> None:
    assert mounts.cgroup2_root() == Path("/sys/fs/cgroup/unified")


def test_no_cgroup2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "mounts", lambda pid="self": mounts.parse_mountinfo(TABLE.replace("cgroup2", "cgroup")))
    with pytest.raises(HostError) as caught:
        mounts.cgroup2_root()
    assert "no cgroup-v2 tree" in caught.value.cause and caught.value.remedy


def test_bpffs_is_not_mounted_unasked(tmp_path: Path) -> None:
    assert mounts.bpffs_ready(tmp_path / "pins", mount=False) is False


def test_bpffs_is_mounted_where_it_is_missing(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:      # in a mount namespace of its own, so that nothing stays
        code = 1
        try:
            libc = mounts.ctypes.CDLL(None)
            if libc.unshare(0x20000) == 0 and libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) == 0:
                pins = tmp_path / "bpf" / "pins"
                pins.parent.mkdir()
                code = 0 if mounts.bpffs_ready(pins) and mounts.mount_of(pins).fstype == "bpf" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_bpffs_where_nothing_can_be_mounted() -> None:
    with pytest.raises(HostError) as caught:
        mounts.bpffs_ready(Path("/nowhere/at/all/pins"))
    assert "cannot mount bpffs on /nowhere/at/all" in caught.value.cause and "mount -t bpf" in caught.value.remedy


def test_our_own_mounts() -> None:
    assert any(mount.fstype == "proc" for mount in mounts.mounts())
    assert mounts.mount_of(Path("/proc/self")).dev == mounts.kernel_dev(os.stat("/proc").st_dev)
