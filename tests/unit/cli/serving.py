"""The real daemon with a kernel that is a fake, as a process: python3 -m tests.unit.cli.serving FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import tests.conftest  # noqa: F401  (makes nbspd importable)
from nbspd.paths import Settings
from nbspd.service import Service

from ..fakes import Begin, FakeProgram, FakeReport

PROGRAMS = (FakeProgram("file_open", "file_open"), FakeProgram("file_truncate", "file_truncate", False, "no such hook"))


def main(folder: Path) -> None:
    """Serve until told to stop; rules.d, state and run are below the folder."""
    settings = Settings(folder / "rules.d", folder / "state", folder / "run", folder / "pins")
    service = Service(settings, Begin(report=FakeReport(programs=PROGRAMS)))
    try:
        service.start()
        service.serve()
    finally:
        service.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
