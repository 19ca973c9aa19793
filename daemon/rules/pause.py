"""Holds the garbage collector while many objects are made and none form a circle: that is a third of a reload."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def paused_collection() -> Iterator[None]:
    """Keep the collector from running inside the block."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
