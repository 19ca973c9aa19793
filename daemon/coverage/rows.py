"""Coverage: what is enforced, observed, absent or open, by rule, resource and channel. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping, Protocol, Sequence

from ..rules.model import Resource, Rule
from ..rules.plan import Plan
from ..rules.pseudo import mount_point
from .channel import NO_FILE_HOOKS, Channel
from .channels import CHANNELS, HOST_CHANNELS, PENDING, TELLING

ENFORCED, OBSERVED, ABSENT, UNCLOSED = "enforced", "observed", "absent", "open"
AUDIT = "mode: audit"
NO_HOOK = "no such hook"     # as the loader says it of a kernel that is older than a hook
TOLD = ("pending: a folder on the way does not exist; nbspd is told when it appears and protects the path a moment "
        "later; to leave no moment, make the folder, then: nbsp reload")
NOT_TOLD = ("pending: a folder on the way does not exist, and {why}: make the folder, then: nbsp reload")
HOST = "*"      # in place of rule and resource: the same for all of them


class Program(Protocol):
    """What is asked of a loaded program."""

    @property
    def hook(self) -> str:
        """Return the name of the hook, as the catalogue of hooks has it."""

    @property
    def attached(self) -> bool:
        """Return whether it decides."""

    @property
    def reason(self) -> str:
        """Return why it does not."""


@dataclass(frozen=True)
class Row:
    """One line of `nbsp coverage`."""

    rule: str
    resource: str
    family: str
    channel: str
    state: str
    reason: str
    words: str

    def to_json(self) -> dict[str, str]:
        """Return the row as a JSON object."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Situation:
    """What tells the rows of one rule from those of another."""

    kinds: frozenset[str]
    access: frozenset[str]
    has_checkpoints: bool
    is_audit: bool


