"""What an attempt is: one technique, one goal, one variant, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, Sequence

from .covers import covers as channels_of

CHANNELS = tuple(f"H{number}" for number in range(1, 15))

# What an attempt is after, and what proves that it got there:
#   read, exec       the secret of the target in what it printed
#   write            the target is not as it was
#   connect, send    the server heard the attempt's token
#   act              the attempt's own word, exit status 0
GOALS = ("read", "write", "exec", "connect", "send", "act")
USERS = ("user", "root", "both")
STARTS = ("now", "before")                          # before: prepared before the rules are active, finished afterwards
MEANWHILE = ("", "reload", "kill", "restart")       # what happens to the daemon while it tries

PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Attempt:
    """One way around a checkpoint, and what it is tried on.

    `command` are the words for nbsp-attempt, the technique first; a word in braces stands for something of the ground
    (`ground.py` has the list). `needs` says in words what the kernel or host must have; without it the outcome is
    absent. `lab_only` does harm to a host when it gets through. `is_silent`: a refusal shows as nothing happening.
    `covers` are channels of `nbsp coverage`, each of which stops it when it is closed.
    """

    id: str
    channel: str                # H1 to H14
    family: str
    title: str
    goal: str
    who: str                    # user | root | both
    command: tuple[str, ...]
    needs: str = ""
    starts: str = "now"
    meanwhile: str = ""
    lab_only: bool = False
    is_silent: bool = False
    timeout_s: float = 15.0
    covers: tuple[str, ...] = ()

    @property
    def technique(self) -> str:
        """Return the name of the technique in nbsp-attempt."""
        return self.command[0]

    @property
    def placeholders(self) -> frozenset[str]:
        """Return what the command wants of the ground."""
        return frozenset(name for word in self.command for name in PLACEHOLDER.findall(word))

    @property
    def users(self) -> tuple[str, ...]:
        """Return as whom it is tried, each once."""
        return ("user", "root") if self.who == "both" else (self.who,)


TARGETS = {"read": "{file}", "write": "{file}", "exec": "{tool}", "connect": "{stream}", "send": "{dgram}", "act": ""}
WORDS = {"read": "read", "write": "change", "exec": "execute", "connect": "connect to", "send": "send to", "act": ""}


def row(channel: str, family: str, technique: str, goal: str, title: str, *words: str, who: str = "user",
        variant: str = "", target: str | None = None, needs: str = "", starts: str = "now", meanwhile: str = "",
        lab_only: bool = False, is_silent: bool = False, timeout_s: float = 15.0,
        covers: Sequence[str] = ()) -> Attempt:
    """Return an attempt with the words that every technique takes: target, goal, token, a folder of its own.

    `covers`: the channels that it is made at, where covers.py would not say so from technique, goal and words.
    """
    target = TARGETS[goal] if target is None else target
    shared = [f"goal={goal}", "scratch={scratch}", "token={token}", *([f"target={target}"] if target else [])]
    name = "-".join(part for part in (channel.lower(), technique, variant, goal) if part)
    command = (technique, *shared, *words)
    return Attempt(name, channel, family, title, goal, who, command, needs, starts, meanwhile, lab_only, is_silent,
                   timeout_s, tuple(covers) or channels_of(technique, goal, command[1:]))


def many(channel: str, family: str, technique: str, goals: Sequence[str], title: str, *words: str,
         who: str = "user", variant: str = "", needs: str = "", covers: Sequence[str] = ()) -> Iterator[Attempt]:
    """Yield the same technique for several goals; `tree` is reading, `tree-write` changing a file inside a tree."""
    for goal in goals:
        if goal.startswith("tree"):
            plain = "write" if goal.endswith("write") else "read"
            yield row(channel, family, technique, plain, f"{WORDS[plain]} a file in a tree {title}", *words, who=who,
                      variant=f"{variant}-tree".strip("-"), target="{in_tree}", needs=needs, covers=covers)
        else:
            what = {"connect": "a socket", "send": "a socket", "exec": "a program"}.get(goal, "a file")
            yield row(channel, family, technique, goal, f"{WORDS[goal]} {what} {title}", *words, who=who,
                      variant=variant, needs=needs, covers=covers)
