"""Waiting for many descriptors at once, each with the function that serves it."""

from __future__ import annotations

import select
from typing import Callable, Protocol

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class HasDescriptor(Protocol):
    """Something with a file descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Loop:
    """epoll(7), level-triggered: a handler that leaves something unread is called again."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}

    def watch(self, source: HasDescriptor | int, handler: Callable[[int], None], events: int = READ) -> None:
        """Call handler(events) when the descriptor is ready; a second call changes the events or the handler."""
        fd = source if isinstance(source, int) else source.fileno()
        if fd in self.handlers:
            self.epoll.modify(fd, events)
        else:
            self.epoll.register(fd, events)
        self.handlers[fd] = handler

    def forget(self, source: HasDescriptor | int) -> None:
        """Stop waiting for a descriptor; call it before the descriptor is closed."""
        fd = source if isinstance(source, int) else source.fileno()
        if self.handlers.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def run_once(self, timeout_s: float | None = None) -> None:
        """Wait until something is ready and serve it."""
        for fd, events in self.epoll.poll(timeout_s):
            handler = self.handlers.get(fd)     # an earlier handler of this round may have forgotten it
            if handler is not None:
                handler(events)

    def close(self) -> None:
        """Release the epoll descriptor."""
        self.handlers.clear()
        self.epoll.close()
