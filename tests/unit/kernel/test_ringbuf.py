"""The ring buffer reader: against a real ring filled by a real program, and against positions set by hand."""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
from typing import Callable, Iterator

import pytest
from nbspd.kernel import bpf, bpf_load, ringbuf
from nbspd.kernel.ringbuf import RingBuffer, RingBufferError

PAGE = mmap.PAGESIZE
SIZE = 4 * PAGE
SO_ATTACH_BPF = 50
RESERVE, SUBMIT, DISCARD = 131, 132, 133


def instruction(code: int, to: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    return struct.pack("=BBhi", code, to | source << 4, offset, number)


def program(fd: int, record_size: int, finish: int) -> bytes:
    """A socket filter: reserve a record, write the packet's length into its first word, submit or discard it."""
    return b"".join((
        instruction(0x61, 6, 1, 0),                                 # r6 = packet length
        instruction(0x18, 1, 1, 0, fd), instruction(0),             # r1 = the ring
        instruction(0xB7, 2, number=record_size), instruction(0xB7, 3), instruction(0x85, number=RESERVE),
        instruction(0x55, 0, 0, 2), instruction(0xB7), instruction(0x95),      # no room: return 0
        instruction(0x63, 0, 6, 0),                                 # *(u32 *)record = r6
        instruction(0xBF, 1, 0), instruction(0xB7, 2), instruction(0x85, number=finish),
        instruction(0xB7), instruction(0x95)))


class Ring:
    """A ring map, its reader, and programs that write to it."""

    def __init__(self) -> None:
        self.fd = bpf.map_create(bpf.BPF_MAP_TYPE_RINGBUF, 0, 0, SIZE, name="test")
        self.reader = RingBuffer(self.fd, SIZE)
        self._ends: list[socket.socket] = []

    def writer(self, record_size: int = 16, finish: int = SUBMIT) -> Callable[[int], None]:
        """Return a function that makes the kernel write one record holding a number."""
        sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ends += [sender, receiver]
        loaded = bpf_load.prog_load(
            bpf_load.BPF_PROG_TYPE_SOCKET_FILTER, program(self.fd, record_size, finish), "writer")
        receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, loaded)
        os.close(loaded)
        return lambda number: sender.send(bytes(number)) and None

    def close(self) -> None:
        self.reader.close()
        os.close(self.fd)
        for end in self._ends:
            end.close()


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring()
    yield made
    made.close()


def numbers(records: list[bytes]) -> list[int]:
    return [struct.unpack_from("=I", record)[0] for record in records]


def test_reads_in_order_and_gives_room_back_late(ring: Ring) -> None:
    write = ring.writer()
    for number in range(1, 6):
        write(number)
    assert numbers(ring.reader.records(2)) == [1, 2]
    first = ring.reader.position
    assert numbers(ring.reader.records()) == [3, 4, 5] and ring.reader.records() == []
    assert ring.reader.pending_bytes() == 5 * 24
    ring.reader.advance(first)
    assert ring.reader.pending_bytes() == 3 * 24
    ring.reader.rewind()
    assert numbers(ring.reader.records()) == [3, 4, 5]
    ring.reader.advance(ring.reader.position)
    assert ring.reader.pending_bytes() == 0


def test_another_reader_finds_what_was_not_advanced_over(ring: Ring) -> None:
    write = ring.writer()
    write(1)
    write(2)
    ring.reader.records(1)
    ring.reader.advance(ring.reader.position)
    ring.reader.records()
    successor = RingBuffer(ring.fd, SIZE)
    assert numbers(successor.records()) == [2]
    successor.close()


def test_discarded_records_are_skipped(ring: Ring) -> None:
    keep, drop = ring.writer(), ring.writer(finish=DISCARD)
    for write, number in ((drop, 1), (keep, 2), (drop, 3), (keep, 4), (drop, 5)):
        write(number)
    assert numbers(ring.reader.records()) == [2, 4]
    ring.reader.advance(ring.reader.position)
    assert ring.reader.pending_bytes() == 0


