"""Load the programs of a tier, attach and pin them; over tables that former programs use, take over from them.

First everything is loaded, so that a program which the kernel refuses is known before anything is touched. Then what
has no predecessor is attached, what denies last; then the links of cgroups that former programs left are given the new
ones, each without an event that both or neither judge (kernel/cgroup/cgroup.c, replace_effective_prog). Links of raw
tracepoints and of LSM hooks cannot be given another program: old and new stand side by side until the old pins go.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..kernel import bpf, bpf_load
from . import catalogue
from .catalogue import Hook
from .compiled import Programs, relocate

# program type and expected attach type in each tier
TRAMPOLINES = {"lsm": (catalogue.PROG_LSM, bpf_load.BPF_LSM_MAC),
               "fmod_ret": (catalogue.PROG_TRACING, bpf_load.BPF_MODIFY_RETURN)}
# of cgroup programs that are not asked about an address
CGROUP_TYPES = {catalogue.CGROUP_INET_INGRESS: catalogue.PROG_CGROUP_SKB,
                catalogue.CGROUP_INET_EGRESS: catalogue.PROG_CGROUP_SKB,
                catalogue.CGROUP_SETSOCKOPT: catalogue.PROG_CGROUP_SOCKOPT}
NO_HOOK = "this kernel has no such hook"


@dataclass(frozen=True)
class Row:
    """What became of one hook."""

    name: str
    is_attached: bool
    reason: str


@dataclass(frozen=True)
class Place:
    """Where programs go: folders of pins, and the cgroup; `former` has the links of programs over the same tables."""

    maps: Path
    links: Path
    cgroup: Path
    former: Path | None = None


class Set:
    """The programs of one tier on their way into the kernel; use it in a `with` statement."""

    def __init__(self, tier: str, programs: Programs, place: Place) -> None:
        self.tier, self.programs, self.place = tier, programs, place
        self.loaded: dict[str, int] = {}        # hook -> descriptor
        self.refused: dict[str, str] = {}       # hook -> reason
        self._maps: dict[str, int] = {}
        self._predecessors: dict[str, int] = {}         # hook -> link
        self._swapped: list[tuple[int, int]] = []       # link, the program it had
        self._held: list[int] = []

    def __enter__(self) -> "Set":
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (*self.loaded.values(), *self._maps.values(), *self._held):
            os.close(fd)

    # -- loading

    def load(self) -> None:
        """Let the verifier see every program; nothing is attached yet. Raises OSError when the tables are gone.

        Root's programs are verified side by side (bpf_check in kernel/bpf/verifier.c takes its lock for others only).
        """
        hooks = catalogue.hooks_of(self.tier)
        codes = {hook.name: relocate(self.programs[hook.program(self.tier)], self._map) for hook in hooks
                 if hook.program(self.tier) in self.programs}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            loading = {hook.name: pool.submit(self._load, hook, codes[hook.name]) for hook in hooks
                       if hook.name in codes}
        for hook in hooks:
            try:
                if hook.name in loading:
                    self.loaded[hook.name] = loading[hook.name].result()
                else:
                    self.refused[hook.name] = NO_HOOK
            except bpf_load.Refused as error:
                self.refused[hook.name] = refusal(error.strerror or str(error), error.log)

    def _load(self, hook: Hook, code: bytes) -> int:
        kind, expected = types(hook, self.tier)
        target = self.programs[hook.program(self.tier)].target
        return bpf_load.prog_load(kind, code, f"nbsp_{hook.name}", expected, target)

    def _map(self, name: str) -> int:
        if name not in self._maps:
            self._maps[name] = bpf.obj_get(self.place.maps / name)
        return self._maps[name]

    def remembering(self) -> Programs:
        """Return the programs with what the kernel said to each."""
        took = {hook.program(self.tier): hook.name in self.loaded for hook in catalogue.hooks_of(self.tier)}
        return {name: replace(one, is_taken=took[name]) for name, one in self.programs.items()}

    def changed_its_mind(self) -> str:
        """Return why the kernel refuses a program now that it took when it was new, or ""."""
        for hook in catalogue.hooks_of(self.tier):
            program = self.programs.get(hook.program(self.tier))
            if program is not None and program.is_taken and hook.name in self.refused:
                return f"{hook.name}: {self.refused[hook.name]}"
        return ""

    # -- attaching

    def attach(self) -> tuple[list[Row], str]:
        """Attach and pin what was loaded; return a row for each hook, and why the tier is no good, or "".

        In that case no link has a new program any more, but pins may be there.
        """
        hooks = catalogue.hooks_of(self.tier)
        for hook in hooks:
            self._find_predecessor(hook)
        rows: dict[str, Row] = {}
        for hook in sorted(hooks, key=lambda one: one.name in self._predecessors):
            rows[hook.name] = row = self._attach(hook, self._predecessors.get(hook.name))
            if not row.is_attached and hook.is_required:
                for link, before in self._swapped:
                    bpf_load.link_update(link, before)
                return [], f"the kernel refused {hook.name}: {row.reason}"
        return [rows[hook.name] for hook in hooks], ""

    def _attach(self, hook: Hook, predecessor: int | None) -> Row:
        if hook.name in self.refused:
            return Row(hook.name, False, self.refused[hook.name])
        try:
            if predecessor is None or not self._swap(hook, predecessor):
                self._create(hook)
        except OSError as error:
            return Row(hook.name, False, f"attaching: {error.strerror}")
        return Row(hook.name, True, "")

    def _create(self, hook: Hook) -> None:
        program, pin = self.loaded[hook.name], self.place.links / hook.name
        if hook.kind in ("interface", "resolver"):      # the daemon attaches these itself
            bpf.obj_pin(program, pin)
            return
        if hook.kind == "cgroup":
            folder = os.open(self.place.cgroup, os.O_RDONLY | os.O_DIRECTORY)
            try:
                link = bpf_load.link_create(program, folder, hook.attach_type)
            finally:
                os.close(folder)
        else:
            link = bpf_load.raw_tracepoint_open(program, hook.name if hook.kind == "tracepoint" else "")
        try:
            bpf.obj_pin(link, pin)
        finally:
            os.close(link)

    # -- taking over

    def _find_predecessor(self, hook: Hook) -> None:
        """Look for the link that former programs over these tables have at the same hook of the same cgroup."""
        if self.place.former is None or hook.kind != "cgroup" or hook.name in self.refused:
            return
        try:
            link = self._hold(bpf.obj_get(self.place.former / hook.name))
            info = bpf.link_info(link)
        except OSError:
            return
        if (info.cgroup_id, info.attach_type) == (os.stat(self.place.cgroup).st_ino, hook.attach_type):
            self._predecessors[hook.name] = link

    def _swap(self, hook: Hook, link: int) -> bool:
        """Give a link our program and a second pin; where that cannot be done, all is as it was."""
        pin = self.place.links / hook.name
        try:
            before = self._hold(bpf.prog_fd_by_id(bpf.link_info(link).prog_id))
            bpf.obj_pin(link, pin)
            bpf_load.link_update(link, self.loaded[hook.name])
        except OSError:
            pin.unlink(missing_ok=True)
            return False
        self._swapped.append((link, before))
        return True

    def _hold(self, fd: int) -> int:
        self._held.append(fd)
        return fd


def types(hook: Hook, tier: str) -> tuple[int, int]:
    """Return the type of a hook's program and the attach type that its loading wants."""
    if hook.kind in ("lsm", "resolver", "function"):
        return TRAMPOLINES["fmod_ret" if hook.kind == "function" else tier]
    if hook.kind == "cgroup":
        return CGROUP_TYPES.get(hook.attach_type, catalogue.PROG_CGROUP_SOCK_ADDR), hook.attach_type
    return (catalogue.PROG_RAW_TRACEPOINT if hook.kind == "tracepoint" else catalogue.PROG_SCHED_CLS), 0


def refusal(message: str, log: str) -> str:
    """Return one line of why the kernel did not take a program."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line for line in lines if not re.match(r"(\d+: |;|R\d+=|processed |from \d+)", line)]
    return f"{message} ({told[-1]})" if told else message
