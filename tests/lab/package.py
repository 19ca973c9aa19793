"""The Debian package that the guest installs, built afresh from this checkout."""

from __future__ import annotations

import os
from pathlib import Path

from .apt import call
from .cache import ROOT

BUILDER = ROOT / "packaging" / "build"


def package(folder: Path) -> Path | None:
    """Return the package to install: $NBSPD_LAB_PACKAGE, else one built into `folder`, else None (install from source)."""
    if given := os.environ.get("NBSPD_LAB_PACKAGE"):
        return Path(given)
    if not BUILDER.exists():
        return None
    call([str(BUILDER), str(folder)], 120)
    return next(folder.glob("nbspd_*.deb"))
