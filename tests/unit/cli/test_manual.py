"""The manual describes the JSON that the verbs print."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nbspd.journal.record import GapRow, Record

from .replies import CHANGE, CLOSED, CONNECTION, DENIAL, LINEAGE, audit, coverage_rows, status

MANUAL = (Path(__file__).parents[3] / "docs/man/nbsp.1").read_text()


def keys(value: Any) -> set[str]:
    """Return every key in a JSON value; what `why` is keyed by is data, the channels."""
    if isinstance(value, dict):
        return set(value).union(*(keys(child) for key, child in value.items() if key != "why"))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_every_part_of_a_record_is_described() -> None:
    names = {field.name for field in fields(Record)} | set(GapRow._fields)
    assert {name for name in names if f'"{name}"' not in MANUAL} == set()


@pytest.mark.parametrize("reply", [status(), CHANGE, DENIAL, LINEAGE, coverage_rows(1),
                                   audit(CONNECTION, closings=(CLOSED,)).to_json()])
def test_every_key_is_described(reply: Any) -> None:
    assert {key for key in keys(reply) if f'"{key}"' not in MANUAL} == set()
