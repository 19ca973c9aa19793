"""The manual describes the JSON that the verbs print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .replies import CHANGE, DENIAL, LINEAGE, coverage_rows, status

MANUAL = (Path(__file__).parents[3] / "docs/man/nbsp.1").read_text()


def keys(value: Any) -> set[str]:
    """Return every key in a JSON value."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("reply", [status(), CHANGE, DENIAL, LINEAGE, coverage_rows(1)])
def test_every_key_is_described(reply: Any) -> None:
    assert {key for key in keys(reply) if f'"{key}"' not in MANUAL} == set()
