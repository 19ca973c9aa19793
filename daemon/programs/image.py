"""A generation as bytes: what goes into each table. Pure: nothing here touches the kernel."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Mapping

from .. import abi
from ..rules import itself
from ..rules.plan import Clauses, merge_clauses
from .bound import Bound
from .inspect import Key
from .names import SLOT_WORDS, SUN_WORDS, name_hash, name_hint, object_hash, slot_bit

BITS_PER_ENTRY = 128        # of the object filter: one false hit in about a hundred
MIN_WORDS = 64
ENDPOINT_PREFIX = 32        # bits before the address: protocol, padding, port
ANY_NAME = 0
WORD = struct.Struct("<Q")


@dataclass
class Image:
    """The content of one generation's tables, keys and values as the kernel wants them."""

    inner: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    filter_words: int = MIN_WORDS
    filters: bytes = b""
    superblocks: bytes = b""
    ports: bytes = b""
    guard_policy: int = 0       # of the daemon itself, 0: none
    kernel_policy: int = 0      # of the kernel below it


class Policies:
    """Gives each distinct set of demands a number.

    0 in another table means no policy; as a policy it is what the judge falls back to for what it cannot decide.
    """

    def __init__(self, bound: Bound, bits: Mapping[int, int]) -> None:
        self._bound = bound
        self._bits = bits           # checkpoint index -> stamp bit
        self._numbers: dict[Clauses, int] = {(): 0}
        self.values: list[bytes] = [b""]
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
            names = ", ".join(self._bound.plan.rules[clause.rule].id for clause in clauses)
            raise ValueError(f"more than {abi.CLAUSES} rules protect one object: {names}")
        policy = abi.Policy(count=len(clauses))
        for place, clause in zip(policy.clauses, clauses):
            place.rule = self._bound.numbers[self._bound.plan.rules[clause.rule].id]
            place.access, place.mode, place.action = clause.access, clause.mode, clause.action
            self._access |= clause.access
            for checkpoint in clause.accept:
                bit = self._bits[checkpoint]
                place.accept[bit >> 6] |= 1 << (bit & 63)
        return bytes(policy)


def render(bound: Bound, bits: Mapping[int, int]) -> Image:
    """Return the tables of a bound plan; `bits` gives each checkpoint's index its stamp bit."""
    policies = Policies(bound, bits)
    image = Image()
    hashes = _render_objects(bound, policies, image)
    _render_endpoints(bound, policies, image)
    image.inner["sun_names"] = [(WORD.pack(name_hash(name, SUN_WORDS)), policies.number(clauses).to_bytes(4, "little"))
                                for name, clauses in bound.sun_names.items()]
    guard, kernel = itself.clause(bound.plan, itself.RULE), itself.clause(bound.plan, itself.KERNEL)
    image.guard_policy = policies.number((guard,)) if guard is not None else 0
    image.kernel_policy = policies.number((kernel,)) if kernel is not None else 0
    image.inner["exes"] = _render_exes(bound, bits)
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
        objects.append((_pack(key), struct.pack("<II", policies.number(binding.own), policies.number(binding.tree))))
        hashes.append(object_hash(key[1], key[0]))
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
