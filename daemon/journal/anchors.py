"""Anchors: the head of a journal in one line, to be kept where nobody who can change the journal can change it."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import JournalError

FORM = re.compile(r"nbsp-anchor:(\d{1,19}):([0-9a-f]{64}):([0-9a-f]{16}|-)")


class Anchor(NamedTuple):
    """A record's number and hash, and the id of the key that signs the journal, "" when none does yet."""

    seq: int
    hash: str
    key: str = ""

    @property
    def text(self) -> str:
        """Return it in one line that survives being pasted, mailed and printed."""
        return f"nbsp-anchor:{self.seq}:{self.hash}:{self.key or '-'}"


def parse_anchor(text: str) -> Anchor:
    """Return the anchor in a text, wherever in it. Raises JournalError when there is none, or more than one."""
    found = FORM.findall(text)
    if len(found) != 1:
        raise JournalError(f"{text.strip()[:80]!r} is not an anchor", "it is what nbsp journal anchor prints: one line "
                           "with nbsp-anchor:, a number, a hash and the id of a key")
    seq, digest, key = found[0]
    return Anchor(int(seq), digest, "" if key == "-" else key)
