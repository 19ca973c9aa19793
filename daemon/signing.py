"""The host signs its journal: soon after records came, after many of them, and at the end.

Without new records nothing is signed, so an idle daemon stays asleep. What hinders it (no room for a key, no
cryptography) is said, and tried again with the next records; recording goes on without.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping

from .balance import totals
from .changes import said
from .control.peer import DAEMON
from .control.timer import Timer
from .errors import JournalError
from .generations import boot_id
from .journal.record import Record, Signed
from .journal.signatures import Sign, Written, message
from .journal.store import Journal

if TYPE_CHECKING:
    from .journal.hostkey import HostKey

EVERY_S = 60.0
EVERY_RECORDS = 4096

Counters = Mapping[int, tuple[int, int]]    # rule number -> what the kernel says: (hits, lost)


@dataclass(frozen=True)
class LastSignature:
    """What was signed last, for whoever asks."""

    to: int
    time_ns: int
    key: str


class Signing:
    """Owns the host's key and decides when the journal is signed."""

    def __init__(self, state: Path, note: Callable[[Record], None]) -> None:
        self.state = state
        self.note = note
        self.timer = Timer()
        self.key: HostKey | None = None
        self.trouble = ""
        self.last: LastSignature | None = None

    def is_due(self, journal: Journal) -> bool:
        """Return whether so much is unsigned that it cannot wait; what can wait wakes the timer later."""
        newest, signed = journal.last_seq(), self.last.to + 1 if self.last is not None else 0
        if newest < signed:             # the journal was begun anew
            self.last, signed = None, 0
        if newest == signed:
            self.timer.cancel()
        elif not self.timer.is_armed:
            self.timer.after(EVERY_S)
        return newest - signed >= EVERY_RECORDS

    def sign(self, journal: Journal, counters: Counters) -> int:
        """Sign everything that is in the journal and return how many records were written for it.

        Raises JournalError when the journal cannot be written.
        """
        self.timer.cancel()
        if self.last is not None and journal.last_seq() == self.last.to + 1:
            return 0
        key = self.load(journal)
        if key is None:
            return 0
        now_ns = time.time_ns()
        news = [said("key", text, DAEMON) for text in key.news]
        accounts = journal.accounting()
        seqs = journal.append(news, sign=self.signer(key, now_ns, totals(counters, accounts), journal.epoch))
        self.key = replace(key, news=())
        self.last = LastSignature(seqs[-1] - 1, now_ns, key.public.id)
        return len(seqs)

    def load(self, journal: Journal) -> HostKey | None:
        """Return the host's key, made where there is none; None when that fails, which is said once."""
        if self.key is not None:
            return self.key
        try:
            from .journal import hostkey
            self.key = hostkey.load(self.state, journal.last_key())
            self.trouble = ""
        except ImportError as error:
            self.fail(f"the journal is not signed: {error.name} is not installed; apt install python3-cryptography")
        except JournalError as error:
            self.fail(f"the journal is not signed: {error}")
        return self.key

    def fail(self, text: str) -> None:
        """Say what hinders it, once."""
        if self.trouble != text:
            self.note(said("degraded", text, DAEMON))
        self.trouble = text

    @staticmethod
    def signer(key: HostKey, now_ns: int, counted: Mapping[str, int], epoch: str) -> Sign:
        """Return what makes the record of a signature."""
        def sign(to: int, head: bytes, written: Written) -> Record:
            numbers: dict[str, Any] = {**counted, **written._asdict()}
            signed = Signed(to=to, head=head.hex(), key=key.public.id, boot=boot_id(), epoch=epoch, **numbers)
            signature = base64.b64encode(key.sign(message(signed, now_ns))).decode("ascii")
            return Record("signature", now_ns, text=f"signed up to record {to} by the host key {key.public.id}",
                          signed=signed._replace(signature=signature))
        return sign
