"""Which stamps the processes that run already deserve."""

from __future__ import annotations

from nbspd import abi
from nbspd.kernel.process import ProcessFacts
from nbspd.programs.stamping import Candidate, deserved, stamp_value

from .plans import on_host

SELF, CHILDREN, LATE, UNIT = 1, 2, 3, 4
PROGRAM = {"pooler": (1, 10), "sudo": (1, 20), "tool": (1, 30), "other": (1, 40)}


def process(pid: int, program: str, ppid: int = 0, cgroup: str = "/") -> ProcessFacts:
    dev, ino = PROGRAM[program]
    return ProcessFacts(pid=pid, ppid=ppid, start_ticks=1, comm=program, exe=f"/usr/bin/{program}", exe_dev=dev,
                        exe_ino=ino, uid=0, euid=0, loginuid=0, sessionid=0, cgroup=cgroup, cmdline=())


def candidate(bit: int, after: frozenset[int] = frozenset(), cgroup: str | None = None) -> Candidate:
    return Candidate(bit, on_host(f"c{bit}", cgroup=cgroup), after)


EXES = {PROGRAM["pooler"]: (candidate(SELF),), PROGRAM["sudo"]: (candidate(CHILDREN),),
        PROGRAM["tool"]: (candidate(LATE, after=frozenset({CHILDREN})), candidate(UNIT, cgroup="/system.slice/a"))}


def stamps(*processes: ProcessFacts, held: dict[int, frozenset[int]] | None = None) -> dict[int, set[int]]:
    found = deserved({one.pid: one for one in processes}, EXES, held or {}, frozenset({CHILDREN}))
    return {pid: set(bits) for pid, bits in found.items()}


def test_a_self_stamp_is_the_programs_own() -> None:
    found = stamps(process(1, "pooler"), process(2, "other", 1), process(3, "pooler", 2))
    assert found == {1: {SELF}, 2: set(), 3: {SELF}}


def test_a_children_stamp_goes_down_the_line() -> None:
    assert stamps(process(4, "other", 3), process(3, "other", 2), process(2, "sudo", 1), process(1, "other")) == {
        1: set(), 2: {CHILDREN}, 3: {CHILDREN}, 4: {CHILDREN}}


def test_after_needs_the_stamp_before() -> None:
    found = stamps(process(1, "sudo"), process(2, "tool", 1), process(3, "tool"))
    assert found == {1: {CHILDREN}, 2: {CHILDREN, LATE}, 3: set()}
    assert stamps(process(1, "sudo"), process(2, "other", 1), process(3, "tool", 2))[3] == {CHILDREN, LATE}


def test_a_unit_is_its_cgroup_and_what_is_below() -> None:
    found = stamps(process(1, "tool", cgroup="/system.slice/a"), process(2, "tool", cgroup="/system.slice/a/b"),
                   process(3, "tool", cgroup="/system.slice/ab"), process(4, "tool", cgroup="/"))
    assert found == {1: {UNIT}, 2: {UNIT}, 3: set(), 4: set()}


def test_what_is_held_is_kept_and_counts() -> None:
    found = stamps(process(1, "other"), process(2, "tool", 1), held={1: frozenset({CHILDREN}), 2: frozenset({99})})
    assert found == {1: {CHILDREN}, 2: {99, CHILDREN, LATE}}


def test_numbers_in_a_circle_end() -> None:
    assert stamps(process(1, "pooler", 2), process(2, "sudo", 3), process(3, "other", 1))[1] >= {SELF}
    assert stamps(process(1, "pooler", 1)) == {1: {SELF}}


def test_a_long_line_of_ancestors() -> None:
    line = [process(1, "sudo")] + [process(pid, "other", pid - 1) for pid in range(2, 5000)]
    assert stamps(*reversed(line))[4999] == {CHILDREN}


def test_a_stamp_as_the_kernel_keeps_it() -> None:
    stamp = abi.Stamp.from_buffer_copy(stamp_value(7, range(100, 120)))
    assert stamp.start_ticks == 7 and list(stamp.list) == [bit + 1 for bit in range(100, 100 + abi.STAMPS_HELD)]
    assert sum(word.bit_count() for word in stamp.bits) == abi.STAMPS_HELD
