"""A generation as bytes: what goes into each table. Pure: nothing here touches the kernel."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Mapping

from .. import abi
from ..rules import itself
from ..rules.plan import Clauses, merge_clauses
from ..rules.pseudo import ANYWHERE
from ..rules.reserved import RAW_FRAMES, SEALED
from .bound import Bound
from .inspect import Key
from .names import (SLOT_WORDS, SUN_WORDS, move_bit, name_hash, name_hint, object_hash, pseudo_bit, pseudo_hash,
                    pseudo_top, slot_bit)
from .sealing import CodeBinding

BITS_PER_ENTRY = 128        # of the object filter: one false hit in about a hundred
MIN_WORDS = 64
ENDPOINT_PREFIX = 32        # bits before the address: protocol, padding, port
ANY_NAME = 0
WORD = struct.Struct("<Q")
SEAL = abi.Policy(count=1)          # number abi.POLICY_SEALED: what hooks of sealing find, nobody may
SEAL.clauses[0].access, SEAL.clauses[0].rule = 0xFF, SEALED
RESERVED = 3                        # policies before those of the rules: nobody's, SEAL, raw_frames_policy()


@dataclass
class Image:
    """The content of one generation's tables, keys and values as the kernel wants them."""

    inner: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    filter_words: int = MIN_WORDS
    filters: bytes = b""
    superblocks: bytes = b""
    ports: bytes = b""
    sealed: tuple[int, ...] = ()        # stamp bits
    pseudo_kinds: int = 0           # the words of abi.Generation
    pseudo_anywhere: int = 0
    pseudo_trees: int = 0
    pseudo_whole: int = 0
    guard_policy: int = 0       # of the daemon itself, 0: none
    kernel_policy: int = 0      # of the kernel below it


class Policies:
    """Gives each distinct set of demands a number.

    0 in another table means no policy; as a policy it is what the judge falls back to for what it cannot decide.
    abi.POLICY_SEALED and POLICY_RAW_FRAMES come next.
    """

    def __init__(self, bound: Bound, bits: Mapping[int, int]) -> None:
        self._bound = bound
        self._bits = bits           # checkpoint index -> stamp bit
        self._numbers: dict[Clauses, int] = {(): 0}
        self.values: list[bytes] = [b"", bytes(SEAL), bytes(raw_frames_policy(bound, bits))]
        self._access = 0            # all that any clause covers

    def all(self) -> list[bytes]:
        """Return every policy by its number.

        Number 0 is nobody's, with rule number 0: for what cannot be decided, and for no access that no rule is about.
        """
        nobody = abi.Policy(count=1)
        nobody.clauses[0].access = self._access
        return [bytes(nobody), *self.values[1:]]

    def number(self, clauses: Clauses) -> int:
        """Return the number of a policy, making it at first use."""
        number = self._numbers.get(clauses)
        if number is None:
            number = self._numbers[clauses] = len(self.values)
            self.values.append(self._value(clauses))
        return number

    def _value(self, clauses: Clauses) -> bytes:
        if len(clauses) > abi.CLAUSES:
            names = ", ".join(self._bound.rule_id(clause.rule) for clause in clauses)
            raise ValueError(f"more than {abi.CLAUSES} rules protect one object: {names}")
        policy = abi.Policy(count=len(clauses))
        for place, clause in zip(policy.clauses, clauses):
            place.rule = self._bound.rule_number(clause.rule)
            place.access, place.mode, place.action = clause.access, clause.mode, clause.action
            self._access |= clause.access
            for checkpoint in clause.accept:
                bit = self._bits[checkpoint]
                place.accept[bit >> 6] |= 1 << (bit & 63)
        return bytes(policy)


def raw_frames_policy(bound: Bound, bits: Mapping[int, int]) -> abi.Policy:
    """Return what sending below every filter demands: a stamp with which every endpoint may be reached.

    Nothing is demanded where no endpoint is declared, and only written down where that goes for all of them.
    """
    clauses = [clause for found in bound.endpoints.values() for clause in found]
    if not clauses:
        return abi.Policy()
    enforced = [clause for clause in clauses if clause.mode == abi.Mode.ENFORCE] or clauses
    accepted = set(enforced[0].accept).intersection(*(clause.accept for clause in enforced))
    policy = abi.Policy(count=1)
    demand = policy.clauses[0]
    demand.rule, demand.access, demand.mode = RAW_FRAMES, abi.Access.CONNECT, enforced[0].mode
    for checkpoint in accepted:
        demand.accept[bits[checkpoint] >> 6] |= 1 << (bits[checkpoint] & 63)
    return policy


def render(bound: Bound, bits: Mapping[int, int]) -> Image:
    """Return the tables of a bound plan; `bits` gives each checkpoint's index its stamp bit."""
    policies = Policies(bound, bits)
    image = Image(sealed=tuple(bits[index] for index, one in enumerate(bound.checkpoints) if one.is_sealed))
    hashes = _render_objects(bound, policies, image)
    hashes += _render_pseudo(bound, policies, image)
    _render_endpoints(bound, policies, image)
    image.inner["sun_names"] = [(WORD.pack(name_hash(name, SUN_WORDS)), policies.number(clauses).to_bytes(4, "little"))
                                for name, clauses in bound.sun_names.items()]
    guard, kernel = itself.clause(bound.plan, itself.RULE), itself.clause(bound.plan, itself.KERNEL)
    image.guard_policy = policies.number((guard,)) if guard is not None else 0
    image.kernel_policy = policies.number((kernel,)) if kernel is not None else 0
    image.inner["exes"] = _render_exes(bound, bits)
    image.inner["codes"] = [(_pack(key), bytes(_code(binding, bits))) for key, binding in bound.codes.items()]
    image.inner["policies"] = [(number.to_bytes(4, "little"), value) for number, value in enumerate(policies.all())]
    _render_filter(hashes, image)
    return image


