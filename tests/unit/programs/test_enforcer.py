"""What a generation that failed leaves behind: no stamp bit with two meanings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbspd.errors import LoadError
from nbspd.paths import Settings
from nbspd.programs import bits, enforcer as module
from nbspd.programs.bits import Bits
from nbspd.programs.enforcer import Enforcer
from nbspd.programs.loader import Loaded, LoadReport

from .plans import bound_of, on_host


class Recording(Enforcer):
    """An enforcer whose kernel only notes which bit each checkpoint is given."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(state=folder, pins=folder)
        self.loaded = Loaded(LoadReport("lsm", "compiled", 0.0, "d", ()), folder / "maps-1", folder / "links-1")
        self.epoch = "boot:1"
        self._bits = bits.load(self._bits_file, self.epoch)
        self.tables: Any = None
        self._held: list[int] = []
        self.left_behind: tuple[str, ...] = ()

    @staticmethod
    def _programs(bound: Any) -> list[int]:
        return []

    def _declare_units(self, bound: Any) -> dict[str, int]:
        return {}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bits that were given, in order."""
    found: list[int] = []
    monkeypatch.setattr(module.write, "wipe_bits", lambda tables, wiped: None)
    monkeypatch.setattr(module.write, "write_checkpoints", lambda tables, bound, by_index, units: found.extend(
        by_index.values()))
    monkeypatch.setattr(module.write, "stage", lambda *_: 0)
    monkeypatch.setattr(module.write, "flip", lambda *_: None)
    monkeypatch.setattr(module.stamping, "stamp_running", lambda *_: 1)
    monkeypatch.setattr(module.monitor, "forget", lambda tables: None)
    return found


def bound(name: str) -> Any:
    one = bound_of()
    one.checkpoints = (on_host(name),)
    return one


@pytest.mark.parametrize("step", ["stage", "flip"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_bit_of_a_generation_that_failed_is_not_given_again(
        tmp_path: Path, given: list[int], monkeypatch: pytest.MonkeyPatch, step: str, is_restarted: bool) -> None:
    bits.save(tmp_path / "stamps.json", "boot:1", Bits({}, 0))
    enforcer = Recording(tmp_path)
    enforcer.apply(bound("first"), 1)

    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")
    with monkeypatch.context() as patch:
        patch.setattr(module.write, step, refuse)
        with pytest.raises(LoadError, match="Cannot allocate memory") as caught:
            enforcer.apply(bound("second"), 2)
    assert "the generation before stays active" in caught.value.remedy
    if is_restarted:
        enforcer = Recording(tmp_path)
    enforcer.apply(bound("third"), 2)
    enforcer.apply(bound("first"), 3)
    assert len({given[0], given[1], given[2]}) == 3


def test_a_full_disk_refuses_before_anything_is_given(
        tmp_path: Path, given: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(module.stamp_bits, "save", refuse)
    with pytest.raises(LoadError, match="No space left on device"):
        Recording(tmp_path).apply(bound("first"), 1)
    assert given == []
