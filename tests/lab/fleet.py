"""Boots the next guest while tests run in this one: two cores and the memory have room for two at a time."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Sequence

from .guest import Guest

Pair = tuple[str, str]      # kernel, tier


class Fleet:
    """Hands out one guest for each pair, in the order in which they will be wanted."""

    def __init__(self) -> None:
        self._order: Sequence[Pair] = ()
        self._booting: dict[Pair, Future[Guest]] = {}
        self._guests: list[Guest] = []
        # One thread for the whole session, and not one a boot: a QEMU dies with the thread that started it.
        self._worker = ThreadPoolExecutor(max_workers=1)

    def expect(self, order: Sequence[Pair]) -> None:
        """Say which guests will be taken, and in which order."""
        self._order = order

    def take(self, pair: Pair) -> Guest:
        """Return a running guest; a later one begins to boot. Raises LabError when it cannot be booted."""
        guest = self._begin(pair).result()
        if "PYTEST_XDIST_WORKER" in os.environ:     # the other process has the other processor
            return guest
        later = self._order[self._order.index(pair) + 1:] if pair in self._order else ()
        if later:
            self._begin(later[0])
        return guest

    def close(self) -> None:
        """Switch off what still runs or boots."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        for guest in self._guests:
            guest.stop()
        self._worker.shutdown(wait=True)

    def _begin(self, pair: Pair) -> Future[Guest]:
        if pair not in self._booting:
            self._booting[pair] = self._worker.submit(self._boot, pair)
        return self._booting[pair]

    def _boot(self, pair: Pair) -> Guest:
        guest = Guest(*pair)
        self._guests.append(guest)
        guest.start()
        return guest