def _pack(key: Key) -> bytes:
    dev, ino, gen = key
    return struct.pack("<QII", ino, dev, gen)


def _render_objects(bound: Bound, policies: Policies, image: Image) -> list[int]:
    hashes = []
    superblocks = [0] * abi.SB_WORDS
    objects = []
    slots: dict[bytes, tuple[Clauses, Clauses, int]] = {}
    for key, binding in bound.inodes.items():
        itself = binding.itself if binding.above else binding.own
        objects.append((_pack(key), struct.pack("<II", policies.number(itself), policies.number(binding.tree))))
        value = object_hash(key[1], key[0])
        hashes.append(value if binding.own or binding.tree else value & ~63 | move_bit(value))
        _mark(superblocks, key[0])
    for (folder, name), binding in bound.slots.items():
        name_key = _pack(folder) + WORD.pack(name_hint(name))
        own, tree, full = binding.own, binding.tree, name_hash(name, SLOT_WORDS)
        if name_key in slots:        # two declared names that look alike: what protects one protects both
            own, tree, full = merge_clauses(slots[name_key][0], own), merge_clauses(slots[name_key][1], tree), ANY_NAME
        slots[name_key] = own, tree, full
        folder_hash = object_hash(folder[1], folder[0])
        hashes.append(folder_hash & ~63 | slot_bit(folder_hash, len(name)))
        _mark(superblocks, folder[0])
    image.inner["objects"] = objects
    image.inner["slots"] = [(key, struct.pack("<IIQ", policies.number(own), policies.number(tree), full))
                            for key, (own, tree, full) in slots.items()]
    image.superblocks = struct.pack(f"<{abi.SB_WORDS}Q", *superblocks)
    return hashes


def _render_pseudo(bound: Bound, policies: Policies, image: Image) -> list[int]:
    hashes = []
    rows = []
    for place, own, tree in bound.pseudo.entries():
        value, bit = pseudo_hash(place), pseudo_bit(place.kind)
        rows.append((WORD.pack(value), struct.pack("<II", policies.number(own), policies.number(tree))))
        hashes.append(value >> 32)
        image.pseudo_kinds |= bit
        if tree:
            image.pseudo_trees |= bit
        if not place.names:
            image.pseudo_whole |= bit
        elif place.names[0] == ANYWHERE:
            image.pseudo_anywhere |= bit
        else:
            hashes.append(pseudo_top(place))
    image.inner["pseudo_paths"] = rows
    return hashes


def _mark(superblocks: list[int], dev: int) -> None:
    superblocks[(dev ^ (dev >> 20)) & (abi.SB_WORDS - 1)] |= 1 << ((dev >> 6) & 63)


def _render_endpoints(bound: Bound, policies: Policies, image: Image) -> None:
    ports = [0] * (2 * abi.PORT_WORDS)
    rows = []
    for (proto, port, (length, address)), clauses in bound.endpoints.items():
        key = struct.pack("<IBB", ENDPOINT_PREFIX + length, proto, 0) + struct.pack(">H", port)
        rows.append((key + address.to_bytes(16, "big"), policies.number(clauses).to_bytes(4, "little")))
        ports[(proto == 17) * abi.PORT_WORDS + (port >> 6)] |= 1 << (port & 63)
    image.inner["endpoints"] = rows
    image.ports = struct.pack(f"<{2 * abi.PORT_WORDS}Q", *ports)


def _render_exes(bound: Bound, bits: Mapping[int, int]) -> list[tuple[bytes, bytes]]:
    exes: dict[Key, list[int]] = {}
    for index, checkpoint in enumerate(bound.checkpoints):
        exes.setdefault(checkpoint.exe, []).append(bits[index] + 1)
    return [(_pack(key), struct.pack("<8I", *found[:7], *[0] * (8 - len(found[:7])))) for key, found in exes.items()]


def _code(binding: CodeBinding, bits: Mapping[int, int]) -> abi.Code:
    code = abi.Code()
    for words, allowed in ((code.any, binding.any), (code.owned, binding.owned)):
        for bit in (bits[index] for index in allowed):
            words[bit >> 6] |= 1 << (bit & 63)
    return code


def _render_filter(hashes: list[int], image: Image) -> None:
    """Set a bit for each hash: the word by its upper part, the bit by its last six."""
    words = MIN_WORDS
    while words < abi.FILTER_WORDS and words * 64 < len(hashes) * BITS_PER_ENTRY:
        words *= 2
    image.filter_words = words
    content = bytearray(words * 8)
    for value in hashes:
        bit = value & 63
        content[((value >> 6) & (words - 1)) * 8 + (bit >> 3)] |= 1 << (bit & 7)
    image.filters = bytes(content)
