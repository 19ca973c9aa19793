"""What one attempt is tried on, the daemon as a target, and the rules that protect it all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Mapping, Sequence

GUARDED = ("127.0.0.1", "[::1]", "[fd77:7::1]", "[fd77:8::1]")      # the last two: of the drill's tunnel and card

REASON = "a drill, which removes this file when it ends"
Facts = tuple[int, ...]


@dataclass(frozen=True)
class Monitor:
    """The daemon as a target: its process, pins and files. Without a daemon, stand-ins."""

    pid: int
    pins: Path
    bpffs: Path
    rules: Path
    rule: Path
    journal: Path
    state: Path
    code: Path
    unit: Path
    group: Path

    def words(self) -> dict[str, str]:
        """Return them as words for commands."""
        return {"monitor": str(self.pid), **{name: str(getattr(self, name)) for name in (
            "pins", "bpffs", "rules", "rule", "journal", "state", "code", "unit", "group")}}


@dataclass(frozen=True)
class Stage:
    """What one attempt is tried on."""

    words: tuple[str, ...]
    secret: bytes
    token: str
    folder: Path
    is_guarded: bool
    files: tuple[str, ...] = ()         # what of it the rules protect
    trees: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    checkpoint: str = ""
    before: Mapping[Path, Facts] = field(default_factory=dict)
    holders: frozenset[Path] = frozenset()      # directories of the targets, which are none themselves
    knobs: tuple[str, ...] = ()         # protected from writing alone

    def is_changed(self) -> bool:
        """Return whether something watched is not as it was, by attributes only: asking for these is never denied."""
        return any(self.facts(path) != known for path, known in self.before.items())

    def facts(self, path: Path) -> Facts:
        """Return what is watched of a path."""
        return facts(path, path in self.holders)

    def begin(self) -> "Stage":
        """Return the stage as it is now: what an attempt did before the rules came is no proof of anything."""
        return replace(self, before={path: self.facts(path) for path in self.before})


def facts(path: Path, is_holder: bool = False) -> Facts:
    """Return what changes with any change of a file, a directory's entries or their attributes.

    Of a holder only what tells that it is still itself with the same names in it: its attributes are nobody's secret,
    and mounting an overlay with it as a layer changes them.
    """
    try:
        status = path.lstat()
    except OSError as error:
        return (-(error.errno or 1),)
    kept = (status.st_dev, status.st_ino, status.st_mode, status.st_nlink, status.st_uid, status.st_gid, status.st_size,
            status.st_mtime_ns)
    return kept if is_holder else (*kept, status.st_ctime_ns)


def rule_text(stages: Sequence[Stage], words: Mapping[str, str]) -> str:
    """Return the rules that protect everything of these stages; JSON is YAML."""
    own = {f"drill-own-{number}": {"exe": stage.checkpoint} for number, stage in
           enumerate((stage for stage in stages if stage.checkpoint), 1)}
    checkpoints = {"drill-checkpoint": {"exe": words["checkpoint"]},
                   "drill-bastion": {"exe": words["bastion"], "stamp": "children"}, **own}
    resources = {
        "drill-files": {"files": [path for stage in stages for path in stage.files],
                        "trees": [path for stage in stages for path in stage.trees],
                        "exec": [path for stage in stages for path in stage.programs],
                        "unix": [*(path for stage in stages for path in stage.sockets), words["abstract"],
                                 words["abstract_dgram"]]},
        "drill-endpoints": {over: [f"{address}:{words[over]}" for address in GUARDED] for over in ("tcp", "udp")}}
    if knobs := sorted({path for stage in stages for path in stage.knobs}):
        resources["drill-knobs"] = {"files": knobs, "access": ["write"]}
    kept = {name: {key: value for key, value in resource.items() if value} for name, resource in resources.items()}
    rules = [{"id": name, "protect": name, "only-through": sorted(checkpoints), "owner": "nbsp drill",
              "reason": REASON} for name in kept]
    return json.dumps({"version": 1, "checkpoints": checkpoints, "resources": kept, "rules": rules}, indent=1)
