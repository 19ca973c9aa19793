"""A hit in words: everything the journal says about it."""

from __future__ import annotations

import re
from typing import Any, Callable, Generic, Mapping, Protocol, Sequence, TypeVar

from .. import abi
from ..kernel.process import ProcessFacts
from ..rules.reserved import RESERVED
from .decode import Hit
from .host import Host
from .objects import object_words

R = TypeVar("R")

VERDICTS = {int(code): code.name.lower() for code in abi.VerdictCode}
CHANNELS = {int(channel): channel.name.lower() for channel in abi.Channel}
ACTIONS = {access: "+".join(word for bit, word in enumerate(("read", "write", "execute", "connect", "move", "control"))
                            if access >> bit & 1) for access in range(64)}      # by abi.Access
UNDECIDED = "(undecided)"
UNDECIDED_REASON = ("nbspd could not find the policy of a protected object (a deeper path than it walks, or damaged "
                    "tables) and refused to be safe")
ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
TICK_NS = 10_000_000


class RuleWords(Protocol):
    """What describe needs of a rule."""

    @property
    def id(self) -> str: ...                            # noqa: E704

    @property
    def protect(self) -> str: ...                       # noqa: E704

    @property
    def only_through(self) -> tuple[str, ...]: ...      # noqa: E704

    @property
    def owner(self) -> str: ...                         # noqa: E704

    @property
    def reason(self) -> str: ...                        # noqa: E704


class Names(Protocol):
    """What turns the kernel's numbers back into the rules' words."""

    @property
    def rules(self) -> Mapping[int, RuleWords]: ...                     # noqa: E704

    @property
    def stamps(self) -> Mapping[int, str]: ...                          # noqa: E704

    @property
    def objects(self) -> Mapping[tuple[int, int, int], str]: ...        # noqa: E704


class Describer(Generic[R]):
    """Turns hits into records made by `make`, the journal's Record.

    Set `names` anew after each reload: a hit of an older generation is described with what is known of it, so keep
    the rule numbers of the generation before among them.
    """

    def __init__(self, make: Callable[..., R], names: Names, host: Host | None = None) -> None:
        self._make = make
        self.names = names
        self._host = host or Host()

    def describe(self, hit: Hit, is_brief: bool = False) -> R:
        """Return the record of a hit; `is_brief` leaves out what has to be looked up in /proc (in a flood)."""
        facts = None if is_brief else self._host.process(hit.tgid, hit.start_ticks)
        wall_ns = self._host.wall_minus_boot_ns()
        return self._make(
            kind="violation", time_ns=hit.time_ns + wall_ns, boot_ns=hit.time_ns, generation=hit.generation,
            verdict=VERDICTS.get(hit.verdict, f"verdict {hit.verdict}"),
            action=ACTIONS.get(hit.access, f"access {hit.access}"),
            channel=CHANNELS.get(hit.channel, f"channel {hit.channel}"),
            object=object_words(hit, self.names.objects, self._host),
            stamps=tuple(self.names.stamps.get(bit, f"stamp {bit}") for bit in hit.stamps),
            **self._rule(hit), **self._subject(hit, facts, wall_ns), **self._origin(hit, facts, is_brief))

    def describe_all(self, hits: Sequence[Hit], detailed: int = 64) -> list[R]:
        """Return the records of a batch; only the first `detailed` are looked up in /proc, so that time is bounded."""
        return [self.describe(hit, index >= detailed) for index, hit in enumerate(hits)]

    def _rule(self, hit: Hit) -> dict[str, Any]:
        rule = self.names.rules.get(hit.rule)
        if rule is not None:
            return {"rule": rule.id, "rule_number": hit.rule, "resource": rule.protect, "missing": rule.only_through,
                    "owner": rule.owner, "reason": rule.reason}
        if hit.rule in RESERVED:
            own = RESERVED[hit.rule]
            return {"rule": own.id, "rule_number": hit.rule, "resource": own.protect, "missing": own.only_through,
                    "owner": own.owner, "reason": own.reason}
        if hit.rule == 0:
            return {"rule": UNDECIDED, "rule_number": 0, "reason": UNDECIDED_REASON}
        return {"rule": f"rule number {hit.rule}", "rule_number": hit.rule,
                "reason": "the rule is of an earlier generation and no longer known by name"}

    def _subject(self, hit: Hit, facts: ProcessFacts | None, wall_ns: int) -> dict[str, Any]:
        is_same_program = facts is not None and facts.exe_ino == hit.exe[1]
        exe = facts.exe if facts is not None and is_same_program else ""
        argv = facts.cmdline if facts is not None and is_same_program else _claimed(hit.argv)
        return {"uid": hit.uid, "user": self._host.user(hit.uid), "euid": hit.euid, "euser": self._host.user(hit.euid),
                "gid": hit.gid, "login_uid": hit.login_uid, "session": hit.session, "pid": hit.tgid, "tid": hit.tid,
                "login": self._host.user(hit.login_uid) if hit.login_uid >= 0 else "",
                "start_ticks": hit.start_ticks, "started_ns": hit.start_ticks * TICK_NS + wall_ns,
                "exe": _shown(exe) or hit.exe_name, "comm": hit.comm, "argv": tuple(map(_shown, argv))}

    def _origin(self, hit: Hit, facts: ProcessFacts | None, is_brief: bool) -> dict[str, Any]:
        cgroup = self._host.cgroup(hit.cgroup) or (facts.cgroup if facts is not None else "")
        unit = unit_of(cgroup)
        return {"cgroup": cgroup, "unit": unit, "operator": self._operator(hit, unit), "ancestry": tuple(
            (step.tgid, step.comm, step.uid,
             "" if is_brief else _shown(self._host.exe(step.tgid, step.start_ticks, step.comm)))
            for step in hit.ancestors)}

    def _operator(self, hit: Hit, unit: str) -> str:
        """Name who is at the root of it: the one who logged in, else the service, else the user."""
        if hit.login_uid >= 0:
            login = self._host.user(hit.login_uid) or f"uid {hit.login_uid}"
            return f"{login}, session {hit.session}" if hit.session >= 0 else login
        return unit or self._host.user(hit.uid) or f"uid {hit.uid}"


def unit_of(cgroup: str) -> str:
    """Return the systemd unit that a cgroup belongs to: its innermost service or scope, "" for none."""
    units = [part for part in cgroup.split("/") if part.endswith((".service", ".scope"))]
    return units[-1] if units else ""


def _claimed(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the kernel's glimpse of the arguments without the environment that lies behind them in memory.

    Secrets live there. An argument that looks like an assignment ends the list too: rather too short than too much.
    """
    end = next((index for index, word in enumerate(argv) if index and ENVIRONMENT.match(word)), len(argv))
    return argv[:end]


def _shown(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
