"""nbspd as the guest gets it: the Debian package, built afresh from this checkout, and the source tree beside it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from .apt import call
from .cache import ROOT

SHIPPED = ("bpf", "daemon", "debian", "docs", "drill", "rules", "systemd", "packaging.mk")       # what `make deb` reads
SOURCE = (*SHIPPED, "bench", "tests", "setup.cfg", "pyproject.toml", "Makefile")
PASSED_OVER = {"__pycache__", ".mypy_cache", ".pytest_cache", ".hypothesis"}


def package(folder: Path) -> bytes:
    """Return the package to install: the file $NBSPD_LAB_PACKAGE, else what `make deb` makes of a copy in `folder`."""
    if given := os.environ.get("NBSPD_LAB_PACKAGE"):
        return Path(given).read_bytes()
    copy = folder / "package"
    with tarfile.open(fileobj=io.BytesIO(source(SHIPPED))) as archive:
        archive.extractall(copy)
    call(["make", "-C", str(copy), "-f", "packaging.mk", "deb"], 120)
    built = next((copy / "dist").glob("nbspd_*.deb")).read_bytes()
    call(["rm", "-rf", str(copy)], 30)
    return built


def source(names: tuple[str, ...] = SOURCE) -> bytes:
    """Return a tar archive of these parts of the checkout, without what tools left in it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for name in names:
            if (ROOT / name).exists():
                tar.add(ROOT / name, name, filter=_kept)
    return archive.getvalue()


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if PASSED_OVER & set(Path(member.name).parts) else member
