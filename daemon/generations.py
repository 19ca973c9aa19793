"""What the daemon remembers of its generations in the state folder, so that it can go back.

    generations.json        which generation is the last good one, which came before, who must confirm until when,
                            and the small numbers by which the kernel counts the rules
    generations/7/*.yaml    the texts of generation 7, as they were read

The file is replaced in one step after the folder it points to is complete, so that a crash leaves either the old
state or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Iterable, Mapping

from .errors import NbspdError, Problem, RulesError
from .rules.load import Source
from .rules.reserved import FIRST

NOTHING_CHANGED = "free some space or mend the folder; nothing changed"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Pending:
    """A generation that goes away by itself unless it is confirmed."""

    generation: int
    deadline_s: float       # boot clock
    boot_id: str
    by: str

    def remaining_s(self, now_s: float) -> float:
        """Return how long is left; nothing after a reboot."""
        return self.deadline_s - now_s if self.boot_id == boot_id() else 0.0


@dataclass(frozen=True)
class Remembered:
    """The content of generations.json."""

    last_good: int = 0              # generation number, 0: none
    previous: int = 0
    digest: str = ""                # of the last good generation's plan
    pending: Pending | None = None
    held_off: str = ""              # fingerprint of texts in the rule folder that were rolled back
    numbers: Mapping[str, int] = field(default_factory=dict)    # rule id -> number in the kernel's counters


class Generations:
    """Owns the state folder's generations."""

    def __init__(self, state: Path) -> None:
        """Read what is remembered. What cannot be read is forgotten, and `trouble` says so."""
        self.file = state / "generations.json"
        self.folder = state / "generations"
        self.trouble = ""
        self.now = self.read()

    def read(self) -> Remembered:
        """Return what the file says."""
        try:
            return from_json(json.loads(self.file.read_text()))
        except FileNotFoundError:
            return Remembered()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self.trouble = f"{self.file} cannot be read ({error}): earlier generations are forgotten"
            return Remembered()

    def save(self, remembered: Remembered) -> None:
        """Replace what is remembered, in one step. Raises NbspdError, and then nothing changed."""
        if remembered == self.now:
            return
        try:
            write_file(self.file, to_text(remembered))
        except OSError as error:
            raise NbspdError(f"cannot write {self.file}: {error.strerror}", NOTHING_CHANGED) from error
        self.now = remembered

    def store(self, number: int, sources: Iterable[Source]) -> None:
        """Keep the texts of a generation. Raises NbspdError."""
        folder = self.folder / str(number)
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, mode=0o700)
            for index, source in enumerate(sources):
                write_file(folder / f"{index:05d}-{Path(source.name).name}", source.text)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise NbspdError(f"cannot keep the rules in {folder}: {error.strerror}",
                             NOTHING_CHANGED) from error

    def texts(self, number: int) -> tuple[Source, ...]:
        """Return the texts of a generation. Raises RulesError when they are gone."""
        folder = self.folder / str(number)
        try:
            names = sorted(p.name for p in folder.iterdir())
            return tuple(Source(name.partition("-")[2], (folder / name).read_text()) for name in names)
        except (OSError, UnicodeDecodeError) as error:
            problem = Problem(str(folder), f"the texts of generation {number} cannot be read: {error}")
            raise RulesError([problem]) from error

    def sweep(self) -> None:
        """Remove the texts that nothing points to any more."""
        wanted = {str(self.now.last_good), str(self.now.previous)}
        if self.now.pending is not None:
            wanted.add(str(self.now.pending.generation))
        if self.folder.is_dir():
            for folder in self.folder.iterdir():
                if folder.name not in wanted:
                    shutil.rmtree(folder, ignore_errors=True)


def to_text(remembered: Remembered) -> str:
    """Return the content of the file."""
    pending = None if remembered.pending is None else asdict(remembered.pending)
    return json.dumps({"version": 1, **remembered.__dict__, "pending": pending, "numbers": dict(remembered.numbers)})


def from_json(document: Mapping[str, Any]) -> Remembered:
    """Return the typed content of the file. Raises ValueError, TypeError, KeyError."""
    if document["version"] != 1:
        raise ValueError(f"version {document['version']} is not known here")
    pending = document["pending"]
    return Remembered(int(document["last_good"]), int(document["previous"]), str(document["digest"]),
                      None if pending is None else Pending(**pending), str(document["held_off"]),
                      {str(key): int(value) for key, value in document["numbers"].items()})


def assign_numbers(known: Mapping[str, int], wanted: Iterable[str], keep: Iterable[str],
                   hits: Mapping[int, int]) -> dict[str, int]:
    """Return the numbers of all rules, old and new: a rule keeps its number, and a number names one rule only.

    Numbers are given out upwards from 1. When they are used up, those of rules that are neither wanted nor kept and
    that the kernel never counted a hit of are given out again; their accounts are empty, so nothing is mixed up.
    Raises RulesError when there are none left.
    """
    numbers = dict(known)
    new = [rule for rule in wanted if rule not in numbers]
    first = max(numbers.values(), default=0) + 1
    if first + len(new) > FIRST:
        needed = set(wanted) | set(keep)
        numbers = {rule: number for rule, number in numbers.items() if rule in needed or hits.get(number, 0)}
        taken = set(numbers.values())
        free = [number for number in range(1, FIRST) if number not in taken]
    else:
        free = list(range(first, first + len(new)))
    if len(free) < len(new):
        raise RulesError([Problem("rules", f"{len(new)} new rules, but the kernel can count only {len(free)} more",
                                  "reboot: the counters start anew")])
    numbers.update(zip(new, free))
    return numbers


def fingerprint(sources: Iterable[Source]) -> str:
    """Return what tells one set of texts from another."""
    total = hashlib.sha256()
    for source in sources:
        for part in (Path(source.name).name, source.text):
            raw = part.encode("utf-8", "surrogateescape")
            total.update(len(raw).to_bytes(8, "little") + raw)
    return total.hexdigest()


def write_file(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one. Raises OSError."""
    new = path.with_name(path.name + ".new")
    with open(new, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def boot_id() -> str:
    """Return what tells one boot from another."""
    return BOOT_ID.read_text().strip()
