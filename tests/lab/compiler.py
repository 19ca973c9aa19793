"""Compiles the kernel programs for a guest's kernel here, where it takes seconds and not minutes.

    python3 -m tests.lab.compiler RELEASE VERSION BTF FOLDER PINS TIER…

BTF is a file with the guest's /sys/kernel/btf/vmlinux. What comes out is what nbspd itself would have compiled there,
under the name by which it will look for it; where the two differ, it does not find it and compiles. PINS is a folder on
bpffs that the caller removes: LLVM ends this process on some errors.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

from .. import conftest as _package     # makes daemon/ importable as nbspd
from .cache import ROOT

del _package


def compile_for(kernel: tuple[str, str], types: bytes, folder: Path, pins: Path,
                tiers: Sequence[str]) -> list[str]:
    """Leave a file of compiled programs for each tier in `folder`, and return their names.

    `kernel` is its release and version. bcc looks up tables by their pins, so these are made.
    Raises NbspdError, OSError.
    """
    from nbspd.kernel import mounts
    from nbspd.programs import build, compiled, source, tables
    mounts.bpffs_ready(pins.parent, mount=True)
    tables.create(pins)
    names = []
    for tier in tiers:
        order = build.Order(tier, str(ROOT / "bpf"), str(folder), str(pins), "", "", "")
        work = build.Build(order, source.Kernel(*kernel, "x86_64"), types)
        # whether that kernel takes them is not known here
        programs = {name: replace(one, is_taken=False) for name, one in work.compile(tier).items()}
        compiled.write(folder, work.digest(tier), programs)
        names.append(work.digest(tier))
    return names


def main(words: Sequence[Any]) -> int:
    """Compile and print the names."""
    release, version, types, folder, pins, *tiers = words
    for name in compile_for((release, version), Path(types).read_bytes(), Path(folder), Path(pins), tiers):
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
