"""The kernel's side as the service sees it: start, bind, apply, refresh, count, detach."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping

from .. import abi
from ..errors import HostError, LoadError
from ..kernel import bpf, mounts
from ..kernel.ringbuf import RingBuffer
from ..paths import Settings
from ..rules.itself import RULE, daemon_index, rule_of
from ..rules.plan import Plan
from . import bits as stamp_bits
from . import held, loader, monitor, stamping, write
from .bind import bind
from .bound import Bound, Names
from .child import spawn
from .image import render
from .inspect import Inspector, KernelInspector
from .loader import LoadReport, ProgramState
from .tables import NOTICE_BYTES, RING_BYTES, Tables

__all__ = ["Bound", "Enforcer", "LoadReport", "Names", "ProgramState"]


class Enforcer:
    """Owns the loaded programs and their tables. One process at a time may have one."""

    def __init__(self, settings: Settings, loaded: loader.Loaded, cgroup_root: str) -> None:
        self.settings = settings
        self.loaded = loaded
        self.report = loaded.report
        self._cgroup_root = cgroup_root
        self.tables = Tables(loaded.maps)
        self.ring = RingBuffer(self.tables.fd("violations"), RING_BYTES)
        self.notices = RingBuffer(self.tables.fd("notices"), NOTICE_BYTES)
        self.epoch = f"{loader.boot_id()}:{bpf.map_info(self.tables.fd('counters')).id}"
        self._bits = stamp_bits.load(self._bits_file, self.epoch)
        self._bound: Bound | None = None
        self._generation = 0
        self.refused_interfaces: dict[int, str] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._held: list[int] = []
        self.unstamped: tuple[str, ...] = ()        # who runs a new checkpoint's program and must not have its stamp
        self._filter_id = 0
        self.left_behind: tuple[str, ...] = ()      # of former daemons, and could not be removed

    @classmethod
    def start(cls, settings: Settings) -> "Enforcer":
        """Load the programs, or adopt those that are pinned. Raises HostError, LoadError."""
        root = mounts.cgroup2_root()
        loaded = loader.load(settings, settings.cgroup or root)
        for note in loaded.report.notes:
            print(f"nbspd: {note}", file=sys.stderr, flush=True)
        enforcer = cls(settings, loaded, str(root))
        enforcer._filter(list(enforcer.interfaces()))
        if not loaded.report.adopted:       # adopted: the filters are there, this only makes sure
            enforcer._reap(is_waiting=True)
        return enforcer

    @property
    def _bits_file(self) -> Path:
        return self.settings.state / "stamps.json"

    # -- generations

    def bind(self, plan: Plan, numbers: Mapping[str, int]) -> Bound:
        """Return the plan bound to this host. Raises RulesError with all problems."""
        return bind(plan, numbers, self._inspector(), is_sealing=self.report.tier != "socket")

    def _inspector(self) -> Inspector:
        if self.report.tier == "socket":
            return Inspector()
        return KernelInspector(self.tables, self.loaded.links / "inode_getattr")

    def adopt(self, bound: Bound, generation: int) -> None:
        """Take over what is active already: the kernel's tables stay, this is for the words."""
        self._bound, self._generation = bound, generation
        self._name_stamps(bound)
        try:
            self._hold(self._programs(bound))
        except (OSError, ValueError):
            pass        # replaced in this moment; the names are looked up again right after an adoption
        self._retire_others()

    def apply(self, bound: Bound, generation: int) -> None:
        """Write a generation, stamp who runs already, flip. On any error the generation before stays active.

        Raises LoadError.
        """
        try:
            programs = self._programs(bound)
            try:
                self._apply(bound, generation)
            except BaseException:
                held.release(programs)
                raise
            self._hold(programs)
        except OSError as error:
            raise LoadError(f"the kernel refused generation {generation}: {error.strerror or error}",
                            "the generation before stays active; run: nbsp status") from error
        except ValueError as error:
            raise LoadError(str(error), "the generation before stays active") from error
        self._retire_others()

    def _retire_others(self) -> None:
        before, self.left_behind = self.left_behind, loader.retire_others(self.settings, self.loaded)
        for words in self.left_behind:
            if words not in before:
                print(f"nbspd: {words}, ignoring", file=sys.stderr, flush=True)

    def _apply(self, bound: Bound, generation: int) -> None:
        identities = stamp_bits.identities(bound.checkpoints)
        names = [one.checkpoint.name for one in bound.checkpoints]
        assigned, wiped = stamp_bits.assign(self._bits, [identities[name] for name in names])
        by_index = {index: assigned.by_identity[identities[name]] for index, name in enumerate(names)}
        image = render(bound, by_index)
        # the kernel gives new bits from stage() on; whatever comes of this, none of them gets another meaning unwiped
        self._bits = stamp_bits.Bits(self._bits.by_identity, assigned.following)
        stamp_bits.save(self._bits_file, self.epoch, self._bits)
        if wiped:
            write.wipe_bits(self.tables, wiped)
        units = self._declare_units(bound)
        write.write_checkpoints(self.tables, bound, by_index, units)
        slot = write.stage(self.tables, image, generation)
        candidates = [stamping.Candidate(by_index[index], one,
                                         frozenset(by_index[names.index(name)] for name in one.checkpoint.after))
                      for index, one in enumerate(bound.checkpoints)]
        fresh = frozenset(assigned.by_identity.values()) - frozenset(self._bits.by_identity.values())
        devices = {one.exe: os.stat(one.checkpoint.exe).st_dev for one in bound.checkpoints}
        stamping.stamp_running(self.tables, candidates, devices, fresh)
        self._declare_monitor(bound, by_index, units)
        stamp_bits.save(self._bits_file, self.epoch, stamp_bits.Bits(
            {**self._bits.by_identity, **assigned.by_identity}, assigned.following))
        write.flip(self.tables, slot)
        # again: who is new, and who took in foreign code while the kernel did not watch yet
        self.unstamped = stamping.stamp_running(self.tables, candidates, devices, fresh)
        if rule_of(bound.plan.rules) is None:
            monitor.forget(self.tables)
        # from here on only this generation's bits are taken; the one before is overwritten by the next
        self._bits = assigned
        self._bound, self._generation = bound, generation
        self._name_stamps(bound)

    def _declare_monitor(self, bound: Bound, by_index: Mapping[int, int], units: Mapping[str, int]) -> None:
        """Tell the kernel who we are, before a generation is active that keeps everybody else out."""
        index = daemon_index(bound.plan)
        cgroup = None if index is None else bound.checkpoints[index].cgroup
        if index is None or cgroup is None:
            return
        with self._inspector() as inspector:
            inspector.look(str(self.settings.pins))     # has the kernel note which mount that is
        above = [self._cgroup_root + str(path) for path in Path(cgroup).parents if path != Path("/")]
        monitor.declare(self.tables, self.settings.pins, self.loaded.links, above, units[cgroup], by_index[index],
                        bound.numbers[RULE])

    @staticmethod
    def _programs(bound: Bound) -> list[int]:
        return held.hold((one.checkpoint.exe, one.exe) for one in bound.checkpoints)

    def _hold(self, programs: list[int]) -> None:
        held.release(self._held)
        self._held = programs

    def _name_stamps(self, bound: Bound) -> None:
        identities = stamp_bits.identities(bound.checkpoints)
        for name, identity in identities.items():
            if identity in self._bits.by_identity:
                bound.names.stamps[self._bits.by_identity[identity]] = name

    def _declare_units(self, bound: Bound) -> dict[str, int]:
        """Tell the kernel the cgroups of units, those that exist and those to come; return the unit numbers."""
        known = {abi.UnitPath.from_buffer_copy(key).path.decode(): int.from_bytes(value, "little")
                 for key, value in bpf.lookup_batch(self.tables.fd("units"))}
        for one in bound.checkpoints:
            if one.cgroup is None:
                continue
            number = known.setdefault(one.cgroup, 1 + max(known.values(), default=0))
            bpf.map_update(self.tables.fd("units"), bytes(abi.UnitPath(path=one.cgroup.encode())),
                           number.to_bytes(4, "little"))
            for folder, _, _ in os.walk(self._cgroup_root + one.cgroup):
                bpf.map_update(self.tables.fd("unit_cgroups"), os.stat(folder).st_ino.to_bytes(8, "little"),
                               number.to_bytes(4, "little"))
        return known

    def refresh(self) -> tuple[str, ...]:
        """Bind the active generation anew after names changed on the host; return what changed, in words."""
        before = self._bound
        if before is None:
            return ()
        after = self.bind(before.plan, before.numbers)
        words = _differences(before, after)
        if words:
            self.apply(after, self._generation)
        return words

    @property
    def bound(self) -> Bound | None:
        """Return what the active generation was bound to at the last look at the names."""
        return self._bound

    def active_generation(self) -> int:
        """Return the number of the generation that the kernel enforces, 0 for none."""
        return write.active_number(self.tables)

    # -- guarding ourselves

    @property
    def can_guard_itself(self) -> bool:
        """Return whether the kernel can keep others away from this very process."""
        return self.report.tier != "socket" and (monitor.is_service() or monitor.is_known(self.tables))

    def maintain(self, seconds: float) -> None:
        """Have the rule that guards us deny nothing for so long; 0 ends it."""
        monitor.open_for(self.tables, seconds)

    def maintained_s(self) -> float:
        """Return how long that will still be so."""
        return monitor.open_s(self.tables)

    # -- what happens

    def counters(self) -> dict[int, tuple[int, int]]:
        """Return hits and lost records of each rule number that was hit since the tables were made."""
        words = memoryview(self.tables.mapped("counters")).cast("Q")
        try:
            hits = words[0:2 * abi.RULES:2].tolist()
            return {number: (count, words[2 * number + 1]) for number, count in enumerate(hits) if count}
        finally:
            words.release()

    def stamps_of(self, tgid: int) -> tuple[str, ...]:
        """Return the names of the checkpoints whose stamps a process carries."""
        value = bpf.map_lookup(self.tables.fd("stamps"), tgid.to_bytes(4, "little"))
        if value is None or self._bound is None:
            return ()
        names = self._bound.names.stamps
        return tuple(names[bit - 1] for bit in abi.Stamp.from_buffer_copy(value).list if bit - 1 in names)

    def all_stamps(self) -> dict[int, tuple[int, tuple[str, ...]]]:
        """Return start time in ticks and names of the stamps of every stamped process, by pid."""
        names = self._bound.names.stamps if self._bound is not None else {}
        return {pid: (ticks, tuple(names[bit] for bit in sorted(bits) if bit in names))
                for pid, (ticks, bits) in stamping.read_stamps(self.tables).items()}

    def open_sockets(self) -> int:
        """Return a descriptor, for reading only, of the table of what sockets carry. Raises OSError."""
        return bpf.obj_get(self.tables.folder / "sockets", bpf.BPF_F_RDONLY)

    # -- interfaces

    def interfaces(self) -> dict[int, str]:
        """Return the network devices of this network namespace by index."""
        return dict(socket.if_nameindex())

    def interface_appeared(self, index: int, name: str) -> None:
        """Filter a new device too."""
        self._filter([index])

    def filter_id(self) -> int:
        """Return the kernel's number of our packet filter."""
        if not self._filter_id:
            fd = bpf.obj_get(self.loaded.links / "interface_egress")
            try:
                self._filter_id = bpf.prog_info(fd).id
            finally:
                os.close(fd)
        return self._filter_id

    def _filter(self, indices: list[int]) -> None:
        self._reap(is_waiting=False)
        if indices:
            pin = str(self.loaded.links / "interface_egress")
            self._children.append(spawn("programs.interfaces", ["attach", pin, *map(str, indices)]))

    def _reap(self, is_waiting: bool) -> None:
        """Hear what the children that filter devices have to say."""
        for child in self._children[:]:
            if not is_waiting and child.poll() is None:
                continue
            answer, _ = child.communicate()
            self._children.remove(child)
            if child.returncode:
                self.refused_interfaces[0] = f"the child that filters devices ended with status {child.returncode}"
            else:
                self.refused_interfaces.update({int(index): reason for index, reason in json.loads(answer).items()})

    # -- the end

    def detach(self) -> None:
        """End enforcement: every link, filter and pin of ours goes. Raises HostError."""
        write.disarm(self.tables)
        try:
            self._reap(is_waiting=True)
            self._children.append(spawn("programs.interfaces", ["detach", *map(str, self.interfaces())]))
            self._reap(is_waiting=True)
            loader.forget(self.settings)
        except OSError as error:
            raise HostError(f"enforcement has ended, but something stayed behind: {error}",
                            f"look at {self.settings.pins}") from error
        self._bound, self._generation = None, 0

    def close(self) -> None:
        """Let go of everything; enforcement goes on."""
        self._reap(is_waiting=True)
        held.release(self._held)
        self.ring.close()
        self.notices.close()
        self.tables.close()


def _differences(before: Bound, after: Bound) -> tuple[str, ...]:
    words = []
    tables: tuple[tuple[str, Mapping[Any, object], Mapping[Any, object]], ...] = (
        ("files", before.inodes, after.inodes), ("names", before.slots, after.slots),
        ("pseudo files", before.pseudo.words, after.pseudo.words), ("endpoints", before.endpoints, after.endpoints))
    for what, old, new in tables:
        added, gone = len(new.keys() - old.keys()), len(old.keys() - new.keys())
        if added or gone or old != new:
            words.append(f"{what}: {added} new, {gone} gone")
    if before.checkpoints != after.checkpoints:
        words.append("checkpoints: their programs, users or units changed")
    return tuple(words)
