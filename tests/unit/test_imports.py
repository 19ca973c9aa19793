"""The direction of imports in the package: downward, brothers blind to one another, relative, bcc in one file."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "daemon"

# From the bottom up. A part may import parts of lower rows, and itself; not its brothers.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"", "abi", "errors", "paths"}),         # "" is the package itself: its version
    frozenset({"rules", "kernel"}),
    frozenset({"programs"}),
    frozenset({"control", "events", "journal", "audit", "vouchers", "aspects", "coverage", "drill"}),
    frozenset({"service"}),
    frozenset({"cli"}),
)
# The service is more files than service.py: every other module at the top of the package is a part of it.
LEAVES = LAYERS[0]
# What crosses all the same: importing part, imported module. The record is the journal's border.
ALLOWED = frozenset({("events", "journal.record")})
# Modules of other people that only some files may import.
CONFINED = {"bcc": {"programs/build.py"}}

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """Return the part of the house that a dotted module (without the package's name) belongs to."""
    head, _, rest = module.partition(".")
    if head in LEAVES or any(head in layer for layer in LAYERS):
        return head
    return "service" if not rest and (PACKAGE / f"{head}.py").is_file() else head


def layer_of(part: str) -> int:
    """Return the row of a part; Raises: AssertionError when it has none."""
    for index, layer in enumerate(LAYERS):
        if part in layer:
            return index
    raise AssertionError(f"daemon/{part} has no place in the house of STYLE.md; give it one in LAYERS")


def imports(name: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield line, level and module of every import of a file, wherever in it; relative ones resolved."""
    here = name.split("/")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, 0, node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = here[:len(here) - (node.level - 1)] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                # `from .. import values` names a module or something in the package
                inner = base + [alias.name]
                is_module = (PACKAGE.joinpath(*inner).with_suffix(".py").is_file()
                             or PACKAGE.joinpath(*inner, "__init__.py").is_file())
                yield node.lineno, node.level, ".".join(inner if is_module else base)


def faults(name: str, text: str) -> list[str]:
    """Return what is wrong with the imports of one file."""
    found = []
    own = part_of(name.removesuffix(".py").replace("/", ".").removesuffix("__init__").rstrip("."))
    for line, level, module in imports(name, text):
        where = f"daemon/{name}:{line}"
        top = module.partition(".")[0]
        if level == 0:
            if top == "nbspd":
                found.append(f"{where}: imports {module}; inside the package imports are relative")
            if name not in CONFINED.get(top, {name}):
                found.append(f"{where}: imports {top}; only {', '.join(sorted(CONFINED[top]))} may")
            continue
        part = part_of(module)
        if part == own or (own, module) in ALLOWED:
            continue
        mine, theirs = layer_of(own), layer_of(part)
        if mine == 0 and theirs == 0 or theirs < mine:
            continue
        found.append(f"{where}: {own} imports {module}: {'its brother' if mine == theirs else 'upward'}")
    return found


def test_there_is_a_package() -> None:
    assert {"abi.py", "errors.py", "rules/model.py"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_imports_point_downward(name: str) -> None:
    assert faults(name, (PACKAGE / name).read_text()) == []


@pytest.mark.parametrize("name, text, fault", [
    ("rules/x.py", "from ..kernel import btf", "its brother"),
    ("rules/x.py", "from ..programs import tables", "upward"),
    ("kernel/x.py", "def f():\n    from ..rules.model import Rule", "its brother"),
    ("programs/x.py", "from ..journal import record", "upward"),
    ("events/x.py", "from ..journal import store", "its brother"),
    ("control/x.py", "from ..service import run", "upward"),
    ("control/x.py", "import nbspd.rules", "relative"),
    ("errors.py", "from .rules import model", "upward"),
    ("service.py", "from .cli import nbsp", "upward"),
    ("programs/loader.py", "import bcc", "only programs/build.py may"),
    ("programs/loader.py", "from bcc.table import x", "only programs/build.py may"),
])
def test_a_wrong_import_is_found(name: str, text: str, fault: str) -> None:
    assert [fault in one for one in faults(name, text)] == [True]


@pytest.mark.parametrize("name, text", [
    ("rules/x.py", "from ..errors import Problem\nfrom . import values\nfrom .model import Rule"),
    ("programs/build.py", "from bcc import BPF"),
    ("events/x.py", "from ..journal.record import Record\nfrom ..abi import Violation"),
    ("cli/x.py", "from ..service import run\nfrom ..rules.load import load_rules\nfrom .. import __version__"),
    ("service.py", "from .control import server\nimport os"),
])
def test_a_right_import_is_let_be(name: str, text: str) -> None:
    assert faults(name, text) == []


def test_a_part_without_a_place_is_refused() -> None:
    with pytest.raises(AssertionError, match="no place"):
        faults("rules/x.py", "from ..helpers.misc import x")
