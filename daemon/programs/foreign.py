"""Does a process that runs already hold code that is not its program's own? Then it gets no stamp.

The kernel keeps foreign code out of a sealed checkpoint's processes from their first moment on. Who was there before
the checkpoint was declared is looked at here: whether somebody debugs it, and what it may execute. A process that only
pretends to run the program (PR_SET_MM_EXE_FILE) has its real code somewhere, and is found by that.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from ..rules.model import Checkpoint
from .sealing import SYSTEM_FOLDERS, code_of

AREA = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ..(.). \S+ \S+ (\d+)\s*(.*)")
KERNELS_OWN = ("[vdso]", "[vsyscall]")


@dataclass(frozen=True)
class Area:
    """Memory that a process may execute."""

    place: str          # as the kernel names it in map_files
    inode: int          # 0: anonymous
    name: str
    changed_kib: int    # of a private mapping that was written to


def why_not(pid: int, checkpoint: Checkpoint, program: tuple[int, int]) -> str:
    """Return why a running process must not have the stamp of a sealed checkpoint, "" when nothing speaks against it.

    `program` is (st_dev, st_ino) of the checkpoint's program.
    """
    try:
        folder = Path(f"/proc/{pid}")
        debugger = re.search(r"^TracerPid:\s*(\d+)", (folder / "status").read_text(), re.MULTILINE)
        if debugger is not None and debugger[1] != "0":
            return f"process {debugger[1]} debugs it"
        for area in executable((folder / "smaps").read_text(errors="surrogateescape")):
            trouble = _foreign(folder / "map_files" / area.place, area, checkpoint, program)
            if trouble:
                return trouble
    except (FileNotFoundError, ProcessLookupError):
        return "it has ended"
    return ""


def executable(smaps: str) -> Iterator[Area]:
    """Yield what a process may execute, from the text of its smaps."""
    current: tuple[str, int, str] | None = None
    for line in smaps.splitlines():
        found = AREA.match(line)
        if found is not None:
            begin, end, is_executable, inode, name = found.groups()
            current = (f"{begin.lstrip('0') or '0'}-{end.lstrip('0')}", int(inode), name) \
                if is_executable == "x" and name not in KERNELS_OWN else None
        elif current is not None and line.startswith("Anonymous:"):
            yield Area(*current, int(line.split()[1]))
            current = None


def _foreign(link: Path, area: Area, checkpoint: Checkpoint, program: tuple[int, int]) -> str:
    """Return what is wrong with executable memory, "" for nothing."""
    paths, is_system, is_memory = code_of(checkpoint)
    if not area.inode:
        return "" if is_memory else f"it may execute memory that is no file's ({area.name or area.place})"
    if area.changed_kib and not is_memory:
        return f"it has written into its code of {area.name}"
    facts = link.stat()
    if (facts.st_dev, facts.st_ino) == program:
        return ""
    name = os.readlink(link)
    try:
        here = os.stat(name)    # the name is that of another mount namespace, perhaps
    except OSError:
        here = None
    if here is not None and (here.st_dev, here.st_ino) == (facts.st_dev, facts.st_ino):
        real = os.path.realpath(name)
        if any(_is_below(real, os.path.realpath(path)) for path in paths):
            return ""
        if is_system and facts.st_uid == 0 and not facts.st_mode & 0o022 \
                and any(_is_below(real, os.path.realpath(folder)) for folder in SYSTEM_FOLDERS):
            return ""
    return f"it may execute {area.name}, which is not among its code"


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
