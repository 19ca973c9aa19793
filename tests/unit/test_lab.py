"""What the lab makes of a guest's console."""

from __future__ import annotations

from tests.lab.qemu import DEADLY, without_emulators_faults

LATE = """[    3.009572] Oops: int3: 0000 [#2] SMP NOPTI
[    3.010194] Kernel panic - not syncing: Fatal exception in interrupt
[    5.355941] ---[ end Kernel panic - not syncing: Fatal exception in interrupt ]---
"""
OURS = """[  552.714674] Oops: Oops: 0000 [#3] PREEMPT SMP NOPTI
[  552.724435] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009
[  552.729897] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009 ]---
"""
GOOD = "[    0.000000] Linux version\n"


def is_dead(console: str) -> bool:
    return any(sign in without_emulators_faults(console) for sign in DEADLY)


def test_a_kernel_that_the_emulator_broke_while_booting_starts_again() -> None:
    assert not is_dead(GOOD + LATE.split("[    5.3")[0])    # before the last line was shown
    assert not is_dead(GOOD + LATE + GOOD)
    assert not is_dead(GOOD + LATE + GOOD + LATE + GOOD)


def test_any_other_panic_is_one() -> None:
    assert is_dead(GOOD + OURS)
    assert is_dead(GOOD + LATE + GOOD + OURS + GOOD)
    assert is_dead(GOOD + LATE.replace("[    3", "[  303"))
    assert is_dead(GOOD + LATE.replace("Oops: int3", "Oops: Oops"))
    assert is_dead(GOOD + LATE + GOOD + "lab: cannot mount the disk")
