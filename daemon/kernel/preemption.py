"""Does this kernel take the processor away from a process that is inside it, and so inside one of our programs?

A tracing program, which those of tier fmod_ret are, is skipped while it runs already on the same processor
(kernel/bpf/trampoline.c, __bpf_prog_enter_recur). Where the kernel is preempted that is no recursion: one process is
stopped inside the program, and whatever the others on that processor do meanwhile is not judged. LSM programs are not
skipped (bpf_prog_check_recur in include/linux/bpf_verifier.h).
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

MODE = "sched/preempt"      # in debugfs: all modes, the present one in parentheses
DEBUGFS = Path("/sys/kernel/debug")
KEEPS_RUNNING = ("none", "voluntary")
# the same numbers on every architecture; include/uapi/linux/mount.h
FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432
FSOPEN_CLOEXEC, FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC = 1, 6, 1


def is_preempted(version: str | None = None, mode: str | None = None) -> bool | None:
    """Return whether the kernel is preempted; None when it does not tell.

    `version` is uname(2)'s, `mode` the text of sched/preempt in debugfs ("" where that cannot be read); both are the
    running kernel's unless given.
    """
    words = (version if version is not None else os.uname().version).split()
    if not any(word.startswith("PREEMPT") for word in words):
        return False
    if "PREEMPT_DYNAMIC" not in words:
        return True         # PREEMPT, PREEMPT_LAZY, PREEMPT_RT: built that way
    present = re.search(r"\((\w+)\)", mode if mode is not None else read_mode())
    return None if present is None else present[1] not in KEEPS_RUNNING


def read_mode() -> str:
    """Return the text of sched/preempt, of a debugfs that is mounted for nobody else if need be; "" without one."""
    try:
        return (DEBUGFS / MODE).read_text()
    except OSError:
        pass
    libc = ctypes.CDLL(None, use_errno=True)
    context = libc.syscall(FSOPEN, b"debugfs", FSOPEN_CLOEXEC)
    if context < 0:
        return ""
    folder = -1
    try:
        if libc.syscall(FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0) == 0:
            folder = libc.syscall(FSMOUNT, context, FSMOUNT_CLOEXEC, 0)
        if folder < 0:
            return ""
        with open(os.open(MODE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder), encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
    finally:
        for fd in (context, folder):
            if fd >= 0:
                os.close(fd)
