"""The short-lived child that loads the programs, and compiles them first unless that was done: the only file with bcc.

    python3 -m nbspd.programs.build < order.json > report.json

bcc keeps LLVM mapped and says what went wrong on descriptor 2, so it lives in a process of its own: the daemon never
maps LLVM, and the messages are read from the file that the parent made descriptor 2. A link stays attached when this
process ends, because it is pinned. bcc only compiles; what it made is loaded as what is read from the disk is.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import HostError
from ..kernel import btf, features, layout
from . import catalogue, compiled, source
from .attach import Place, Set
from .tables import TABLES

LINES_KEPT = 12
FLAGS = ("-g0", "-Wno-unused-value")
TIERS = {"auto": ("lsm", "fmod_ret", "socket"), "lsm": ("lsm",), "fmod_ret": ("fmod_ret",), "socket": ("socket",)}
COMPILED, CACHED = "compiled", "from the cache"


@dataclass(frozen=True)
class Order:
    """What to build: the tier that was asked for (or auto), and folders as text; `former` may be ""."""

    tier: str
    sources: str
    compiled: str
    maps: str
    links: str
    former: str
    cgroup: str

    def place(self) -> Place:
        """Return where the programs go."""
        return Place(Path(self.maps), Path(self.links), Path(self.cgroup), Path(self.former) if self.former else None)


class Failed(Exception):
    """A tier cannot be had; the argument says why."""


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
    report = Build(Order(**json.load(sys.stdin))).report()
    json.dump(report, sys.stdout)
    return 0


class Build:
    """Loads the best tier that this kernel takes."""

    def __init__(self, order: Order, kernel: source.Kernel | None = None, types: bytes | None = None) -> None:
        """Build for the running kernel; another one, with its BTF, can only be compiled for."""
        self.order = order
        self.folder = Path(order.compiled)
        self.sources = source.read_sources(Path(order.sources))
        self.kernel = kernel or source.Kernel.running()
        self.btf = types or btf.VMLINUX.read_bytes()
        self.notes: list[str] = []      # what went wrong and was survived, for people

    @cached_property
    def types(self) -> btf.Btf:
        """The kernel's types; what was compiled before needs none of them. Raises BtfError."""
        return btf.Btf(self.btf, self.kernel.release)

    def report(self) -> dict[str, Any]:
        """Try tier after tier; the report has tier, error (or ""), origin, notes and a row for each hook."""
        tried = []
        for tier in TIERS[self.order.tier]:
            try:
                origin, rows = self.tier(tier)
            except (Failed, HostError) as error:
                tried.append(f"{tier}: {error}")
                for pin in Path(self.order.links).iterdir():
                    pin.unlink()
                continue
            return {"tier": tier, "error": "", "programs": rows, "tried": tried, "origin": origin, "notes": self.notes}
        return {"tier": "", "error": "; ".join(tried), "programs": [], "tried": tried, "origin": "",
                "notes": self.notes}

    def tier(self, tier: str) -> tuple[str, list[dict[str, Any]]]:
        """Load a tier; return where its programs came from, and the rows. Raises Failed, HostError."""
        if tier == "lsm":
            require_lsm()       # asked each time: without it such programs load, attach, and are never called
        digest = self.digest(tier)
        programs = self.kept(digest)
        if programs is not None:
            with Set(tier, programs, self.order.place()) as known:
                known.load()
                refused = known.changed_its_mind()
                if not refused:
                    return CACHED, self.attach(known)
            self.notes.append(f"the kernel refused a program that it took before, compiling anew: {refused}")
        require_programs(tier, self.types)
        with Set(tier, self.compile(tier), self.order.place()) as fresh:
            fresh.load()
            for hook in catalogue.hooks_of(tier):
                if hook.is_required and hook.name in fresh.refused:
                    raise Failed(f"the kernel refused {hook.name}: {fresh.refused[hook.name]}")
            self.keep(digest, fresh.remembering())
            return COMPILED, self.attach(fresh)

    def attach(self, programs: Set) -> list[dict[str, Any]]:
        """Attach what was loaded and let the former programs over the same tables go. Raises Failed."""
        rows, error = programs.attach()
        if error:
            raise Failed(error)
        if programs.place.former is not None:
            try:
                for pin in programs.place.former.iterdir():
                    pin.unlink()
                programs.place.former.rmdir()
            except OSError as problem:
                self.notes.append(f"former programs stay beside the new ones for now: {problem}")
        return [asdict(row) for row in rows]

    # -- what is kept on disk

    def kept(self, digest: str) -> compiled.Programs | None:
        """Return what was compiled before; what is there and cannot be trusted is thrown away."""
        try:
            return compiled.read(self.folder, digest)
        except (compiled.Distrusted, OSError) as error:
            self.notes.append(f"{self.folder / digest} is thrown away, compiling anew: {error}")
        try:
            compiled.throw_away(self.folder, digest)
        except OSError as error:
            self.notes.append(f"{self.folder / digest} cannot be removed, ignoring: {error.strerror}")
        return None

    def keep(self, digest: str, programs: compiled.Programs) -> None:
        """Keep what was compiled; without it the next start compiles again."""
        try:
            compiled.write(self.folder, digest, programs)
        except (compiled.Distrusted, OSError) as error:
            self.notes.append(f"compiled programs cannot be kept in {self.folder}, ignoring: {error}")

    # -- compiling

    def digest(self, tier: str) -> str:
        """Return the name under which the compiled programs of a tier are kept."""
        return source.compile_digest(self.sources, tier, self.btf, self.kernel)

    def compile(self, tier: str) -> compiled.Programs:
        """Return the programs of a tier as bcc makes them. Raises Failed, HostError."""
        hooks = [(hook.name, hook.btf_function(tier)) for hook in catalogue.HOOKS if hook.security_function]
        with tempfile.TemporaryDirectory(prefix="nbspd-") as include:
            layout.write_include(Path(include), self.types, hooks)
            code = translate(source.join(self.sources, tier, Path(self.order.maps)), include,
                             [hook.program(tier) for hook in catalogue.hooks_of(tier)])
        found = {}
        for hook in catalogue.hooks_of(tier):
            has_target = hook.kind in ("lsm", "resolver", "function")
            target = self.types.function_id(hook.btf_function(tier)) if has_target else 0
            if hook.program(tier) in code and target is not None:
                text, names = code[hook.program(tier)]
                try:
                    found[hook.program(tier)] = compiled.extract(text, names, target)
                except ValueError as error:
                    raise Failed(f"{hook.name}: {error}") from error
        return found


