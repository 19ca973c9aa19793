"""Compiles the kernel programs for a guest's kernel here, where it takes seconds and not minutes.

    python3 -m tests.lab.compiler RELEASE VERSION BTF FOLDER TIER…

BTF is a file with the guest's /sys/kernel/btf/vmlinux. What comes out is what nbspd itself would have compiled there,
under the name by which it will look for it; where the two differ, it does not find it and compiles.
"""

from __future__ import annotations

import secrets
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

from .. import conftest as _package     # makes daemon/ importable as nbspd
from .cache import ROOT

del _package
BPFFS = Path("/sys/fs/bpf")


def compile_for(release: str, version: str, types: bytes, folder: Path, tiers: Sequence[str]) -> list[str]:
    """Leave a file of compiled programs for each tier in `folder`, and return their names.

    bcc looks tables up by their pins, so they are made here for as long as it compiles. Raises NbspdError, OSError.
    """
    from nbspd.kernel import mounts
    from nbspd.programs import build, compiled, source, tables
    mounts.bpffs_ready(BPFFS, mount=True)
    pins = BPFFS / f"nbspd-lab-{secrets.token_hex(4)}"
    names = []
    try:
        tables.create(pins)
        for tier in tiers:
            order = build.Order(tier, str(ROOT / "bpf"), str(folder), str(pins), "", "", "")
            work = build.Build(order, source.Kernel(release, version, "x86_64"), types)
            # whether that kernel takes them is not known here
            programs = {name: replace(one, is_taken=False) for name, one in work.compile(tier).items()}
            compiled.write(folder, work.digest(tier), programs)
            names.append(work.digest(tier))
    finally:
        shutil.rmtree(pins, ignore_errors=True)
    return names


def main(words: Sequence[Any]) -> int:
    """Compile and print the names."""
    release, version, types, folder, *tiers = words
    for name in compile_for(release, version, Path(types).read_bytes(), Path(folder), tiers):
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
