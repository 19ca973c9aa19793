"""Loop devices over protected files, from a made-up /sys/block."""

from __future__ import annotations

from pathlib import Path

from nbspd.audit.finding import Finding, Kind
from nbspd.audit.knowledge import Protected
from nbspd.audit.loops import loop_findings
from nbspd.audit.places import MountTables

from .made import DEMANDS
from .test_holdings import protecting, searcher


def device(sysfs: Path, number: int, backing: str | None) -> None:
    """Make a loop device; one that stands on nothing has no folder for it."""
    folder = sysfs / f"loop{number}"
    folder.mkdir(parents=True)
    (folder / "dev").write_text(f"7:{number}\n")
    if backing is not None:
        (folder / "loop").mkdir()
        (folder / "loop/backing_file").write_text(f"{backing}\n")


def found(tmp_path: Path, *declared: int) -> list[Finding]:
    tree, sysfs = tmp_path / "tree", tmp_path / "sys"
    tree.mkdir()
    for number, backing in enumerate((f"{tree}/disk", f"{tmp_path}/other", None, f"{tree}/old disk (deleted)")):
        device(sysfs, number, backing)
    (sysfs / "loop9/loop/backing_file").mkdir(parents=True)         # cannot be read
    one = searcher(protecting(tree))
    one.places.devices = {7 << 20 | number: Protected("/dev/loop", DEMANDS) for number in declared}
    return list(loop_findings(one, MountTables().own, sysfs))


def test_loop_devices_over_protected_files(tmp_path: Path) -> None:
    first, second = found(tmp_path)
    assert (first.kind, first.rules, first.only_through) == (Kind.LOOP, ("through-pooler",), ("pooler",))
    assert first.what.startswith(f"/dev/loop0 stands on {tmp_path}/tree/disk")
    assert "losetup -d /dev/loop0" in first.remedy
    assert second.what.startswith("/dev/loop3 ") and not second.harmless


def test_a_device_that_is_declared_itself(tmp_path: Path) -> None:
    assert [one.what.partition(" ")[0] for one in found(tmp_path, 0)] == ["/dev/loop3"]
