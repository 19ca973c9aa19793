"""Prints docs/channels.md: the channels of coverage with the drill's attempts at each. `make channels` writes it."""

from __future__ import annotations

from ..coverage.document import markdown
from ..drill.catalogue import ATTEMPTS, attempts_at


def text() -> str:
    """Return the document."""
    return markdown(attempts_at(ATTEMPTS))


if __name__ == "__main__":
    print(text(), end="")
