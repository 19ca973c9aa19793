"""What lies below a file system, in a sysfs of our own; and the directories above a path, in folders of our own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbspd import abi
from nbspd.kernel.mounts import Mount
from nbspd.programs import own_demands as module
from nbspd.programs.above import Above, demand, ways
from nbspd.programs.bind import bind
from nbspd.programs.bound import Bound
from nbspd.programs.disks import TOOLS, Below, below
from nbspd.programs.image import render
from nbspd.programs.inspect import Inspector, Key
from nbspd.programs.names import move_bit, object_hash
from nbspd.rules.plan import Clause, Plan
from nbspd.rules.reserved import ABOVE, DISKS, RESERVED

from .plans import clause, numbers_of, plan_of, program
from .test_image import has

MOVE = int(abi.Access.MOVE)


def number(major: int, minor: int) -> int:
    return major << 20 | minor


class Sys:
    """A sysfs: every device in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "dev/block").mkdir(parents=True)

    def device(self, path: str, major: int, minor: int, **files: str) -> Path:
        folder = self.root / "devices" / path
        folder.mkdir(parents=True)
        (folder / "dev").write_text(f"{major}:{minor}\n")
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content)
        (self.root / f"dev/block/{major}:{minor}").symlink_to(folder)
        return folder

    def below(self, major: int, minor: int, *mounts: Mount) -> Below:
        return below(number(major, minor), mounts, self.root)


@pytest.fixture
def sys(tmp_path: Path) -> Sys:
    return Sys(tmp_path / "sys")


def names(found: Below) -> set[str]:
    return {*found.block.values(), *found.character.values()}


def test_a_partition_its_disk_and_the_nodes_that_send_commands_to_it(sys: Sys) -> None:
    disk = sys.device("sda", 8, 0)
    sys.device("sda/sda1", 8, 1, partition="1\n")
    sys.device("sda/sda2", 8, 2, partition="2\n")
    for node, device in (("scsi_generic/sg0", "21:0"), ("bsg/0:0:0:0", "250:0")):
        (disk / "device" / node).mkdir(parents=True)
        (disk / "device" / node / "dev").write_text(device)
    found = sys.below(8, 1)
    assert set(found.block) == {number(8, 1), number(8, 0)}       # not the other partition
    assert set(found.character) == {number(21, 0), number(250, 0)}
    assert names(found) == {"/dev/sda1", "/dev/sda", "/dev/sg0", "/dev/0:0:0:0"}


def test_an_nvme_disk_has_its_controller_and_a_character_device(sys: Sys) -> None:
    disk = sys.device("nvme0/nvme0n1", 259, 0)
    (disk.parent / "dev").write_text("240:0")
    (disk / "device").symlink_to(disk.parent)
    (disk.parent / "ng0n1").mkdir()
    (disk.parent / "ng0n1/dev").write_text("239:0")
    assert set(sys.below(259, 0).character) == {number(240, 0), number(239, 0)}


def test_slaves_of_slaves_of_mapper_and_array(sys: Sys) -> None:
    mapped, array = sys.device("dm-1", 253, 1), sys.device("md0", 9, 0)
    (mapped / "slaves").mkdir()
    (mapped / "slaves/md0").symlink_to(array)
    (array / "slaves").mkdir()
    for minor, name in ((17, "sdb1"), (33, "sdc1")):
        sys.device(name[:3], 8, minor - 1)
        (array / "slaves" / name).symlink_to(sys.device(f"{name[:3]}/{name}", 8, minor, partition="1"))
    assert names(sys.below(253, 1)) == {"/dev/dm-1", "/dev/md0", "/dev/sdb1", "/dev/sdb", "/dev/sdc1", "/dev/sdc"}


def test_a_loop_device_stands_on_a_file(sys: Sys) -> None:
    loop = sys.device("loop0", 7, 0)
    (loop / "loop").mkdir()
    (loop / "loop/backing_file").write_text("/srv/an image\n")
    assert list(sys.below(7, 0).files) == ["/srv/an image"]
    (loop / "loop/backing_file").write_text("/srv/image (deleted)\n")
    found = sys.below(7, 0)
    assert not found.files and list(found.lost) == ["/srv/image"]


def test_what_stands_on_no_device(sys: Sys) -> None:
    mount = Mount(1, 1, number(0, 40), "/", "/run", "tmpfs", "tmpfs")
    assert not sys.below(0, 40, mount).block and not sys.below(0, 41).block


# -- above


def test_ways_lead_through_every_link(tmp_path: Path) -> None:
    here = Path(os.path.realpath(tmp_path))
    (here / "real/deep").mkdir(parents=True)
    (here / "first").symlink_to("second")
    (here / "second").symlink_to(here / "real")
    found = ways(f"{here}/first/deep")
    assert {f"{here}/first/deep", f"{here}/first", f"{here}/second", f"{here}/real", str(here)} <= set(found)
    assert "/" not in found and len(set(found)) == len(found)


def test_links_in_a_circle_end() -> None:
    assert ways("/proc/self/cwd/../cwd/nothing")


def test_few_rules_are_named_and_many_become_one_that_satisfies_all() -> None:
    few = {0: clause(0, 1, 2), 1: clause(1, 2)}
    assert demand(few) == (Clause(0, MOVE, (1, 2), 0, 0), Clause(1, MOVE, (2,), 0, 0))
    many = {**few, 2: clause(2, 2, 3), 3: Clause(3, 3, (), 1, 0)}
    assert demand(many) == (Clause(ABOVE, MOVE, (2,), 0, 0),)      # what is audited lets the others decide
    own = tuple(Clause(rule, 3, (), 0, 0) for rule in range(4))
    assert len(demand(many, own)) == 4                              # they have their places there already