def test_records_wrap(ring: Ring) -> None:
    write = ring.writer(1000)
    seen: list[int] = []
    for number in range(1, 200):
        write(number)
        records = ring.reader.records()
        assert all(len(record) == 1000 for record in records)
        seen += numbers(records)
        ring.reader.advance(ring.reader.position)
    assert seen == list(range(1, 200)) and ring.reader.position > 10 * SIZE


def test_a_full_ring_refuses_and_recovers(ring: Ring) -> None:
    write = ring.writer()
    for number in range(1, 1000):
        write(number)
    records = ring.reader.records()
    assert numbers(records) == list(range(1, len(records) + 1)) and len(records) < 999
    write(5000)
    assert ring.reader.records() == []
    ring.reader.advance(ring.reader.position)
    write(6000)
    assert numbers(ring.reader.records()) == [6000]


def test_epoll_wakes_until_advanced(ring: Ring) -> None:
    write = ring.writer()
    with select.epoll() as epoll:
        epoll.register(ring.reader, select.EPOLLIN)
        assert epoll.poll(0) == []
        write(1)
        assert epoll.poll(5) == [(ring.fd, select.EPOLLIN)]
        ring.reader.records()
        assert epoll.poll(0)
        ring.reader.advance(ring.reader.position)
        assert epoll.poll(0) == []


def test_advance_refuses_what_was_not_read(ring: Ring) -> None:
    ring.writer()(1)
    for position in (24, 8, -8):
        with pytest.raises(ValueError, match="is not between"):
            ring.reader.advance(position)
    ring.reader.records()
    with pytest.raises(ValueError):
        ring.reader.advance(ring.reader.position - 4)


@pytest.mark.parametrize("size", [0, 100, PAGE + 1, 3 * PAGE])
def test_impossible_sizes(size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        RingBuffer(0, size)


class ByHand:
    """An ordinary file laid out like a ring, so that its producer's page can be written by hand."""

    def __init__(self, fd: int) -> None:
        os.ftruncate(fd, 2 * PAGE + 2 * SIZE)
        self._fd = fd
        self.reader = RingBuffer(fd, SIZE)

    def put(self, at: int, length: int, data: bytes = b"") -> None:
        os.pwrite(self._fd, struct.pack("=II", length, 0) + data, 2 * PAGE + at)

    def produce(self, position: int) -> None:
        os.pwrite(self._fd, struct.pack("=Q", position), PAGE)


@pytest.fixture
def by_hand() -> Iterator[ByHand]:
    fd = os.memfd_create("ring")
    made = ByHand(fd)
    yield made
    made.reader.close()
    os.close(fd)


def test_stops_at_a_record_still_being_written(by_hand: ByHand) -> None:
    by_hand.put(0, 4, b"one\0")
    by_hand.put(16, 4 | ringbuf.BUSY)
    by_hand.put(32, 4, b"two\0")
    by_hand.produce(48)
    assert by_hand.reader.records() == [b"one\0"] and by_hand.reader.position == 16
    by_hand.put(16, 4, b"mid\0")
    assert by_hand.reader.records() == [b"mid\0", b"two\0"]


def test_odd_lengths_are_padded(by_hand: ByHand) -> None:
    by_hand.put(0, 9, b"ninebytes")
    by_hand.put(24, 0)
    by_hand.produce(32)
    assert by_hand.reader.records() == [b"ninebytes", b""] and by_hand.reader.position == 32


def test_damage_is_told(by_hand: ByHand) -> None:
    by_hand.produce(2 * SIZE)
    with pytest.raises(RingBufferError, match="contradict"):
        by_hand.reader.records()
    by_hand.produce(16)
    by_hand.put(0, 100)
    with pytest.raises(RingBufferError, match="past its end"):
        by_hand.reader.records()
