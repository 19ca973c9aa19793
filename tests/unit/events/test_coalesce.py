"""Coalescing: nothing is counted twice or forgotten, whatever fails in between."""

import random
from collections import Counter

import pytest

from nbspd.events.coalesce import Coalescer

from .hits import file_record, record, sun_record


def test_the_first_becomes_a_record_and_repeats_a_count() -> None:
    coalescer = Coalescer(window_ns=100)
    taken = coalescer.take([record(time_ns=1), record(time_ns=2, tid=7), record(time_ns=3)], 10)
    assert len(taken.first) == 1 and taken.new_repeats == {0: (2, 1, 3)}
    assert taken.accounting == {3: (1, 2)} and not taken.repeats
    coalescer.keep(taken, [41], 10)
    taken = coalescer.take([record(time_ns=5), record(time_ns=6)], 109)
    assert not taken.first and taken.repeats == {41: (2, 5, 6)} and taken.accounting == {3: (0, 2)}


@pytest.mark.parametrize("other", [
    record(rule=4), record(tgid=5), record(start_ticks=98), record(port=1), record(proto=17), record(channel=17),
    record(verdict=3), record(generation=5), record(exe_ino=1), record(euid=5), record(access=1), sun_record(b"\0a"),
    sun_record(b"\0b"), file_record(b"a"), file_record(b"b"), file_record(b"a", b"c")])
def test_what_differs_in_anything_that_matters_is_another(other: bytes) -> None:
    assert len(Coalescer().take([record(), other], 0).first) == 2


def test_taking_changes_nothing_until_it_is_kept() -> None:
    coalescer = Coalescer()
    first = coalescer.take([record(), record()], 0)
    assert coalescer.take([record(), record()], 0) == first


def test_windows_that_are_over_are_closed_once_and_begin_again() -> None:
    coalescer = Coalescer(window_ns=100)
    coalescer.keep(coalescer.take([record(), record(), record(rule=4)], 0), [1, 2], 0)
    assert coalescer.next_deadline_ns() == 100 and coalescer.due(99).keys == []
    due = coalescer.due(100)
    assert (len(due.keys), due.closing) == (2, [1])     # the other had no repeats: nothing to write
    taken = coalescer.take([record()], 100)             # in the batch that closes it: a new first one
    assert taken.accounting == {3: (1, 0)}
    coalescer.forget(due.keys)
    coalescer.keep(taken, [3], 100)
    assert coalescer.due(199).keys == [] and coalescer.next_deadline_ns() is None


def test_too_many_windows_close_the_oldest() -> None:
    coalescer = Coalescer(max_windows=3)
    batch = [record(tgid=number) for number in range(1, 6)]
    coalescer.keep(coalescer.take([*batch, batch[0]], 0), [1, 2, 3, 4, 5], 0)
    due = coalescer.due(0)
    assert (len(due.keys), due.closing) == (2, [1])


def test_records_of_a_wrong_size_are_counted_apart() -> None:
    taken = Coalescer().take([b"", record(), bytes(7)], 0)
    assert taken.malformed == 2 and taken.accounting == {3: (1, 0)}


@pytest.mark.parametrize("seed", range(20))
def test_every_hit_is_counted_exactly_once(seed: int) -> None:
    dice = random.Random(seed)
    coalescer, hits, counted, seq = Coalescer(window_ns=50, max_windows=8), Counter[int](), Counter[int](), 0
    for now in range(0, 400, 7):
        batch = [record(rule=dice.randrange(3), tgid=dice.randrange(1, 8), time_ns=now)
                 for _ in range(dice.randrange(9))]
        due, taken = coalescer.due(now), coalescer.take(batch, now)
        if dice.random() < 0.3:     # the journal cannot be written: as if nothing had been read
            continue
        hits.update(int.from_bytes(raw[44:48], "little") for raw in batch)
        for rule, (journaled, coalesced) in taken.accounting.items():
            counted[rule] += journaled + coalesced
        assert len(taken.first) == sum(journaled for journaled, _ in taken.accounting.values())
        assert (sum(count for count, *_ in [*taken.repeats.values(), *taken.new_repeats.values()])
                == sum(coalesced for _, coalesced in taken.accounting.values()))
        coalescer.forget(due.keys)
        coalescer.keep(taken, range(seq, seq + len(taken.first)), now)
        seq += len(taken.first)
    assert counted == hits
