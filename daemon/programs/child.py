"""Start a module of this package in a process of its own: for what must not stay in the daemon's memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO, Sequence

PACKAGE = Path(__file__).resolve().parent.parent
# The package may be a folder of a checkout with another name, so the child finds it by its place.
BOOTSTRAP = """
import importlib, importlib.util, sys
folder, module = sys.argv[1:3]
spec = importlib.util.spec_from_file_location("nbspd", folder + "/__init__.py", submodule_search_locations=[folder])
package = importlib.util.module_from_spec(spec)
sys.modules["nbspd"] = package
spec.loader.exec_module(package)
del sys.argv[1:3]
sys.exit(importlib.import_module("nbspd." + module).main())
"""


def spawn(module: str, arguments: Sequence[str] = (), stdin: int | IO[bytes] | None = subprocess.DEVNULL,
          stderr: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start `nbspd.MODULE`'s main() with its output in a pipe."""
    return subprocess.Popen([sys.executable, "-c", BOOTSTRAP, str(PACKAGE), module, *arguments], stdin=stdin,
                            stdout=subprocess.PIPE, stderr=stderr)
