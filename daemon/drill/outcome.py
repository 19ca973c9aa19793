"""What became of an attempt: through, blocked, absent or broken, decided from proof and exit status.

A fifth one, open, is made of `through` in claims.py: coverage says so, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .attempt import Attempt

THROUGH, OPEN, BLOCKED, ABSENT, BROKEN = "through", "open", "blocked", "absent", "broken"
OUTCOMES = (THROUGH, OPEN, BLOCKED, ABSENT, BROKEN)

# the exit statuses of nbsp-attempt (drill/attempt.h)
EXIT_DONE, EXIT_BLOCKED, EXIT_SILENT, EXIT_ABSENT, EXIT_BROKEN = 0, 10, 11, 20, 30
SIGKILL = 9


@dataclass(frozen=True)
class Ending:
    """How a process of an attempt ended; its status as subprocess has it: -signal, or None when its time was up."""

    status: int | None
    output: bytes
    has_secret: bool = False        # in what it printed
    is_heard: bool = False          # the server heard its token
    is_changed: bool = False        # the target is not as it was

    @property
    def last_words(self) -> str:
        """Return the last line that it printed, without the word of its outcome."""
        lines = [line for line in self.output.decode(errors="replace").splitlines() if line.strip()]
        last = lines[-1].strip() if lines else ""
        word, _, rest = last.partition(" ")
        return rest if word in ("blocked", "silent", "absent", "broken", "done") else last


@dataclass(frozen=True)
class Result:
    """One attempt, as one user, and what became of it."""

    attempt: Attempt
    who: str                # user | root
    outcome: str
    reason: str
    seconds: float = 0.0
    coverage: str = ""      # why coverage calls its channels open, where the outcome is that

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        attempt = self.attempt
        return {"id": attempt.id, "channel": attempt.channel, "family": attempt.family, "title": attempt.title,
                "goal": attempt.goal, "technique": attempt.technique, "covers": list(attempt.covers), "who": self.who,
                "outcome": self.outcome, "reason": self.reason, "coverage": self.coverage,
                "seconds": round(self.seconds, 3)}


def is_proved(attempt: Attempt, ending: Ending) -> bool:
    """Return whether the goal was reached; an `act` has its own word only."""
    return {"read": ending.has_secret, "exec": ending.has_secret, "write": ending.is_changed,
            "connect": ending.is_heard or ending.has_secret, "send": ending.is_heard,
            "act": ending.status == EXIT_DONE}[attempt.goal]


def decide(attempt: Attempt, ending: Ending, has_rules: bool) -> tuple[str, str]:
    """Return the outcome and its reason.

    Proof goes before everything that the attempt says of itself. Without rules nobody refuses: what is refused then
    does not work here, and proves nothing later. That is our bug, as is whatever ends in no known way.
    """
    words = ending.last_words
    if is_proved(attempt, ending):
        return THROUGH, PROOFS[attempt.goal]
    if ending.status == EXIT_ABSENT:
        return ABSENT, words or "no reason given"
    if ending.status is None:
        return BROKEN, "its time was up"
    if ending.status in (EXIT_BLOCKED, -SIGKILL):
        reason = words if ending.status == EXIT_BLOCKED else "killed with SIGKILL"
        return (BLOCKED, reason) if has_rules else (BROKEN, f"refused although no rule guards it: {reason}")
    if ending.status in (EXIT_SILENT, EXIT_DONE) and attempt.is_silent:
        reason = words if ending.status == EXIT_SILENT else "sent, and never arrived"
        return (BLOCKED, reason) if has_rules else (BROKEN, f"nothing came of it although no rule guards it: {reason}")
    if ending.status == EXIT_DONE:
        return BROKEN, "it believes to have succeeded, and nothing shows it"
    if ending.status < 0:
        return BROKEN, f"it died of signal {-ending.status}"
    return BROKEN, words or f"exit status {ending.status}"


PROOFS = {"read": "it printed the secret", "exec": "the program ran, or what is in it was printed",
          "write": "the target is not as it was", "connect": "the server was reached",
          "send": "the server heard it", "act": "it was done"}
MEANINGS = {
    "H1": "the resource has another name by which it can be reached",
    "H2": "calls submitted another way are not judged", "H3": "calls of another ABI are not judged",
    "H4": "the endpoint can be reached past the checkpoint", "H5": "an open handle goes around the checkpoint",
    "H6": "another program acts with the checkpoint's stamp",
    "H7": "a protected program can be run without executing it",
    "H8": "a stamp is kept or got by descent", "H9": "mounts deceive about checkpoint or resource",
    "H10": "there is a moment without enforcement", "H11": "under load something is let through",
    "H12": "nbspd itself can be switched off or changed", "H13": "the kernel below nbspd can be changed",
    "H14": "what is judged is not what is used"}
