"""Make the folder daemon/ importable as nbspd, from the checkout, without installing it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

if importlib.util.find_spec("nbspd") is None or "nbspd" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "nbspd", ROOT / "daemon" / "__init__.py", submodule_search_locations=[str(ROOT / "daemon")])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["nbspd"] = package
    spec.loader.exec_module(package)


# First: the worker of pytest-xdist 3.1 would read the marks before they are there. Debian's pluggy has no types.
@pytest.hookimpl(tryfirst=True)  # type: ignore[misc]
def pytest_collection_modifyitems(items: "list[Any]") -> None:
    """Keep together, where tests are spread over processes: those of one guest, and those on this machine's kernel."""
    for item in items:
        folder = Path(str(item.path)).relative_to(ROOT / "tests").parts[0]
        if folder == "native":
            item.add_marker(pytest.mark.xdist_group("native"))
        elif folder == "lab":
            pair = item.callspec.params.get("guest") if hasattr(item, "callspec") else None
            item.add_marker(pytest.mark.xdist_group("-".join(pair) if pair else "lab"))
