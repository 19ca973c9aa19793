"""Compiled kernel programs for a guest, made on this machine: in the guest clang takes minutes, here seconds.

A file's name is nbspd's own digest of sources, kernel and options, worked out here as nbspd works it out there; what
does not fit is never asked for, and nbspd compiles. Guests of tier socket get nothing, so that each run of the matrix
compiles once as on a user's host; with NBSPD_LAB_COMPILE=1 no guest gets anything.
"""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .cache import ROOT, cache_folder, digest, say
from .errors import LabError

if TYPE_CHECKING:
    from .guest import Guest

FOLDER = "/var/lib/nbspd/compiled"
BPFFS = Path("/sys/fs/bpf")
COMPILE_TIMEOUT_S = 300


def give(guest: Guest) -> None:
    """Put compiled programs of this checkout for the guest's kernel where nbspd looks for them."""
    tier = guest.tier or _tier(guest)
    if os.environ.get("NBSPD_LAB_COMPILE") or tier == "socket":
        return
    release, version = guest.run("uname -r; uname -v", check=True).output.strip().splitlines()
    work = Path(tempfile.mkdtemp(prefix="nbspd-lab-compile-"))
    pins = BPFFS / work.name
    try:
        words = [release, version, str(_types(guest, release, version)), str(work / "compiled"), str(pins), tier]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:    # a file that it can read as well: see build.py
            made = subprocess.run([sys.executable, "-m", "tests.lab.compiler", *words], cwd=ROOT, text=True,
                                  stdout=subprocess.PIPE, stderr=said, check=False, timeout=COMPILE_TIMEOUT_S)
            said.seek(0)
            if made.returncode:
                raise LabError(f"the kernel programs do not compile for {release}, tier {tier}:\n"
                               f"{said.read()[-4000:]}")
        guest.run(f"mkdir -p -m 700 /var/lib/nbspd {FOLDER}", 30, check=True)
        for name in made.stdout.split():
            guest.put(f"{FOLDER}/{name}", (work / "compiled" / name).read_bytes(), 0o600)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(pins, ignore_errors=True)


def _tier(guest: Guest) -> str:
    """Return the tier of a guest that was booted by somebody else."""
    if guest.run("test -e /etc/systemd/system/nbspd.service.d/tier.conf").is_done:
        return "socket"
    return "lsm" if "bpf" in guest.get("/sys/kernel/security/lsm") else "fmod_ret"


def _types(guest: Guest, release: str, version: str) -> Path:
    """Return a file with the types (BTF) of the guest's kernel, fetched from the first guest that has it."""
    path = cache_folder() / f"types-{release}-{digest(version)}"
    if not path.exists():
        said = guest.run("gzip -1c /sys/kernel/btf/vmlinux | base64 -w0", check=True).output
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(gzip.decompress(base64.b64decode(said)))
        temporary.replace(path)
        say(f"keeping the types of kernel {release}")
    return path