def require_lsm() -> None:
    """Raise Failed when this boot has no bpf LSM; not knowing is no reason."""
    lsms = features.active_lsms()
    if lsms is not None and "bpf" not in lsms:
        raise Failed("bpf is not among the active LSMs; boot with lsm=...,bpf")


def require_programs(tier: str, types: btf.Btf) -> None:
    """Raise Failed when this kernel takes no program of the tier's type, before LLVM is troubled."""
    if tier in features.TRAMPOLINES:
        state, reason, _ = features.try_program(tier, types)
        if state == features.NO:
            raise Failed(reason)


def translate(text: str, include: str, functions: list[str]) -> dict[str, tuple[bytes, dict[int, str]]]:
    """Return each function's code, with descriptors of tables in it, and the names of these descriptors; raises Failed.

    A function that the text does not have on this kernel is left out.
    """
    os.environ["BCC_KERNEL_SOURCE"] = include
    from bcc import BPF, lib

    class Quiet(BPF):  # type: ignore[misc]
        """bcc attaches lsm__ and raw_tracepoint__ functions in its constructor; it is not asked to."""

        def _trace_autoload(self) -> None:
            return

    captured = Captured()
    try:
        with captured:
            module = Quiet(text=text, cflags=[*FLAGS, f"-I{include}/include"])
    except Exception as error:      # bcc raises bare Exception
        raise Failed(f"{error}: {first_errors(captured.text)}") from error
    try:
        tables = {lib.bpf_table_fd(module.module, name.encode()): name for name in TABLES}
        there = {lib.bpf_function_name(module.module, index).decode()
                 for index in range(lib.bpf_num_functions(module.module))}
        return {name: (module.dump_func(name), tables) for name in functions if name in there}
    finally:
        module.cleanup()


def first_errors(text: str) -> str:
    """Return the first compiler errors, enough to act on."""
    lines = [line for line in text.splitlines() if "error" in line] or text.splitlines()
    return "; ".join(lines[:LINES_KEPT])


if __name__ == "__main__":
    sys.exit(main())