class Coverage:
    """The coverage of one plan by the programs that one kernel took."""

    def __init__(self, tier: str, programs: Iterable[Program], plan: Plan, absent: Mapping[str, str],
                 partial: Mapping[str, str] | None = None, missing: Iterable[str] = ()) -> None:
        """`absent`: channels that this host does not have; `partial`: hooks that see only some processes; with reasons.

        `missing`: declared paths on the way to which a directory does not exist.
        """
        self.partial = partial or {}
        self.missing = frozenset(missing)
        self.tier = tier
        self.programs = {program.hook: program for program in programs}
        self.rules = plan.rules
        self.resources = {resource.name: resource for resource in plan.resources}
        self.absent = absent
        self.answers: dict[Situation, tuple[tuple[Channel, str, str], ...]] = {}

    def rows(self, rule: str | None = None) -> Iterator[Row]:
        """Yield the rows of one rule or all, then those of the host."""
        for each in self.rules:
            if rule in (None, each.id):
                for channel, state, reason in self.judged(each):
                    yield Row(each.id, each.protect, channel.family, channel.id, state, reason, channel.words)
                for path in self.pending(each):
                    yield Row(each.id, each.protect, PENDING.family, PENDING.id, UNCLOSED, self.why_pending(),
                              f"{path}, until its folder exists")
        for channel, state, reason in self.host():
            yield Row(HOST, HOST, channel.family, channel.id, state, reason, channel.words)

    def count(self, rule: str | None = None) -> int:
        """Return how many rows there are."""
        return sum(len(self.judged(each)) + len(self.pending(each)) for each in self.rules
                   if rule in (None, each.id)) + len(self.host())

    def state(self, rule: Rule) -> tuple[str, int]:
        """Return a rule's state in words and its number of open channels; it is `enforced` only with none of them.

        A rule with an open front door is not enforced; with one that some pass by and some do not, partly.
        """
        judged = self.judged(rule)
        count = sum(state == UNCLOSED for _, state, _ in (*judged, *self.host())) + len(self.pending(rule))
        doors = [self.closes(state, reason) for channel, state, reason in judged if channel.is_front_door]
        word = "audit" if rule.mode == "audit" else ENFORCED
        if not any(doors):
            word = f"not {word}"
        elif min(doors) < 2:
            word = f"partly {word}"
        if not count:
            return word, 0
        channels = "channel" if count == 1 else "channels"
        return f"{word}, {count} {channels} open (nbsp coverage --rule {rule.id})", count

    def closes(self, state: str, reason: str) -> int:
        """Return 2 for a closed channel, 1 for one that is closed to some or too late, 0 for an open one."""
        if state == UNCLOSED:
            return int(reason in self.partial.values())
        return 1 if state == OBSERVED and reason != AUDIT else 2

    def judged(self, rule: Rule) -> tuple[tuple[Channel, str, str], ...]:
        """Return every channel that matters for a rule, with its state and the reason."""
        resource = self.resources[rule.protect]
        situation = Situation(kinds_of(resource), access_of(resource), bool(rule.only_through), rule.mode == "audit")
        if situation not in self.answers:
            self.answers[situation] = tuple(self.judge(CHANNELS, situation))
        return self.answers[situation]

    def pending(self, rule: Rule) -> tuple[str, ...]:
        """Return the paths of a rule that cannot be bound yet."""
        return tuple(path for path in paths_of(self.resources[rule.protect]) if path in self.missing) \
            if self.missing else ()

    def why_pending(self) -> str:
        """Return why a path is pending, and what to do."""
        return why_pending(hook for hook, program in self.programs.items() if program.attached)

    def host(self) -> tuple[tuple[Channel, str, str], ...]:
        """Return the channels that are the same for all rules."""
        situation = Situation(frozenset(), frozenset(), True, False)
        if situation not in self.answers:
            self.answers[situation] = tuple(self.judge(HOST_CHANNELS, situation))
        return self.answers[situation]

    def judge(self, channels: Sequence[Channel], situation: Situation) -> Iterator[tuple[Channel, str, str]]:
        """Yield those channels that matter in a situation."""
        for channel in channels:
            if situation.kinds and not channel.kinds & situation.kinds:
                continue
            if situation.access and not channel.access & situation.access:
                continue
            if channel.unless & situation.access:
                continue
            if channel.has_stamps and not situation.has_checkpoints:
                continue
            yield channel, *self.decide(channel, situation.is_audit)

    def decide(self, channel: Channel, is_audit: bool) -> tuple[str, str]:
        """Return the state of a channel and the reason for any but `enforced`."""
        if channel.id in self.absent:
            return ABSENT, self.absent[channel.id]
        hooks = channel.socket if self.tier == "socket" else channel.hooks
        if not hooks:
            return UNCLOSED, channel.reason or NO_FILE_HOOKS
        for hook in hooks:
            trouble = self.trouble(hook)
            if trouble:
                return UNCLOSED, trouble
        if is_audit:
            return OBSERVED, AUDIT
        if self.tier == "socket" and channel.in_socket:
            return channel.in_socket, "tier socket: killed at its first instruction, not refused"
        return ENFORCED, ""

    def trouble(self, hook: str) -> str:
        """Return why a hook does not decide, empty when it does."""
        first, _, other = hook.partition("|")
        program = self.programs.get(first)
        if other and (program is None or NO_HOOK in program.reason):
            return self.trouble(other)
        if program is None:
            return f"no program for {first} was loaded"
        if not program.attached:
            return f"{first} is not attached: {program.reason or 'no reason was given'}"
        return self.partial.get(first, "")


def why_pending(attached: Iterable[str]) -> str:
    """Return why a path whose folder is missing is pending, and what to do; `attached` are the hooks that decide."""
    silent = sorted(set(TELLING).difference(attached))
    if not silent:
        return TOLD
    if len(silent) == len(TELLING):
        return NOT_TOLD.format(why="this tier has no hook that tells nbspd when it appears")
    return NOT_TOLD.format(why=f"nbspd may not be told when it appears, for want of {', '.join(silent)}")


def paths_of(resource: Resource) -> Iterator[str]:
    """Yield every path that a resource declares."""
    yield from (*resource.files, *resource.trees, *resource.exec, *resource.devices)
    yield from (name for name in resource.unix if not name.startswith("@"))


def kinds_of(resource: Resource) -> frozenset[str]:
    """Return the kinds of target that a resource has."""
    found = {"pseudo": [path for path in (*resource.files, *resource.trees) if mount_point(path)],
             "file": resource.files, "tree": resource.trees, "exec": resource.exec, "device": resource.devices,
             "tcp": resource.tcp, "udp": resource.udp,
             "unix": [name for name in resource.unix if not name.startswith("@")],
             "abstract": [name for name in resource.unix if name.startswith("@")]}
    return frozenset(kind for kind, targets in found.items() if targets)


def access_of(resource: Resource) -> frozenset[str]:
    """Return what the rules on a resource forbid; a program in `exec` is protected from both."""
    return resource.access | {"read", "write"} if resource.exec else resource.access