class Judging(Inspector):
    """As in a tier that judges files, by stat alone."""

    judges_files = True


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = Path(os.path.realpath(tmp_path))
    program(folder / "pooler")
    return folder


def key(path: Path) -> Key:
    with Inspector() as inspector:
        inode = inspector.look(str(path), is_followed=False)
        assert inode is not None
        return inode.key


def bound_of(plan: Plan, monkeypatch: pytest.MonkeyPatch, found: Below | None = None) -> Bound:
    monkeypatch.setattr(module, "below", lambda dev, table: found or Below())
    return bind(plan, numbers_of(plan), Judging())


def test_above_and_its_bit_in_the_filter(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "real/in").mkdir(parents=True)
    (here / "way").symlink_to("real")
    above = Above()
    above.add(f"{here}/way/in/key", [clause(0, 0)])
    assert {step for step, _ in above.steps()} >= {f"{here}/way", f"{here}/real/in", f"{here}/real"}
    plan = plan_of({"pooler": {"exe": f"{here}/pooler"}}, {"x": {"files": [f"{here}/way/in/key"]}}, r=("x", ["pooler"]))
    bound = bound_of(plan, monkeypatch)
    image = render(bound, {index: index for index in range(len(bound.checkpoints))})
    for path in (here / "way", here / "real", here / "real/in"):
        binding = bound.inodes[key(path)]
        assert not binding.own and not binding.tree
        assert [(one.rule, one.access, one.accept) for one in binding.itself] == [(0, MOVE, (0,))]
        value = object_hash(key(path)[1], key(path)[0])
        assert has(image, value, move_bit(value))
    assert not bound.implicit_rules or set(bound.implicit_rules) == {ABOVE}
    assert bound.inodes[key(here)].above[0].rule == ABOVE and bound.names.rules[ABOVE] is RESERVED[ABOVE]


def test_a_directory_between_a_tree_and_what_is_declared_in_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "tree/between").mkdir(parents=True)
    plan = plan_of({"pooler": {"exe": f"{here}/pooler"}},
                   {"t": {"trees": [f"{here}/tree"]}, "f": {"files": [f"{here}/tree/between/key"]}},
                   a=("t", ["pooler"]), b=("f", ["pooler"]))
    bound = bound_of(plan, monkeypatch)
    between = {one.rule: one.access for one in bound.inodes[key(here / "tree/between")].itself}
    assert between == {0: 3 | MOVE, 1: MOVE} or between == {0: 3 | 4 | MOVE, 1: MOVE}
    tree = {one.rule: one.access for one in bound.inodes[key(here / "tree")].itself}
    assert tree[0] & MOVE and tree[1] == MOVE and tree[0] & 3 == 3


def test_nothing_of_it_where_files_are_not_judged(here: Path) -> None:
    plan = plan_of({"pooler": {"exe": f"{here}/pooler"}}, {"x": {"files": [f"{here}/key"]}}, r=("x", ["pooler"]))
    bound = bind(plan, numbers_of(plan), Inspector())
    assert not bound.inodes and not bound.implicit_rules and len(bound.checkpoints) == 1


# -- disks


def disk_plan(here: Path, **more: object) -> Plan:
    (here / "key").write_text("")
    return plan_of({"pooler": {"exe": f"{here}/pooler"}}, {"x": {"files": [f"{here}/key"]}, **more},
                   **{"r": ("x", ["pooler"]), **({"d": ("d", [])} if more else {})})


def test_the_disk_below_is_for_the_tools_that_are_installed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "image").write_text("")
    found = Below({number(7, 0): "/dev/loop0"}, {number(21, 0): "/dev/sg0"}, {f"{here}/image": None}, {"/gone": None})
    monkeypatch.setattr(module, "TOOLS", (f"{here}/pooler", "/nowhere", f"{here}/key"))
    bound = bound_of(disk_plan(here), monkeypatch, found)
    tools = [one for one in bound.checkpoints if one.checkpoint.name.startswith("nbspd:disk:")]
    assert [one.checkpoint.name for one in tools] == ["nbspd:disk:pooler"] and tools[0].uid == 0
    index = bound.checkpoints.index(tools[0])
    for device in ((abi.RDEV_DEV, number(7, 0), 1), (abi.RDEV_DEV, number(21, 0), 0)):
        assert bound.inodes[device].own == (Clause(DISKS, 7, (index,), 0, 0),)
    assert bound.inodes[key(here / "image")].own == (Clause(DISKS, 7, (), 0, 0),)      # nobody attaches it once more
    assert bound.names.rules[DISKS] is RESERVED[DISKS] and set(bound.lost_disks) == {"/gone"}


def test_a_rule_of_the_operators_is_the_only_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = disk_plan(here, d={"files": [f"{here}/image"]})
    (here / "image").write_text("")
    bound = bound_of(plan, monkeypatch, Below({1: "/dev/x"}, files={f"{here}/image": None}))
    assert [plan.rules[one.rule].id for one in bound.inodes[key(here / "image")].own] == ["d"]


def test_no_tool_shows_or_copies_what_it_is_asked_for() -> None:
    forbidden = {"dd", "debugfs", "e2image", "xfs_db", "hdparm", "nvme", "losetup", "dmsetup", "kpartx", "btrfs",
                 "fsck.f2fs"}
    assert not forbidden & {os.path.basename(path) for path in TOOLS}
