"""Read a BPF ring buffer through mmap, and say what was read only when the caller has kept it.

The first page is the consumer's position, the next the producer's, then the data, mapped twice so that no record
wraps.  Positions only grow.  Layout and flags: kernel/bpf/ringbuf.c.
"""

from __future__ import annotations

import mmap
import struct
import threading

from ..errors import HostError

BUSY = 1 << 31
DISCARD = 1 << 30
HEADER_SIZE = 8


class RingBufferError(HostError):
    """The ring buffer does not hold together."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause, "run: nbsp detach, then start nbspd again")


class RingBuffer:
    """The reading end of a BPF_MAP_TYPE_RINGBUF map; there may be one reader only.

    `records()` reads on from `position` and leaves the consumer's page alone; `advance(position)` gives the room
    back to the kernel.  What was read but not advanced over is there again for the next daemon.
    """

    def __init__(self, map_fd: int, size_bytes: int) -> None:
        page = mmap.PAGESIZE
        if size_bytes < page or size_bytes & (size_bytes - 1):
            raise ValueError(f"a ring buffer has a power of two of at least {page} bytes, not {size_bytes}")
        self.size_bytes = size_bytes
        self._fd = map_fd
        self._consumer_map = mmap.mmap(map_fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer_map = mmap.mmap(map_fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = memoryview(self._consumer_map).cast("Q")
        self._producer = memoryview(self._producer_map)[:8].cast("Q")
        self._data = memoryview(self._producer_map)[page:]
        self._barrier = threading.Lock()    # taken and given back where the CPU must not reorder reads
        self._position = self._consumer[0]

    def fileno(self) -> int:
        """Return the descriptor to wait on: readable (level) while anything is not advanced over."""
        return self._fd

    @property
    def position(self) -> int:
        """Return where the first record lies that records() has not returned yet."""
        return self._position

    def records(self, max_records: int = 4096) -> list[bytes]:
        """Return the next committed records, oldest first; stops at one still being written.

        Raises RingBufferError.
        """
        position, end = self._position, self._producer[0]
        if not 0 <= end - position <= self.size_bytes:
            raise RingBufferError(f"the ring buffer's positions contradict each other: {position} and {end}")
        self._fence()
        places: list[tuple[int, int]] = []
        mask = self.size_bytes - 1
        while position < end and len(places) < max_records:
            at = position & mask
            length = struct.unpack_from("=I", self._data, at)[0]
            if length & BUSY:
                break
            size = length & ~DISCARD
            position += (size + HEADER_SIZE + 7) & ~7
            if position > end:
                raise RingBufferError(f"the ring buffer has a record of {size} bytes past its end")
            if not length & DISCARD:
                places.append((at + HEADER_SIZE, size))
        self._fence()
        records = [bytes(self._data[at:at + size]) for at, size in places]
        self._position = position
        return records

    def advance(self, position: int) -> None:
        """Tell the kernel that everything before `position` is safe with us.

        Raises ValueError for a position that records() has not reached or that was passed already.
        """
        if not self._consumer[0] <= position <= self._position or position & 7:
            raise ValueError(f"position {position} is not between {self._consumer[0]} and {self._position}")
        self._fence()
        self._consumer[0] = position

    def rewind(self) -> None:
        """Let records() start again at the first record that was not advanced over."""
        self._position = self._consumer[0]

    def pending_bytes(self) -> int:
        """Return how many bytes are not advanced over, read or not."""
        return self._producer[0] - self._consumer[0]

    def close(self) -> None:
        """Unmap; the map's descriptor stays the caller's."""
        for view in (self._consumer, self._producer, self._data):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()

    def _fence(self) -> None:
        with self._barrier:
            pass
