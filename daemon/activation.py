"""Which generation is active, and every way to change that: start, reload, confirm, rollback, detach.

A change is prepared completely before the kernel is told; when anything fails, the generation before stays.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

from .changes import Change, difference, failure_words, first_problems, not_confirmed, said
from .control.peer import DAEMON, Peer
from .control.timer import boot_time_s
from .errors import ControlError, NbspdError, RulesError
from .generations import Generations, Pending, Remembered, assign_numbers, boot_id, fingerprint
from .journal.record import Record
from .naming import Naming
from .paths import Settings
from .rules import itself
from .rules.compile import compile_rules
from .rules.load import Source, load_directory, parse_sources
from .rules.pause import paused_collection
from .rules.plan import Plan

if TYPE_CHECKING:
    from .programs.enforcer import Bound, Enforcer

CONFIRM_MAX_S = 24 * 3600.0
MAINTAIN_MAX_S = 3600.0

Note = Callable[[Record], None]
Begin = Callable[[Settings], "Enforcer"]


@dataclass(frozen=True)
class Candidate:
    """A rule set that compiles."""

    sources: tuple[Source, ...]
    plan: Plan


@dataclass(frozen=True)
class Active:
    """The generation that the kernel enforces."""

    number: int
    plan: Plan
    bound: Bound
    numbers: Mapping[str, int]  # rule id -> number in the kernel's counters
    origin: str             # rules: the rule folder; last-good or previous: what the state folder remembered
    since_s: float
    is_adopted: bool = False    # an earlier daemon made it active


@dataclass(frozen=True)
class Detached:
    """Enforcement was ended."""

    by: str
    reason: str
    at_s: float


class Activation:
    """Owns the enforcer and the active generation."""

    def __init__(self, settings: Settings, generations: Generations, naming: Naming, note: Note, begin: Begin) -> None:
        self.settings = settings
        self.generations = generations
        self.naming = naming
        naming.remember(0, naming.latest, generations.now.numbers)
        self.note = note
        self.begin = begin
        self.enforcer: Enforcer | None = None
        self.active: Active | None = None
        self.detached: Detached | None = None
        self.is_stale = False       # adopted tables may know files and addresses that have changed since
        self.before_close: Callable[[Enforcer], None] = lambda enforcer: None
        self.trouble: dict[str, str] = {}       # what is not as it should be, until it is

    # -- start

    def start(self) -> None:
        """Load the programs and make a generation active. Raises NbspdError when none can be."""
        self.enforcer = self.begin(self.settings)
        if self.generations.trouble:
            self.degraded("memory", self.generations.trouble)
        remembered = self.generations.now
        if remembered.pending is not None:
            self.start_pending(remembered.pending)
            return
        try:
            sources = load_directory(self.settings.rules)
            if remembered.held_off and remembered.held_off == fingerprint(sources):
                self.trouble["rules"] = held_off_words(self.settings)
                self.resume(remembered.last_good, "last-good")
            else:
                self.activate(self.prepare(sources), "rules")
        except RulesError as error:
            if not remembered.last_good:
                raise
            self.degraded("rules", f"the rules in {self.settings.rules} are broken, "
                                   f"generation {remembered.last_good} is kept: {first_problems(error.problems)}")
            self.resume(remembered.last_good, "last-good")

    def start_pending(self, pending: Pending) -> None:
        """Start while a generation waits for its confirmation, was cut short, or ran out of time."""
        remembered = self.generations.now
        if pending.generation != remembered.last_good:
            self.note(said("note", f"generation {pending.generation} was cut short before it was active; "
                                   f"generation {remembered.last_good} stays"))
            self.save(replace(remembered, pending=None))
            self.resume(remembered.last_good, "last-good")
        elif pending.remaining_s(boot_time_s()) > 0:
            self.resume(remembered.last_good, "last-good", pending)
        else:
            self.expire()
            if self.active is None:
                self.resume(remembered.last_good, "last-good")

    def resume(self, number: int, origin: str, pending: Pending | None = None) -> None:
        """Make a remembered generation active. When that fails, what the kernel enforces already stays as it is."""
        assert self.enforcer is not None
        try:
            candidate = self.prepare(self.generations.texts(number) if number else ())
            self.activate(candidate, origin, pending, self.generations.now.held_off)
        except RulesError as error:
            if not self.enforcer.active_generation():
                raise
            self.degraded("rules", f"generation {self.enforcer.active_generation()} goes on in the kernel as it is; "
                                   f"generation {number} cannot be made active: {failure_words(error)}")

    # -- change

    def reload(self, by: Peer, confirm_within_s: float | None = None) -> Change:
        """Apply the rule folder. Raises NbspdError, RulesError with every problem; then nothing changed."""
        if confirm_within_s is not None and not 1 <= confirm_within_s <= CONFIRM_MAX_S:
            raise ControlError(f"cannot wait {confirm_within_s:g} s for a confirmation",
                               f"between 1 and {CONFIRM_MAX_S:.0f} s, for example: nbsp reload --confirm-within 60s")
        waiting = self.generations.now.pending
        if waiting is not None:
            raise ControlError(f"generation {waiting.generation} waits to be confirmed",
                               "first: nbsp confirm, or nbsp rollback")
        pending = None
        if confirm_within_s is not None:
            pending = Pending(0, boot_time_s() + confirm_within_s, boot_id(), by.words())
        try:
            sources = load_directory(self.settings.rules)
            candidate = self.prepare(sources)       # what is wrong is said before anything is loaded
            if self.enforcer is None:
                self.enforcer = self.begin(self.settings)
                candidate = self.prepare(sources)
            change = self.activate(candidate, "rules", pending)
        except NbspdError as error:
            self.note(said("reload-failed", failure_words(error), by, self.number))
            raise
        for subject in ("rules", "memory"):
            self.trouble.pop(subject, None)
        limit = "" if confirm_within_s is None else f"; to be confirmed within {confirm_within_s:g} s"
        self.note(said("reload", change.words() + limit, by, change.generation))
        return change

    def rollback(self, by: Peer) -> Change:
        """Go back to the generation before. Raises NbspdError; then nothing changed."""
        if self.active is None:
            raise ControlError("nothing is enforced, so there is nothing to go back from", "start with: nbsp reload")
        if not self.generations.now.previous and not self.generations.now.pending:
            raise ControlError("there is no generation before this one", "change the rules and run: nbsp reload")
        return self.go_back(by, "asked for")

    def go_back(self, by: Peer, why: str) -> Change:
        """Apply the texts of the generation before, and hold off those that are still in the rule folder."""
        remembered = self.generations.now
        in_folder = fingerprint(load_directory(self.settings.rules))
        held_off = in_folder if in_folder == self.fingerprint_of(remembered.last_good) else ""
        wanted = self.prepare(self.generations.texts(remembered.previous) if remembered.previous else ())
        change = self.activate(wanted, "previous", held_off=held_off)
        self.trouble.pop("rules", None)
        if held_off:
            self.trouble["rules"] = held_off_words(self.settings)
        self.note(said("rollback", f"back from generation {remembered.last_good} to the rules of generation "
                                   f"{remembered.previous}, now generation {self.number}: {why}", by, self.number))
        return change

    def fingerprint_of(self, number: int) -> str:
        """Return the fingerprint of a remembered generation's texts, empty when they are gone."""
        try:
            return fingerprint(self.generations.texts(number))
        except RulesError:
            return ""

    def confirm(self, by: Peer) -> int:
        """Keep the active generation. Raises ControlError when nothing waits for that."""
        pending = self.generations.now.pending
        if pending is None:
            raise ControlError("nothing waits to be confirmed", "see: nbsp status")
        self.generations.save(replace(self.generations.now, pending=None))
        self.note(said("confirm", f"generation {pending.generation} is kept", by, pending.generation))
        return pending.generation

    def expire(self) -> None:
        """Go back, because nobody confirmed in time; what hinders that is said and the generation stays."""
        pending = self.generations.now.pending
        if pending is None or pending.remaining_s(boot_time_s()) > 0:
            return
        try:
            self.go_back(DAEMON, not_confirmed(pending))
        except NbspdError as error:
            self.save(replace(self.generations.now, pending=None))
            self.degraded("rollback", f"generation {pending.generation} was not confirmed in time, "
                                      f"but going back failed: {failure_words(error)}")

    def detach(self, by: Peer, reason: str) -> int:
        """End enforcement and return the generation that was active.

        Raises ControlError when there is nothing to end, LoadError when the kernel refuses.
        """
        if self.enforcer is None:
            raise ControlError("nothing is enforced already", "see: nbsp status")
        number = self.number
        try:
            self.enforcer.detach()
        except NbspdError as error:
            if self.enforcer.active_generation():
                raise
            self.degraded("detach", failure_words(error))       # it has ended all the same
        self.note(said("detach", reason, by, number))
        self.before_close(self.enforcer)
        self.enforcer.close()
        self.enforcer = self.active = None
        self.detached = Detached(by.words(), reason, time.time())
        self.save(replace(self.generations.now, pending=None))
        return number

    def refresh(self) -> tuple[str, ...]:
        """Look again at what the names of the active generation stand for; returns what changed."""
        if self.enforcer is None or self.active is None:
            return ()
        try:
            if self.is_stale:
                self.enforcer.apply(self.enforcer.bind(self.active.plan, self.active.numbers), self.active.number)
                self.is_stale = False
            changes = self.enforcer.refresh()
            if changes and self.enforcer.bound is not None:
                self.active = replace(self.active, bound=self.enforcer.bound)
                self.naming.remember(self.active.number, self.active.bound.names, self.active.numbers)
        except NbspdError as error:
            self.degraded("refresh", f"the names in the rules could not be looked up again: {failure_words(error)}")
            return ()
        self.trouble.pop("refresh", None)
        return changes

    # -- guarding ourselves

    def prepare(self, sources: Sequence[Source]) -> Candidate:
        """Return what can be activated here of some texts. Raises RulesError."""
        return prepare(sources, self.enforcer is not None and self.enforcer.can_guard_itself)

    def maintain(self, by: Peer, seconds: float, reason: str) -> None:
        """Let everybody change nbspd itself for a while; 0 seconds end that. Raises ControlError."""
        if not 0 <= seconds <= MAINTAIN_MAX_S:
            raise ControlError(f"cannot keep nbspd open for {seconds:g} s",
                               f"at most {MAINTAIN_MAX_S:.0f} s, for example: nbsp maintain --for 10m --reason ...")
        if self.enforcer is None or self.active is None or itself.rule_of(self.active.plan.rules) is None:
            raise ControlError("nbspd does not guard itself, so there is nothing to open",
                               f"see whether nbsp status shows the rule {itself.RULE!r}")
        was_open = self.enforcer.maintained_s() > 0
        self.enforcer.maintain(seconds)
        if seconds:
            self.note(said("maintenance", f"for {seconds:g} s nbspd may be changed: {reason}", by, self.number))
        elif was_open:
            self.note(said("maintenance", "ended: nbspd guards itself again", by, self.number))

    # -- the change itself

    @paused_collection()
    def activate(self, candidate: Candidate, origin: str, pending: Pending | None = None, held_off: str = "") -> Change:
        """Make a candidate the active generation, or raise NbspdError and leave everything as it was."""
        assert self.enforcer is not None
        enforcer, before = self.enforcer, self.generations.now
        numbers = assign_numbers(before.numbers, (rule.id for rule in candidate.plan.rules), self.kept_rules(),
                                 {number: hits for number, (hits, _) in enforcer.counters().items()})
        bound = enforcer.bind(candidate.plan, numbers)
        if self.is_running(candidate.plan):
            enforcer.adopt(bound, before.last_good)
            self.is_stale = True
            self.naming.remember(before.last_good, bound.names, numbers)
            self.active = Active(before.last_good, candidate.plan, bound, numbers, origin, time.time(), True)
            self.save(replace(before, pending=pending, held_off=held_off))
            return Change(before.last_good, before.last_good, {}, {}, {})
        number = max(enforcer.active_generation(), before.last_good, before.previous) + 1
        pending = pending and replace(pending, generation=number)
        self.naming.remember(number, bound.names, numbers)      # from the flip on the kernel may report it
        is_kept = self.keep(number, candidate, replace(before, numbers=numbers, pending=pending or before.pending))
        try:
            enforcer.apply(bound, number)
        except BaseException:
            if is_kept:
                self.save(replace(before, numbers=numbers))
            raise
        for words in enforcer.unstamped:
            self.note(said("note", words, DAEMON, number))
        old, self.active = self.active, Active(number, candidate.plan, bound, numbers, origin,
                                               time.time())
        self.detached, self.is_stale = None, False
        self.trouble.pop("detach", None)
        if is_kept:
            # with a confirmation to come, the generation before must be there to go back to, even if it is the same
            is_new = before.last_good and not before.pending and (pending or before.digest != candidate.plan.digest)
            confirmed = before.last_good if is_new else before.previous
            self.save(Remembered(number, confirmed, candidate.plan.digest, pending, held_off, numbers))
            self.generations.sweep()
        return difference(old.plan if old else None, candidate.plan, old.number if old else before.last_good, number)

    def keep(self, number: int, candidate: Candidate, remembered: Remembered) -> bool:
        """Write down what must survive a crash in the middle of the flip.

        At start an unwritable state folder is no reason to leave the host open: it is said, and False returned.
        """
        try:
            self.generations.store(number, candidate.sources)
            self.generations.save(remembered)
        except NbspdError as error:
            if self.active is not None:
                raise
            self.degraded("state", failure_words(error))
            return False
        return True

    def is_running(self, plan: Plan) -> bool:
        """Return whether the kernel already enforces exactly this plan, kept up by the pins of an earlier daemon."""
        remembered = self.generations.now
        return (self.active is None and self.enforcer is not None and remembered.last_good != 0
                and self.enforcer.active_generation() == remembered.last_good and remembered.digest == plan.digest)

    def kept_rules(self) -> set[str]:
        """Return the ids of the rules whose numbers must not be given away: the active ones."""
        return {rule.id for rule in self.active.plan.rules} if self.active else set()

    @property
    def number(self) -> int:
        """Return the number of the active generation, 0 for none."""
        return self.active.number if self.active else 0

    def save(self, remembered: Remembered) -> None:
        """Write down what happened already; when that fails it is said, for it cannot be undone."""
        try:
            self.generations.save(remembered)
            self.trouble.pop("state", None)
        except NbspdError as error:
            self.degraded("state", error.cause)

    def degraded(self, subject: str, text: str) -> None:
        """Show and journal that something is not as it should be."""
        self.trouble[subject] = text
        self.note(said("degraded", text, DAEMON, self.number))


def prepare(sources: Sequence[Source], guards_itself: bool) -> Candidate:
    """Return the compiled rule set of some texts, the rule `self` only if it can hold. Raises RulesError."""
    rule_set = parse_sources(sources)
    return Candidate(tuple(sources), compile_rules(rule_set if guards_itself else itself.without(rule_set)))


def held_off_words(settings: Settings) -> str:
    """Return what is said while the rule folder holds what was rolled back."""
    return f"the rules in {settings.rules} were rolled back and are not applied; mend them and run: nbsp reload"
