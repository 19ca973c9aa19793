"""Stamp bits: a bit keeps its meaning as long as anything may still carry it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbspd.errors import LoadError
from nbspd.programs.bits import USABLE, Bits, assign, identities, load, save

from .plans import on_host

GENERATIONS = st.lists(st.lists(st.integers(0, 400).map(str), unique=True, max_size=200), min_size=2, max_size=12)


def test_what_is_declared_as_before_keeps_its_bit() -> None:
    first, wiped = assign(Bits({}), ["a", "b"])
    assert first.by_identity == {"a": 0, "b": 1} and not wiped
    second, wiped = assign(first, ["c", "b"])
    assert second.by_identity == {"c": 2, "b": 1} and not wiped
    third, _ = assign(second, ["a"])
    assert third.by_identity == {"a": 3}, "the old bit of a may mean what it meant two generations ago"


@given(GENERATIONS)
def test_no_bit_has_two_meanings_and_what_is_given_anew_is_wiped(generations: list[list[str]]) -> None:
    bits = Bits({})
    meant: dict[int, str] = {}
    for wanted in generations:
        before = bits
        bits, wiped = assign(before, wanted)
        assert set(bits.by_identity) == set(wanted)
        assert len(set(bits.by_identity.values())) == len(wanted)
        for identity, bit in bits.by_identity.items():
            assert 0 <= bit < USABLE
            if identity in before.by_identity:
                assert bit == before.by_identity[identity]
            else:
                assert bit not in before.by_identity.values()
                assert bit in wiped or bit not in meant
            meant[bit] = identity


def test_wrapping_reports_what_must_be_wiped() -> None:
    bits, wiped = assign(Bits({"kept": 0}, USABLE - 1), ["kept", "a", "b"])
    assert bits.by_identity == {"kept": 0, "a": USABLE - 1, "b": 1} and wiped == {1}


def test_no_bit_is_free() -> None:
    full, _ = assign(Bits({}), [str(number) for number in range(USABLE)])
    assert assign(full, ["7"])[0].by_identity == {"7": 7}
    with pytest.raises(LoadError, match="no stamp bit is free") as caught:
        assign(full, ["new"])
    assert caught.value.remedy


def test_saved_bits_are_for_the_same_tables_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "stamps.json"
    nothing = Bits({}, USABLE)
    assert load(path, "boot:1") == nothing
    save(path, "boot:1", Bits({"a": 3}, 7))
    assert load(path, "boot:1") == Bits({"a": 3}, 7)
    assert load(path, "boot:2") == nothing
    assert assign(load(path, "boot:2"), ["a"])[1] == {0}, "nobody knows who carries it"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"epoch": "e"}', '{"epoch": "e", "bits": [], "following": 1}',
                                  '{"epoch": "e", "bits": {"a": "x"}, "following": 1}'])
def test_a_broken_file_is_no_knowledge(tmp_path: Path, text: str) -> None:
    (tmp_path / "stamps.json").write_text(text)
    assert load(tmp_path / "stamps.json", "e") == Bits({}, USABLE)


def test_an_identity_changes_with_the_program_and_with_what_comes_before() -> None:
    def of(exe: int, **fields: str) -> dict[str, str]:
        return identities([on_host("late", after=("early",)), on_host("early", (1, exe, 0), **fields)])
    same, other, kind = of(1), of(2), of(1, stamp="children")
    assert of(1) == same
    assert same["early"] != other["early"] and same["late"] != other["late"]
    assert same["early"] != kind["early"] and same["late"] != kind["late"]
