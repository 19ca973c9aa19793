"""Where a file lies: by mount and name, by inode, by the tree around it, whatever path led there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbspd.audit.knowledge import Protected
from nbspd.audit.places import MountTables, Places, Seen, look, objects_of, place_of
from nbspd.kernel.mounts import Mount

from .made import DEMANDS, knowledge


def mount(root: str, point: str, dev: int = 8) -> Mount:
    return Mount(1, 0, dev, root, point, "ext4", "disk")


@pytest.mark.parametrize("path, where, place", [
    ("/srv/a", mount("/", "/"), "/srv/a"), ("/", mount("/", "/"), "/"), ("/mnt/a/b", mount("/", "/mnt"), "/a/b"),
    ("/mnt", mount("/", "/mnt"), "/"), ("/mnt/b", mount("/srv/a", "/mnt"), "/srv/a/b"),      # a bind mount
    ("/mnt", mount("/srv/a", "/mnt"), "/srv/a"), ("/mntb/c", mount("/", "/mnt"), None),
    ("/else", mount("/", "/mnt"), None), ("/mnt/b", mount("/srv/a//deleted", "/mnt"), "/srv/a/b")])
def test_a_path_becomes_a_name_below_the_superblocks_root(path: str, where: Mount, place: str | None) -> None:
    assert place_of(path, where) == (None if place is None else (8, place))


def test_a_mount_that_is_gone_tells_nothing() -> None:
    assert place_of("/a", None) is None
    assert objects_of(None, 5, None) == ()


@pytest.fixture
def table() -> dict[int, Mount]:
    return MountTables().own


def seen(path: Path, table: dict[int, Mount]) -> Seen:
    found = look(str(path), table)
    assert found is not None
    return found


def test_looking_at_a_path(tmp_path: Path, table: dict[int, Mount]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    one, other = seen(tmp_path / "file", table), seen(tmp_path / "link", table)
    assert one == other and one.objects[0][1] == os.stat(tmp_path / "file").st_ino
    assert one.place is not None and one.place[1].endswith("/file")
    assert look(str(tmp_path / "none"), table) is None


def places(tmp_path: Path, table: dict[int, Mount], tier: str = "lsm") -> Places:
    """Return a protected file, a name and a tree in a folder."""
    for name in ("tree/deep/b", "key", "elsewhere/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    known = knowledge(tier=tier)
    known.objects[seen(tmp_path / "key", table).objects[0]] = Protected(str(tmp_path / "key"), DEMANDS)
    known.objects[seen(tmp_path / "tree", table).objects[0]] = Protected(str(tmp_path / "tree"), tree=DEMANDS)
    folder = seen(tmp_path, table).objects[0]
    known.names.append((folder, str(tmp_path), "awaited", Protected(str(tmp_path / "awaited"), DEMANDS)))
    return Places(known, table)


@pytest.mark.parametrize("name, is_protected", [
    ("key", True), ("tree", True), ("tree/deep", True), ("tree/deep/b", True), ("awaited", True),
    ("elsewhere/c", False)])
def test_what_is_protected(name: str, is_protected: bool, tmp_path: Path, table: dict[int, Mount]) -> None:
    found = places(tmp_path, table)
    (tmp_path / "awaited").write_text("")
    one = seen(tmp_path / name, table)
    assert (found.find(one.objects, one.place) is not None) == is_protected
    assert found.moved == [] and one.place is not None and one.place[0] in found.superblocks


def test_a_file_without_its_name_is_known_by_its_inode(tmp_path: Path, table: dict[int, Mount]) -> None:
    found = places(tmp_path, table)
    assert found.find(seen(tmp_path / "key", table).objects, None) is not None
    inside = seen(tmp_path / "tree/deep/b", table)
    assert found.find(inside.objects, None) is None
    found.inside[inside.objects[0]] = Protected("tree", tree=DEMANDS)
    assert found.find(inside.objects, None) is not None


def test_what_was_renamed_since_is_said(tmp_path: Path, table: dict[int, Mount]) -> None:
    known = knowledge()
    known.objects[0, 1] = Protected(str(tmp_path), tree=DEMANDS)
    known.objects[0, 2] = Protected(str(tmp_path / "gone"), tree=DEMANDS)
    known.names.append(((0, 3), str(tmp_path), "x", Protected("x", DEMANDS)))
    found = Places(known, table)
    assert sorted(found.moved) == [str(tmp_path), str(tmp_path), str(tmp_path / "gone")] and not found.trees


def test_tier_socket_knows_a_file_by_stat_alone(tmp_path: Path, table: dict[int, Mount]) -> None:
    (tmp_path / "key").write_text("")
    one = seen(tmp_path / "key", table)
    known = knowledge(tier="socket")
    known.objects[one.objects[-1]] = Protected(str(tmp_path / "key"), DEMANDS)
    assert all(key in Places(known, table).objects for key in one.objects)
