"""Block devices that stand on protected files: reading the device reads the file, and nobody asks about that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

from ..kernel.mounts import kernel_dev
from .finding import Finding, Holder, Kind
from .holdings import Searcher, showing
from .places import Table

BLOCK_DEVICES = Path("/sys/block")


def loop_findings(searcher: Searcher, table: Table, folder: Path = BLOCK_DEVICES) -> Iterator[Finding]:
    """Yield the loop devices over protected files that are not declared themselves; `table` are our own mounts."""
    for file in sorted(folder.glob("loop*/loop/backing_file")):
        try:
            path = os.fsdecode(file.read_bytes()).removesuffix("\n")
            major, _, minor = (file.parents[1] / "dev").read_text().strip().partition(":")
        except OSError:
            continue        # detached in this moment
        found = searcher.find((), path, *showing(None, path, table))
        if found is None or kernel_dev(os.makedev(int(major), int(minor))) in searcher.places.devices:
            continue
        protected, demands = found
        rules = searcher.places.known.unmet(demands, 0xFF, ())
        device = f"/dev/{file.parents[1].name}"
        words = f"{device} stands on {path}: whoever reads the device reads the file"
        yield Finding(
            Kind.LOOP, Holder(), words, path=path, access="read+write",
            resource=", ".join(dict.fromkeys(rule.resource for rule in rules)), rules=tuple(rule.id for rule in rules),
            only_through=tuple(dict.fromkeys(name for rule in rules for name in rule.only_through)),
            remedy=f"losetup -d {device}, or declare it under devices, beside {protected.path}")
