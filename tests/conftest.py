"""Make the folder daemon/ importable as nbspd, from the checkout, without installing it."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if importlib.util.find_spec("nbspd") is None or "nbspd" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "nbspd", ROOT / "daemon" / "__init__.py", submodule_search_locations=[str(ROOT / "daemon")])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["nbspd"] = package
    spec.loader.exec_module(package)
