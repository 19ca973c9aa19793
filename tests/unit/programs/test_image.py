"""A generation as bytes: the filters have no false negatives, keys are as the kernel wants them."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbspd import abi
from nbspd.programs.bound import Binding, Bound
from nbspd.programs.image import ANY_NAME, MIN_WORDS, RESERVED, Image, render
from nbspd.programs.inspect import Key
from nbspd.programs.names import SLOT_WORDS, name_hash, name_hint, object_hash, slot_bit
from nbspd.rules.plan import MAPPED, Clause
from nbspd.rules.reserved import RAW_FRAMES

from .plans import bound_of, clause, on_host

KEYS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
BITS = {0: 5, 1: 70}
FIRST = RESERVED       # number of the first policy of a rule


def has(image: Image, value: int, bit: int) -> bool:
    """Ask the filter as bpf/objects.h does."""
    word, = struct.unpack_from("<Q", image.filters, ((value >> 6) & (image.filter_words - 1)) * 8)
    return bool(word >> bit & 1)


def guards(image: Image, dev: int) -> bool:
    """Ask the table of superblocks as bpf/objects.h does."""
    words = struct.unpack(f"<{abi.SB_WORDS}Q", image.superblocks)
    return bool(words[(dev ^ (dev >> 20)) & (abi.SB_WORDS - 1)] >> ((dev >> 6) & 63) & 1)


def bound_with(inodes: list[Key], slots: list[tuple[Key, bytes]]) -> Bound:
    bound = bound_of()
    bound.inodes = {key: Binding(own=(clause(0, 0),)) for key in inodes}
    bound.slots = {key: Binding(own=(clause(1, 0),)) for key in slots}
    return bound


@given(st.lists(KEYS, unique=True, max_size=60), st.lists(st.tuples(KEYS, st.binary(min_size=1, max_size=60)),
                                                          unique=True, max_size=60))
def test_the_filter_never_says_no_to_what_is_protected(inodes: list[Key], slots: list[tuple[Key, bytes]]) -> None:
    image = render(bound_with(inodes, slots), BITS)
    assert len(image.filters) == image.filter_words * 8 and image.filter_words & (image.filter_words - 1) == 0
    for dev, ino, _ in inodes:
        value = object_hash(ino, dev)
        assert has(image, value, value & 63) and guards(image, dev)
    for (dev, ino, _), name in slots:
        value = object_hash(ino, dev)
        assert has(image, value, slot_bit(value, len(name))) and guards(image, dev)


def test_the_filter_grows_and_is_empty_for_nothing() -> None:
    nothing = render(bound_of(), BITS)
    assert nothing.filter_words == MIN_WORDS and not any(nothing.filters) and not any(nothing.superblocks)
    chance = random.Random(1)
    many = render(bound_with([(1, chance.getrandbits(40), 0) for _ in range(1000)], []), BITS)
    assert many.filter_words == 2048
    others = [object_hash(chance.getrandbits(40), 1) for _ in range(10_000)]
    assert sum(has(many, value, value & 63) for value in others) < 150


@pytest.mark.parametrize("step", [1, 2, 3, 16, 32, 128])
def test_runs_of_inode_numbers_are_spread(step: int) -> None:
    image = render(bound_with([(1, 131072 + number * step, 0) for number in range(1000)], []), BITS)
    others = [object_hash(131072 + number * step, 1) for number in range(5_000, 15_000)]
    assert sum(has(image, value, value & 63) for value in others) < 200


def test_equal_demands_are_one_policy() -> None:
    bound = bound_of()
    both = clause(0, 0), clause(1, 0, 1)
    bound.inodes = {(1, 1, 0): Binding(own=both), (1, 2, 0): Binding(tree=both), (1, 3, 0): Binding()}
    image = render(bound, BITS)
    rows = dict(image.inner["objects"])
    assert rows[struct.pack("<QII", 1, 1, 0)] == struct.pack("<II", FIRST, 0)
    assert rows[struct.pack("<QII", 2, 1, 0)] == struct.pack("<II", 0, FIRST)
    assert rows[struct.pack("<QII", 3, 1, 0)] == bytes(8)
    (_, nobody), *_, (_, value) = image.inner["policies"]
    policy = abi.Policy.from_buffer_copy(value)
    assert policy.count == 2 and [policy.clauses[at].rule for at in range(2)] == [10, 11]
    assert policy.clauses[0].accept[0] == 1 << 5 and policy.clauses[0].accept[1] == 0
    assert policy.clauses[1].accept[0] == 1 << 5 and policy.clauses[1].accept[1] == 1 << 6
    fallback = abi.Policy.from_buffer_copy(nobody)
    assert fallback.count == 1 and not any(fallback.clauses[0].accept)
    assert fallback.clauses[0].access == both[0].access | both[1].access, "what no rule is about is let be"


def test_more_than_four_rules_on_an_object_are_refused_by_name() -> None:
    bound = bound_of()
    bound.inodes = {(1, 1, 0): Binding(own=tuple(clause(rule, 0) for rule in range(4)))}
    render(bound, BITS)
    bound.inodes = {(1, 1, 0): Binding(own=tuple(clause(rule, 0) for rule in range(5)))}
    with pytest.raises(ValueError, match="more than 4 rules .* r0, r1, r2, r3, r4"):
        render(bound, BITS)


def test_a_program_has_at_most_seven_checkpoints_and_a_zero_after_them() -> None:
    bound = bound_of()
    bound.checkpoints = tuple(on_host(f"c{index}") for index in range(9))
    (key, value), = render(bound, {index: 100 + index for index in range(9)}).inner["exes"]
    assert key == struct.pack("<QII", 2, 1, 3)
    assert struct.unpack("<8I", value) == (*range(101, 108), 0)


def test_endpoints_are_in_network_order() -> None:
    bound = bound_of()
    address = MAPPED | 10 << 24
    bound.endpoints = {(6, 443, (104, address)): (clause(0, 0),), (17, 53, (128, 1)): (clause(0, 0),)}
    image = render(bound, BITS)
    rows = dict(image.inner["endpoints"])
    number = FIRST.to_bytes(4, "little")
    assert rows[struct.pack("<I", 136) + b"\x06\0\x01\xbb" + bytes(10) + b"\xff\xff\x0a\0\0\0"] == number
    assert rows[struct.pack("<I", 160) + b"\x11\0\0\x35" + bytes(15) + b"\1"] == number
    ports = struct.unpack(f"<{2 * abi.PORT_WORDS}Q", image.ports)
    assert ports[443 >> 6] >> (443 & 63) & 1 and ports[abi.PORT_WORDS] == 1 << 53
    assert sum(word.bit_count() for word in ports) == 2


def raw_frames(*clauses: Clause) -> abi.Policy:
    """Return the policy of frames that no filter sees, for endpoints with one demand each."""
    bound = bound_of()
    bound.endpoints = {(6, 1000 + at, (128, 1)): (one,) for at, one in enumerate(clauses)}
    return abi.Policy.from_buffer_copy(dict(render(bound, BITS).inner["policies"])[
        abi.POLICY_RAW_FRAMES.to_bytes(4, "little")])


def test_frames_that_no_filter_sees_want_a_stamp_for_every_endpoint() -> None:
    assert raw_frames().count == 0
    one, both = clause(0, 0), clause(1, 0, 1)
    alone = raw_frames(both)
    assert alone.count == 1 and alone.clauses[0].rule == RAW_FRAMES
    assert alone.clauses[0].access == abi.Access.CONNECT and alone.clauses[0].mode == abi.Mode.ENFORCE
    assert list(alone.clauses[0].accept[:2]) == [1 << 5, 1 << 6]
    assert list(raw_frames(both, one).clauses[0].accept[:2]) == [1 << 5, 0]
    assert not any(raw_frames(one, clause(2)).clauses[0].accept)


def test_frames_that_no_filter_sees_are_refused_when_any_endpoint_is() -> None:
    audited, enforced = replace(clause(0, 0), mode=abi.Mode.AUDIT), clause(1, 1)
    assert raw_frames(audited).clauses[0].mode == abi.Mode.AUDIT
    mixed = raw_frames(audited, enforced).clauses[0]
    assert mixed.mode == abi.Mode.ENFORCE and list(mixed.accept[:2]) == [0, 1 << 6]


def test_names_that_look_alike_are_protected_by_what_protects_either() -> None:
    folder = (1, 7, 0)
    one, other, alone = b"abcdefgh-x-ijklmnop", b"abcdefgh-y-ijklmnop", b"alone"
    assert name_hint(one) == name_hint(other)
    bound = bound_of()
    bound.slots = {(folder, one): Binding(own=(clause(0, 0),)), (folder, other): Binding(own=(clause(1, 1),)),
                   (folder, alone): Binding(tree=(clause(0, 0),))}
    image = render(bound, BITS)
    rows = {key: struct.unpack("<IIQ", value) for key, value in image.inner["slots"]}
    assert len(rows) == 2
    policy, tree, full = rows[struct.pack("<QIIQ", 7, 1, 0, name_hint(one))]
    assert full == ANY_NAME and tree == 0
    merged = abi.Policy.from_buffer_copy(image.inner["policies"][policy][1])
    assert [merged.clauses[at].rule for at in range(merged.count)] == [10, 11]
    policy, tree, full = rows[struct.pack("<QIIQ", 7, 1, 0, name_hint(alone))]
    assert policy == 0 and tree and full == name_hash(alone, SLOT_WORDS)
