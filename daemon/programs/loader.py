"""Have the programs in the kernel: those that are pinned already, or new ones from a child that compiles if it must.

    <pins>/maps-<digest>/     the tables; programs whose tables look alike share them
    <pins>/links-<digest>-N/  attached programs, one pin each; a new set is attached before the old one is removed
    <state>/compiled/         machine code that was compiled before, see compiled.py
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import HostError, LoadError
from ..kernel import features, mounts
from ..paths import Settings, bpf_sources
from . import compiled, source, tables
from .child import spawn

BUILD_TIMEOUT_S = 600.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STDERR_KEPT = 2000
ADOPTED = "adopted"
NEEDED = ("kernel", "root", "btf", "lockdown", "bcc")       # without one of these there is nothing to try


@dataclass(frozen=True)
class ProgramState:
    """What became of one program."""

    name: str
    hook: str
    attached: bool
    reason: str


@dataclass(frozen=True)
class LoadReport:
    """What is in the kernel and how it came there: compiled, from the cache (of compiled programs), or adopted."""

    tier: str
    origin: str
    seconds: float
    digest: str
    programs: tuple[ProgramState, ...]
    tried: tuple[str, ...] = ()     # better tiers, each with the reason why not
    notes: tuple[str, ...] = ()     # what went wrong on the way and was survived

    @property
    def adopted(self) -> bool:
        """Return whether the programs of a daemon before go on."""
        return self.origin == ADOPTED

    @property
    def words(self) -> str:
        """Return the origin and the time for people."""
        return f"{self.origin} in {self.seconds:.1f} s"


@dataclass(frozen=True)
class Loaded:
    """The report, and the folders of the pins."""

    report: LoadReport
    maps: Path
    links: Path


def load(settings: Settings, cgroup: Path) -> Loaded:
    """Adopt the pinned programs when they are exactly what would be loaded, else load new ones beside them.

    Raises HostError, LoadError.
    """
    begin = time.monotonic()
    if not mounts.bpffs_ready(settings.pins, mount=True):
        raise HostError(f"{settings.pins} is not on a BPF file system", "run: mount -t bpf bpf /sys/fs/bpf")
    sources = source.read_sources(bpf_sources())
    digest = source.programs_digest(sources, settings.tier, cgroup)
    maps = settings.pins / f"maps-{source.maps_digest(sources)}"
    manifest = _read_manifest(settings)
    if manifest.get("digest") == digest and manifest.get("boot") == boot_id():
        links = settings.pins / str(manifest["links"])
        programs = tuple(ProgramState(**row) for row in manifest["programs"])
        if maps.is_dir() and all((links / program.name).exists() for program in programs if program.attached):
            report = LoadReport(manifest["tier"], ADOPTED, time.monotonic() - begin, digest, programs,
                                tuple(manifest["tried"]))
            return Loaded(report, maps, links)
    _require_host()
    try:
        settings.pins.mkdir(parents=True, exist_ok=True)
        os.chmod(settings.pins, 0o700)
        former = _former(settings, manifest, maps)      # before anything is made that may take its name
        tables.create(maps)
        links = _fresh(settings.pins, digest)
    except OSError as error:
        raise LoadError(f"cannot pin below {settings.pins}: {error.strerror}",
                        f"see what is there: ls -l {settings.pins}") from error
    built = _build(settings, maps, links, former, cgroup)
    if built["error"]:
        remove(links)
        raise LoadError(f"no tier can be loaded on this kernel: {built['error']}", "run: nbsp doctor")
    programs = tuple(ProgramState(row["name"], row["name"], row["is_attached"], row["reason"])
                     for row in built["programs"])
    report = LoadReport(built["tier"], built["origin"], time.monotonic() - begin, digest, programs,
                        tuple(built["tried"]), tuple(built["notes"]))
    _write_manifest(settings, report, links, maps)
    return Loaded(report, maps, links)


def _require_host() -> None:
    """Raise HostError for the first thing that loading needs and this host lacks; not knowing is no reason."""
    for name in NEEDED:
        found = features.probe(name)
        if found.state == "no":
            raise HostError(found.reason, found.remedy)


def _former(settings: Settings, manifest: dict[str, Any], maps: Path) -> Path | None:
    """Return the folder of the attached programs that use these very tables, if any and all of them."""
    if manifest.get("boot") != boot_id() or manifest.get("maps") != maps.name or not tables.are_whole(maps):
        return None
    former = settings.pins / Path(str(manifest.get("links"))).name
    return former if _is_ours(former) else None


def _build(settings: Settings, maps: Path, links: Path, former: Path | None, cgroup: Path) -> dict[str, Any]:
    order = {"tier": settings.tier, "sources": str(bpf_sources()), "compiled": str(settings.state / compiled.FOLDER),
             "maps": str(maps), "links": str(links), "former": str(former or ""), "cgroup": str(cgroup)}
    with tempfile.TemporaryFile() as said:
        process = spawn("programs.build", stdin=subprocess.PIPE, stderr=said)
        try:
            answer, _ = process.communicate(json.dumps(order).encode(), timeout=BUILD_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            remove(links)
            raise LoadError(f"compiling and loading took more than {BUILD_TIMEOUT_S:.0f} s",
                            "try again on a less busy machine") from error
        said.seek(0)
        words = said.read().decode(errors="replace")
    try:
        report: dict[str, Any] = json.loads(answer)
        if not isinstance(report, dict):
            raise ValueError(f"{report} is no report")
        return report
    except ValueError as error:
        remove(links)
        last = [line for line in words.splitlines() if line.strip()][-3:]
        raise LoadError(f"the loader ended with status {process.returncode}: {' / '.join(last)[-STDERR_KEPT:]}",
                        "run: nbsp doctor") from error


def _fresh(pins: Path, digest: str) -> Path:
    number = 1 + max((int(folder.name.rpartition("-")[2]) for folder in pins.glob("links-*")
                      if folder.name.rpartition("-")[2].isdigit()), default=0)
    links = pins / f"links-{digest}-{number}"
    links.mkdir()
    return links


def boot_id() -> str:
    """Return what changes with each boot."""
    return BOOT_ID.read_text().strip()


def _manifest(settings: Settings) -> Path:
    return settings.state / "programs.json"


def _read_manifest(settings: Settings) -> dict[str, Any]:
    try:
        content = json.loads(_manifest(settings).read_text())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _write_manifest(settings: Settings, report: LoadReport, links: Path, maps: Path) -> None:
    content = {"digest": report.digest, "boot": boot_id(), "links": links.name, "maps": maps.name,
               "tier": report.tier, "origin": report.origin, "seconds": round(report.seconds, 3),
               "programs": [asdict(program) for program in report.programs], "tried": report.tried}
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        temporary = _manifest(settings).with_suffix(".new")
        temporary.write_text(json.dumps(content))
        os.replace(temporary, _manifest(settings))
    except OSError:
        pass        # without it the next daemon loads anew, beside the old programs: slower, no gap


def retire_others(settings: Settings, loaded: Loaded) -> tuple[str, ...]:
    """Remove the programs and tables of former daemons; what is loaded now has taken over.

    Returns in words what could not be removed: it enforces beside the new until it goes, which is no reason to fail.
    """
    troubles = []
    try:
        for folder in settings.pins.iterdir():
            if _is_ours(folder) and folder not in (loaded.maps, loaded.links):
                try:
                    remove(folder)
                except OSError as error:
                    troubles.append(f"{folder}, of a former nbspd, cannot be removed: {error.strerror}")
    except OSError as error:
        troubles.append(f"{settings.pins} cannot be read: {error.strerror}")
    return tuple(troubles)


def _is_ours(folder: Path) -> bool:
    return folder.name.startswith(("links-", "maps-")) and folder.is_dir() and not folder.is_symlink()


def remove(folder: Path) -> None:
    """Unpin everything in a folder: the kernel drops what nobody else holds."""
    for pin in folder.iterdir():
        if pin.is_dir():
            remove(pin)
        else:
            pin.unlink()
    folder.rmdir()


def forget(settings: Settings) -> None:
    """Unpin everything of ours."""
    if settings.pins.is_dir():
        for folder in sorted(settings.pins.iterdir()):      # links before maps
            if _is_ours(folder):
                remove(folder)
        settings.pins.rmdir()
    _manifest(settings).unlink(missing_ok=True)
