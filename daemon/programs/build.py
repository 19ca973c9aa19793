"""The short-lived child that compiles, loads, attaches and pins: the only file that imports bcc.

    python3 -m nbspd.programs.build < order.json > report.json

bcc keeps LLVM mapped and says what went wrong on descriptor 2, so it lives in a process of its own: the daemon never
maps LLVM, and the messages are read from the file that the parent made descriptor 2. A link stays attached when this
process ends, because it is pinned.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..kernel import bpf, bpf_load, features, layout
from ..kernel.btf import Btf
from . import catalogue, source

LINES_KEPT = 12


TIERS = {"auto": ("lsm", "fmod_ret", "socket"), "lsm": ("lsm",), "fmod_ret": ("fmod_ret",), "socket": ("socket",)}


@dataclass(frozen=True)
class Order:
    """What to build: the tier that was asked for (or auto), and folders as text."""

    tier: str
    sources: str
    maps: str
    links: str
    cgroup: str


class Captured:
    """Reads what C code wrote to descriptor 2, which the parent has made a file.

    A file and not a pipe: LLVM ends the process on some errors, and then the parent reads what it said.
    """

    def __enter__(self) -> "Captured":
        self._start = os.fstat(2).st_size
        self.text = ""
        return self

    def __exit__(self, *_: object) -> None:
        size = os.fstat(2).st_size - self._start
        self.text = os.pread(2, size, self._start).decode(errors="replace") if stat.S_ISREG(os.fstat(2).st_mode) else ""


def main() -> int:
    """Read the order, build, print the report as JSON."""
    report = build(Order(**json.load(sys.stdin)))
    json.dump(report, sys.stdout)
    return 0


def build(order: Order) -> dict[str, Any]:
    """Load the best tier that this kernel takes; the report holds tier, error (or "") and a row for each hook."""
    tried = []
    btf = Btf.vmlinux()
    sources = source.read_sources(Path(order.sources))
    for tier in TIERS[order.tier]:
        refused = why_not(tier)
        if refused:
            tried.append(f"{tier}: {refused}")
            continue
        with tempfile.TemporaryDirectory(prefix="nbspd-") as include:
            layout.write_include(Path(include), btf, [(hook.name, hook.btf_function(tier)) for hook in catalogue.HOOKS
                                                      if hook.security_function])
            report = build_tier(order, tier, source.join(sources, tier, Path(order.maps)), include)
        if not report["error"]:
            return {**report, "tried": tried}
        tried.append(f"{tier}: {report['error']}")
        for pin in Path(order.links).iterdir():
            pin.unlink()
    return {"tier": "", "error": "; ".join(tried), "programs": [], "tried": tried}


def why_not(tier: str) -> str:
    """Return why a tier is out of the question on this kernel, "" when it is worth trying."""
    if tier == "socket":
        return ""
    lsms = features.active_lsms()
    if tier == "lsm" and lsms is not None and "bpf" not in lsms:
        return "bpf is not among the active LSMs; boot with lsm=...,bpf"
    found = features.probe("lsm_program" if tier == "lsm" else "fmod_ret_program")
    return "" if found.state != "no" else found.reason


def build_tier(order: Order, tier: str, text: str, include: str) -> dict[str, Any]:
    """Compile and attach the programs of a tier."""
    os.environ["BCC_KERNEL_SOURCE"] = include
    from bcc import BPF

    class Quiet(BPF):  # type: ignore[misc]
        """bcc attaches lsm__ and raw_tracepoint__ functions in its constructor; we choose the order."""

        def _trace_autoload(self) -> None:
            return

    captured = Captured()
    try:
        with captured:
            module = Quiet(text=text, cflags=["-g0", "-Wno-unused-value", f"-I{include}/include"])
    except Exception as error:      # bcc raises bare Exception
        return {"tier": tier, "error": f"{error}: {first_errors(captured.text)}", "programs": []}
    rows = []
    for hook in catalogue.hooks_of(tier):
        row = attach(module, hook, order, tier)
        rows.append(asdict(row))
        if not row.is_attached and hook.is_required:
            return {"tier": tier, "error": f"the kernel refused {hook.name}: {row.reason}", "programs": rows}
    return {"tier": tier, "error": "", "programs": rows}


@dataclass(frozen=True)
class Row:
    """What became of one hook."""

    name: str
    is_attached: bool
    reason: str


def attach(module: Any, hook: catalogue.Hook, order: Order, tier: str) -> Row:
    """Load one program, attach it and pin it; a refusal is a row, never an exception."""
    program_type = {"lsm": catalogue.PROG_LSM if tier == "lsm" else catalogue.PROG_TRACING,
                    "resolver": catalogue.PROG_LSM if tier == "lsm" else catalogue.PROG_TRACING,
                    "tracepoint": catalogue.PROG_RAW_TRACEPOINT, "interface": catalogue.PROG_SCHED_CLS,
                    "cgroup": catalogue.PROG_CGROUP_SKB if hook.attach_type == catalogue.CGROUP_INET_EGRESS
                    else catalogue.PROG_CGROUP_SOCK_ADDR}[hook.kind]
    captured = Captured()
    try:
        with captured:
            function = module.load_func(hook.program(tier), program_type,
                                        attach_type=hook.attach_type if hook.kind == "cgroup" else -1)
    except Exception as error:      # bcc raises bare Exception
        return Row(hook.name, False, refusal(str(error), captured.text))
    pin = Path(order.links, hook.name)
    try:
        if hook.kind in ("interface", "resolver"):      # the daemon attaches these itself
            bpf.obj_pin(function.fd, pin)
        elif hook.kind == "cgroup":
            folder = os.open(order.cgroup, os.O_RDONLY | os.O_DIRECTORY)
            try:
                bpf.obj_pin(bpf_load.link_create(function.fd, folder, hook.attach_type), pin)
            finally:
                os.close(folder)
        else:
            bpf.obj_pin(bpf_load.raw_tracepoint_open(function.fd, hook.name if hook.kind == "tracepoint" else ""), pin)
    except OSError as error:
        return Row(hook.name, False, f"attaching: {error.strerror}")
    return Row(hook.name, True, "")


def refusal(message: str, log: str) -> str:
    """Return one line of why the kernel did not take a program."""
    if "not found" in message.lower() or "Unknown program" in message:
        return "this kernel has no such hook"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line for line in lines if not re.match(r"(\d+: |;|R\d+=|processed |from \d+)", line)]
    reason = message.rpartition(": ")[2]
    return f"{reason} ({told[-1]})" if told else reason


def first_errors(text: str) -> str:
    """Return the first compiler errors, enough to act on."""
    lines = [line for line in text.splitlines() if "error" in line] or text.splitlines()
    return "; ".join(lines[:LINES_KEPT])


if __name__ == "__main__":
    sys.exit(main())
