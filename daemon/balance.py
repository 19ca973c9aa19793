"""The proof of hits = journaled + coalesced + lost + waiting.

`waiting` is what the other three leave over, so the equation alone proves nothing: what waits must really lie in the
kernel's ring. That is counted here by the ring's own positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Mapping

from .events.decode import SIZE
from .journal.reader import Account
from .kernel.ringbuf import HEADER_SIZE

if TYPE_CHECKING:
    from .programs.enforcer import Enforcer

SLOT_BYTES = (HEADER_SIZE + SIZE + 7) & ~7
LOOKS = 5       # the kernel goes on counting while it is looked at


def account_json(kernel: tuple[int, int] | None, account: Account | None) -> dict[str, int]:
    """Return what became of a rule's hits: hits = journaled + coalesced + lost + waiting, always."""
    hits, kernel_lost = kernel or (0, 0)
    known = account or Account()
    lost = kernel_lost + known.gone
    return {"hits": hits, "journaled": known.journaled, "coalesced": known.coalesced, "lost": lost,
            "waiting": hits - known.journaled - known.coalesced - lost}


def totals(counters: Mapping[int, tuple[int, int]], accounts: Mapping[int, Account]) -> dict[str, int]:
    """Return the same of all rules together."""
    each = [account_json(hits, accounts.get(number)) for number, hits in counters.items()]
    return {key: sum(one[key] for one in each) for key in account_json(None, None)}


def unexplained(enforcer: Enforcer, accounts: Callable[[], Mapping[int, Account]]) -> int:
    """Return of how many hits neither the journal nor the ring knows; negative: they account for more than there were.

    Anything but 0 means that records or accounts were taken from the journal, or a bug of ours.
    """
    smallest = 0
    for look in range(LOOKS):
        waiting = totals(enforcer.counters(), accounts())["waiting"]
        room = enforcer.ring.pending_bytes() // SLOT_BYTES      # after the counters: what they count is in there by now
        missing = waiting if waiting < 0 else max(0, waiting - room)
        if not missing:
            return 0
        smallest = missing if look == 0 else min(smallest, missing, key=abs)
    return smallest
