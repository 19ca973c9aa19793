"""Join the files of bpf/ into the one text that bcc compiles, and name it by a digest.

bcc rewrites map methods in the main text only, so the files cannot be included; #line keeps messages pointing at them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

from .. import abi
from ..errors import LoadError
from .child import PACKAGE

ORDER = ("abi.h", "hooks.h", "maps.h", "subject.h", "report.h", "guard.h", "verdict.h", "hashes.h", "pseudo.h",
         "objects.h", "endpoints.h", "file.c", "mount.c", "pseudo.c", "task.c", "unix.c", "handle.c", "frames.c",
         "cgroup_sock.c", "lineage.c", "inherit.c", "packet.h", "egress.c", "ingress.c", "guard.c")
# our own modules that decide what is compiled and how it is attached
MAKERS = ("kernel/fields.py", "kernel/layout.py", "kernel/stubs.py", "programs/attach.py", "programs/build.py",
          "programs/catalogue.py", "programs/source.py")
PROLOGUE = '#include <linux/types.h>\n#include "nbsp_kernel.h"\n'


@dataclass(frozen=True)
class Kernel:
    """Which kernel programs are for, in uname(2)'s words."""

    release: str
    version: str
    machine: str

    @classmethod
    def running(cls) -> "Kernel":
        """Return the one that runs here."""
        uname = os.uname()
        return cls(uname.release, uname.version, uname.machine)


def read_sources(folder: Path) -> dict[str, str]:
    """Return the text of each file in the order of joining. Raises LoadError."""
    try:
        return {name: (folder / name).read_text() for name in ORDER}
    except OSError as error:
        raise LoadError(f"cannot read the BPF source {error.filename}: {error.strerror}",
                        "reinstall the package nbspd") from error


def join(sources: dict[str, str], tier: str, maps: Path) -> str:
    """Return the whole program text for a tier, with maps found by their pins below `maps`."""
    defines = [f"#define NBSP_TIER_{tier.upper()} 1", f'#define NBSP_MAPS "{maps}"']
    parts = ["\n".join(defines) + "\n" + PROLOGUE]
    for name, text in sources.items():
        parts.append(f'#line 1 "{name}"\n{text}\n')
        if name == "abi.h":
            parts.append(f'#line 1 "abi.py"\n{abi.static_assertions()}')
    return "".join(parts)


def digest(parts: Iterable[str]) -> str:
    """Return 16 hex digits that change when any of the parts does."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part.encode())
    return state.hexdigest()[:16]


def programs_digest(sources: dict[str, str], tier: str, cgroup: Path) -> str:
    """Return the digest of everything that makes the loaded programs what they are."""
    return digest([*_inputs(sources, Kernel.running()), tier, str(cgroup)])


def compile_digest(sources: dict[str, str], tier: str, types: bytes, kernel: Kernel) -> str:
    """Return the digest of everything that the machine code of a tier is made from; `types` is the kernel's BTF."""
    return digest([*_inputs(sources, kernel), tier, kernel.machine, hashlib.sha256(types).hexdigest()])


def _inputs(sources: dict[str, str], kernel: Kernel) -> list[str]:
    try:
        makers = [(PACKAGE / name).read_text() for name in MAKERS]
    except OSError as error:
        raise LoadError(f"cannot read {error.filename}: {error.strerror}", "reinstall the package nbspd") from error
    return [*sources.values(), abi.static_assertions(), kernel.release, kernel.version, *makers]


def maps_digest(sources: dict[str, str]) -> str:
    """Return the digest of what the tables look like: equal means that programs may share them."""
    return digest([sources["abi.h"], sources["maps.h"], abi.static_assertions()])
