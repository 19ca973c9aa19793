"""Bind a plan to this host: every name becomes what the kernel knows it by.

A declared path is bound as its inode, if there is one, and as its name in its directory, so that it stays protected
when it is replaced and is protected from the moment it appears. Trees enclose by what the directories really are.
Where a directory on the way is missing, its name is bound without any demand: the kernel tells of it, and all is bound
anew.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Mapping

import psutil

from .. import abi
from ..errors import Problem, RulesError
from ..kernel import mounts
from ..rules.model import Checkpoint
from ..rules.plan import Clauses, PathTarget, Plan, merge_clauses, network_bits
from ..rules.pseudo import ANYWHERE, MAGIC, mount_point, process_name
from . import sealing
from .bound import Binding, Bits, Bound, BoundCheckpoint, Names
from .inspect import BTRFS, Inode, Inspector, Key
from .names import pseudo_hash
from .own_demands import OwnDemands
from .places import Lookup
from .sealing import CodeBinding
from .units import unit_cgroups

LOCAL_NETWORKS = ("127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128")
EXES_PER_PROGRAM = 7
CHUNK_BYTES = 1 << 20


def bind(plan: Plan, numbers: Mapping[str, int], inspector: Inspector, is_sealing: bool = False) -> Bound:
    """Return the plan bound to this host; `numbers` gives each rule id its number.

    `is_sealing`: this tier has the hooks that seal checkpoints and guard their programs.
    Raises RulesError with all problems.
    """
    with inspector:
        binder = _Binder(plan, numbers, inspector)
        binder.bind_checkpoints()
        if is_sealing:
            binder.seal()
        binder.bind_paths()
        binder.bind_endpoints()
        if inspector.judges_files and not binder.problems:
            OwnDemands(plan, binder.bound, inspector).bind(binder.enclosing, binder.trees)
    if binder.problems:
        raise RulesError(binder.problems)
    return binder.bound


class _Binder:
    def __init__(self, plan: Plan, numbers: Mapping[str, int], inspector: Inspector) -> None:
        self.plan = plan
        self.inspector = inspector
        self.problems: list[Problem] = []
        self.bound = Bound(plan, numbers)
        self.bound.names = Names({numbers[rule.id]: rule for rule in plan.rules})
        self._folders: dict[str, Inode | None] = {}
        self.trees: dict[str, Clauses] = {}
        self._lookup = Lookup(mounts.mounts())
        self._missing: dict[str, None] = {}
        self._seal: Clauses = ()
        self._sealed: list[PathTarget] = []
        self._code: dict[str, CodeBinding] = {}             # by real path
        self._places: dict[str, str] | None = None      # where each path is declared: made for the first problem

    # -- checkpoints

    def bind_checkpoints(self) -> None:
        cgroups, unknown = unit_cgroups(self.plan.units)
        bound = []
        count: dict[Key, int] = {}
        for checkpoint in self.plan.checkpoints:
            problem = Problem(checkpoint.where, "")
            exe = self._exe(checkpoint)
            uid = self._uid(checkpoint)
            if checkpoint.unit in unknown:
                self._say(problem.where, f"there is no unit {checkpoint.unit} ({unknown[checkpoint.unit]})",
                          "name a unit that systemctl list-unit-files knows")
            if exe is None:
                continue
            count[exe.key] = count.get(exe.key, 0) + 1
            if count[exe.key] == EXES_PER_PROGRAM + 1:
                self._say(checkpoint.where, f"more than {EXES_PER_PROGRAM} checkpoints run {checkpoint.exe}",
                          "merge some of them")
            bound.append(BoundCheckpoint(checkpoint, exe.key, uid, cgroups.get(checkpoint.unit or "")))
            self.bound.names.objects[exe.key] = checkpoint.exe
        self.bound.checkpoints = tuple(bound)

    def _exe(self, checkpoint: Checkpoint) -> Inode | None:
        try:
            inode = self.inspector.look(checkpoint.exe)
            if inode is None:
                self._say(checkpoint.where, f"checkpoint {checkpoint.name}: there is no {checkpoint.exe}",
                          "install the program, or correct exe:")
                return None
            if not stat.S_ISREG(inode.mode) or not inode.mode & 0o111:
                self._say(checkpoint.where, f"checkpoint {checkpoint.name}: {checkpoint.exe} is not an executable file",
                          "name the program itself")
                return None
            if not self._is_supported(inode, checkpoint.exe, checkpoint.where):
                return None
            if inode.magic == BTRFS:
                self._say(checkpoint.where, f"{checkpoint.exe} is on btrfs, whose inode numbers are not unique",
                          "put the program on another file system")
                return None
            self._check_program(checkpoint)
        except OSError as error:
            self._say(checkpoint.where, f"checkpoint {checkpoint.name}: cannot read {checkpoint.exe}: {error.strerror}",
                      "correct exe:")
            return None
        return inode

    def _check_program(self, checkpoint: Checkpoint) -> None:
        with open(checkpoint.exe, "rb") as program:
            head = program.read(256)
            if head[:2] == b"#!":
                interpreter = os.fsdecode(head[2:].split(b"\n")[0].strip())
                self._say(checkpoint.where, f"checkpoint {checkpoint.name}: {checkpoint.exe} is a script; the kernel "
                          f"runs {interpreter}, which would be everybody's checkpoint",
                          "name an ELF program: a small compiled wrapper, or the service's own binary")
            elif head[:4] != b"\x7fELF":
                self._say(checkpoint.where, f"checkpoint {checkpoint.name}: {checkpoint.exe} is not an ELF program",
                          "name the program that the kernel runs")
            elif checkpoint.sha256:
                state = hashlib.sha256(head)
                while chunk := program.read(CHUNK_BYTES):
                    state.update(chunk)
                if state.hexdigest() != checkpoint.sha256:
                    self._say(checkpoint.where, f"checkpoint {checkpoint.name}: {checkpoint.exe} has the sha256 "
                              f"{state.hexdigest()}, not the declared one",
                              "find out who changed the program; after a wanted upgrade declare the new sum")

    def _uid(self, checkpoint: Checkpoint) -> int | None:
        if checkpoint.user is None:
            return None
        try:
            return pwd.getpwnam(checkpoint.user).pw_uid
        except KeyError:
            if checkpoint.user.isdigit():
                return int(checkpoint.user)
            self._say(checkpoint.where, f"checkpoint {checkpoint.name}: there is no user {checkpoint.user}",
                      "name a user that getent passwd knows")
            return None

    # -- sealing

    def seal(self) -> None:
        """Guard the programs of sealed checkpoints and the code that they list, and say what each may execute."""
        names = sealing.sealed_names(self.plan)
        if not names:
            return
        updaters = sealing.updaters(self.plan)
        first = len(self.bound.checkpoints)
        bound = [replace(one, is_sealed=one.checkpoint.name in names) for one in self.bound.checkpoints]
        bound += [BoundCheckpoint(updater, exe.key, 0, None, True) for updater in updaters
                  if (exe := self._exe(updater)) is not None]
        self.bound.checkpoints = tuple(bound)
        self.bound.declare(sealing.sealed_rule(updaters))
        self._seal = (sealing.sealed_clause(range(first, len(bound))),)
        for index, one in enumerate(bound):
            if one.is_sealed:
                self._seal_program(index, one.checkpoint)
        self._bind_code()

    def _seal_program(self, index: int, checkpoint: Checkpoint) -> None:
        paths, is_system, _ = sealing.code_of(checkpoint)
        for path in paths:
            self._code.setdefault(os.path.realpath(path), CodeBinding()).any.add(index)
        for folder in sealing.SYSTEM_FOLDERS if is_system else ():
            self._code.setdefault(os.path.realpath(folder), CodeBinding()).owned.add(index)
        for path in (checkpoint.exe, *paths):
            is_tree = path != checkpoint.exe and os.path.isdir(path)
            target = PathTarget(path, "tree" if is_tree else "file", self._seal)
            if is_tree:
                real = os.path.realpath(path)
                self.trees[real] = merge_clauses(self.trees.get(real, ()), self._seal)
            self._sealed.append(target)

    def _bind_code(self) -> None:
        for real, binding in self._code.items():
            inode = self._look(real)
            if inode is not None:
                merged = self.bound.codes.setdefault(inode.key, CodeBinding())
                merged.merge(binding)
                merged.merge(sealing.enclosing(real, self._code))

    def _look(self, path: str) -> Inode | None:
        try:
            return self.inspector.look(path)
        except OSError:
            return None     # what cannot be looked at is nobody's code

    # -- paths

    def bind_paths(self) -> None:
        for target in self.plan.paths:
            if target.kind == "tree":
                real = self._lookup.real(target.path)
                self.trees[real] = merge_clauses(self.trees.get(real, ()), target.clauses)
        for target in (*self.plan.paths, *self._sealed):
            try:
                self._bind_path(target)
            except OSError as error:
                self._say(target.path, f"cannot look at {target.path}: {error.strerror}", "correct the path")
        self._bind_mounts_below()
        for place, path in self.bound.pseudo.words.items():
            self.bound.names.objects[0, pseudo_hash(place), 0] = path
        self.bound.missing = tuple(self._missing)

    def _bind_path(self, target: PathTarget) -> None:
        real = self._lookup.real(target.path)
        clauses = merge_clauses(target.clauses, self.enclosing(real))
        if target.kind in ("file", "tree") and self._bind_pseudo(target, real, clauses):
            return
        self._bind_name(target.path, target, clauses)
        if real != target.path:
            self._bind_name(real, target, clauses)
        inode = self.inspector.look(real)
        if inode is None or not self._is_supported(inode, target.path, target.path):
            return
        if target.kind == "tree" and not stat.S_ISDIR(inode.mode):
            self._say(target.path, f"{target.path} is not a directory", "declare it under files:")
            return
        if target.kind == "device":
            if not (stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode)):
                self._say(target.path, f"{target.path} is not a device", "declare it under files:")
                return
            self._add((abi.RDEV_DEV, inode.rdev, int(stat.S_ISBLK(inode.mode))), target, clauses)
        if target.kind != "tree" and stat.S_ISDIR(inode.mode):
            self._say(target.path, f"{target.path} is a directory", "declare it under trees:")
            return
        self._add(inode.key, target, clauses)

    def _bind_pseudo(self, target: PathTarget, real: str, clauses: Clauses) -> bool:
        """Protect what a path is on pseudo file systems; return whether that is all that it is."""
        if process_name(real):
            self._say(target.path, f"{target.path} leads to {real}, which is one process's own, gone with it",
                      f"write /proc/{ANYWHERE}/{os.path.basename(real)} for that file of every process")
            return True
        is_tree = target.kind == "tree"
        for path in {target.path, real}:
            self.bound.pseudo.add_conventional(path, clauses, is_tree)
        place = self._lookup.place(real)
        if place is not None:
            self.bound.pseudo.add(place, target.path, clauses, is_tree)
        if place is None and not self._lookup.is_waiting(real):
            return False
        if real != target.path and not mount_point(target.path):
            self._bind_name(target.path, target, clauses)      # a link to there
        return True

    def _bind_name(self, path: str, target: PathTarget, clauses: Clauses) -> None:
        """Protect a name in its directory, whatever will stand there; in tier socket also a socket's full name."""
        if target.kind == "unix":
            full = os.fsencode(path)
            self.bound.sun_names[full] = merge_clauses(self.bound.sun_names.get(full, ()), clauses)
        folder, name = os.path.split(path)
        inode = self._folder(folder)
        if inode is None:
            self._missing[target.path] = None
            self._await(folder)
            return
        if not self._is_supported(inode, path, target.path):
            return
        binding = self.bound.slots.setdefault((inode.key, os.fsencode(name)), Binding())
        binding.own = merge_clauses(binding.own, clauses)
        if target.kind == "tree":
            binding.tree = merge_clauses(binding.tree, clauses)
        self.bound.names.objects.setdefault(inode.key, folder)

    def _folder(self, folder: str) -> Inode | None:
        if folder not in self._folders:
            inode = self.inspector.look(folder)
            self._folders[folder] = inode if inode is not None and stat.S_ISDIR(inode.mode) else None
        return self._folders[folder]

    def _await(self, folder: str) -> None:
        """Declare the first name that is missing on the way to a folder, by its path and by what that really is."""
        for way in dict.fromkeys((folder, os.path.realpath(folder))):
            above, name, inode = way, "", None
            while inode is None and above != "/":
                above, name = os.path.split(above)
                inode = self._folder(above)
            if inode is not None and not inode.unsupported:
                self.bound.slots.setdefault((inode.key, os.fsencode(name)), Binding())

    def _add(self, key: Key, target: PathTarget, clauses: Clauses) -> None:
        binding = self.bound.inodes.setdefault(key, Binding())
        if target.kind == "tree":
            binding.tree = merge_clauses(binding.tree, clauses)
        else:
            binding.own = merge_clauses(binding.own, clauses)
        self.bound.names.objects[key] = target.path

    def enclosing(self, real: str) -> Clauses:
        """Return the demands of all trees around a path without symbolic links."""
        found: Clauses = ()
        if self.trees:
            path = real
            while path != "/":
                path = os.path.dirname(path)
                if path in self.trees:
                    found = merge_clauses(found, self.trees[path])
        return found

    def _bind_mounts_below(self) -> None:
        """A tree goes on in what is mounted below it: the walk in the kernel ends at a superblock's root."""
        if not self.trees:
            return
        for mount in mounts.mounts():
            clauses = self.enclosing(mount.point)
            if mount.fstype in MAGIC:       # of ordinary trees it is no part: it would be so everywhere
                if mount_point(mount.point) and clauses and (place := self._lookup.place(mount.point)):
                    self.bound.pseudo.add(place, mount.point, clauses, True)
                continue
            try:
                inode = self.inspector.look(mount.point) if clauses else None
            except OSError:
                continue        # somebody's FUSE mount that even root may not look at, and so nobody else's files
            if inode is not None:
                binding = self.bound.inodes.setdefault(inode.key, Binding())
                binding.tree = merge_clauses(binding.tree, clauses)
                self.bound.names.objects.setdefault(inode.key, mount.point)

    # -- endpoints

    def bind_endpoints(self) -> None:
        for abstract in self.plan.abstracts:
            self.bound.sun_names[b"\0" + abstract.name] = abstract.clauses
        own: dict[tuple[int, int], dict[Bits, Clauses]] = {}
        local = [network_bits(network) for network in local_networks()]
        for target in self.plan.endpoints:
            group = own.setdefault((target.proto, target.port), {})
            for bits in (local if target.local else []) + [network_bits(target.network)]:
                group[bits] = merge_clauses(group.get(bits, ()), target.own)
        for (proto, port), group in own.items():
            lengths = sorted({length for length, _ in group})
            for length, address in group:
                enclosing = (group.get((shorter, address >> (128 - shorter) << (128 - shorter)), ())
                             for shorter in lengths if shorter <= length)
                self.bound.endpoints[proto, port, (length, address)] = merge_clauses(*enclosing)

    # -- problems

    def _is_supported(self, inode: Inode, path: str, where: str) -> bool:
        if inode.unsupported:
            self._say(where, f"{path} is on {inode.unsupported}, whose files nbspd cannot protect",
                      "protect what makes or serves them instead")
        return not inode.unsupported

    def _where(self, path: str) -> str:
        if self._places is None:
            self._places = {one: resource.where for resource in self.plan.resources for one in
                            (*resource.files, *resource.trees, *resource.exec, *resource.devices, *resource.unix)}
        return self._places.get(path, path)

    def _say(self, where: str, what: str, right: str) -> None:
        """Note a problem; `where` is a position in the rules, or a declared path."""
        problem = Problem(self._where(where), what, right)
        if problem not in self.problems:
            self.problems.append(problem)


def local_networks() -> list[IPv4Network | IPv6Network]:
    """Return every address by which this host reaches itself."""
    networks: list[IPv4Network | IPv6Network] = [ip_network(text) for text in LOCAL_NETWORKS]
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family.name in ("AF_INET", "AF_INET6"):
                networks.append(ip_network(address.address.partition("%")[0]))
    return networks
