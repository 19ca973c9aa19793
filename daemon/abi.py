"""The structs and numbers shared with the kernel programs; bpf/abi.h is the same in C.

`static_assertions()` gives the C text that ties the two: it is compiled with the programs, so drift stops the build.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_uint8, c_uint16, c_uint32, c_uint64
from enum import IntEnum, IntFlag

STAMP_WORDS = 8
STAMP_BITS = STAMP_WORDS * 64
STAMPS_HELD = 8
CLAUSES = 4
PSEUDO_NAMES = 16
NAME = 256
RULES = 65536
RESERVED_RULES = 8      # the highest numbers, for demands of our own: rules/reserved.py
POLICY_SEALED = 1
FILTER_WORDS = 131072
SB_WORDS = 64
PORT_WORDS = 1024
ANCESTORS = 8
PATH_NAMES = 6
PATH_NAME = 40
ARGV = 128
STAMPS = 32768
UNITS = 1024
UNIT_CGROUPS = 8192
NEWBORNS = 16384
NEWBORN_BYTES = 65536
SUN_NAME = 110
LINKS = 64
MONITOR_GROUPS = 4
STAMP_INIT = 511
RDEV_DEV = 0xFFFFFFFF
POLICY_RAW_FRAMES = 2
UNSET_ID = 0xFFFFFFFF


class Access(IntFlag):
    """What an access wants to do with its object."""

    READ = 1
    WRITE = 2
    EXEC = 4
    CONNECT = 8
    MOVE = 16
    CONTROL = 32


class Channel(IntEnum):
    """The technical way an access took."""

    FILE_OPEN = 1
    EXEC = 2
    MMAP = 3
    RECEIVE = 4
    CREATE = 5
    MKNOD = 6
    MKDIR = 7
    SYMLINK = 8
    LINK = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    SETATTR = 13
    XATTR = 14
    ACL = 15
    CONNECT = 16
    SEND = 17
    PACKET = 18
    INTERFACE = 19
    UNIX_CONNECT = 20
    UNIX_SEND = 21
    DEVICE_OPEN = 22
    PTRACE = 23
    TRACEME = 24
    CODE = 25
    DUMP = 26
    FLAGS = 27
    INHERIT = 28
    ARRIVAL = 30
    RAW_FRAMES = 31
    MOUNT_OPTION = 50
    COVER = 51
    SIGNAL = 40
    DEBUG = 41
    PRIORITY = 42
    BPF = 43
    PIN = 44
    MOUNT = 45
    KNOB = 46
    KERNEL_CODE = 47
    KERNEL_MEMORY = 48
    PROGRAM = 49


class VerdictCode(IntEnum):
    """What was done about a violation."""

    DENIED = 1
    KILLED = 2
    AUDITED = 3
    OBSERVED = 4


class Kind(IntEnum):
    """What sort of object a violation names."""

    NONE = 0
    INODE = 1
    SLOT = 2
    ENDPOINT = 3
    ABSTRACT = 4
    RDEV = 5
    PROCESS = 6
    MEMORY = 7
    MONITOR = 8
    PSEUDO = 9


class Mode(IntEnum):
    """Whether a clause denies or only reports."""

    ENFORCE = 0
    AUDIT = 1


class Action(IntEnum):
    """What happens to the process that a clause denies."""

    DENY = 0
    KILL = 1


class CheckpointFlag(IntFlag):
    """Which conditions a checkpoint has."""

    PRESENT = 1
    CHILDREN = 2
    USER = 4
    UNIT = 8
    AFTER = 16
    ANY_MEMORY = 32
    MANAGER = 128


class ObjectKey(ctypes.Structure):
    """An inode: superblock device in the kernel's encoding, number, generation."""

    _fields_ = [("ino", c_uint64), ("dev", c_uint32), ("gen", c_uint32)]


class Object(ctypes.Structure):
    """What protects an inode."""

    _fields_ = [("policy", c_uint32), ("tree_policy", c_uint32)]


class SlotKey(ctypes.Structure):
    """A name in a directory, by its hash."""

    _fields_ = [("parent", ObjectKey), ("name", c_uint64)]


class Slot(ctypes.Structure):
    """What protects a name, whatever inode stands there."""

    _fields_ = [("policy", c_uint32), ("tree_policy", c_uint32), ("name", c_uint64)]


class EndpointKey(ctypes.Structure):
    """A network endpoint, as the key of a longest-prefix-match trie; the port is in network order."""

    _fields_ = [("prefixlen", c_uint32), ("proto", c_uint8), ("pad", c_uint8), ("port", c_uint16),
                ("addr", c_uint8 * 16)]


class Clause(ctypes.Structure):
    """One rule's demand."""

    _fields_ = [("rule", c_uint32), ("access", c_uint8), ("mode", c_uint8), ("action", c_uint8), ("pad", c_uint8),
                ("accept", c_uint64 * STAMP_WORDS)]


class Policy(ctypes.Structure):
    """The demands of all rules on one object."""

    _fields_ = [("count", c_uint32), ("pad", c_uint32), ("clauses", Clause * CLAUSES)]


class Exe(ctypes.Structure):
    """Which checkpoints a program may become."""

    _fields_ = [("bits", c_uint32 * 8)]


class Checkpoint(ctypes.Structure):
    """A checkpoint's conditions, by stamp bit."""

    _fields_ = [("exe", ObjectKey), ("uid", c_uint32), ("unit", c_uint32), ("flags", c_uint32), ("pad", c_uint32),
                ("after", c_uint64 * STAMP_WORDS)]


class Stamp(ctypes.Structure):
    """The stamps of a process, by thread group id."""

    _fields_ = [("start_ticks", c_uint64), ("bits", c_uint64 * STAMP_WORDS), ("list", c_uint16 * STAMPS_HELD),
                ("tainted", c_uint64)]


class Code(ctypes.Structure):
    """Which checkpoints may execute pages of a file, or of all files below a directory, by stamp bit."""

    _fields_ = [("any", c_uint64 * STAMP_WORDS), ("owned", c_uint64 * STAMP_WORDS)]


class Generation(ctypes.Structure):
    """One of the two generation slots."""

    _fields_ = [("number", c_uint64), ("filter_mask", c_uint32), ("serial", c_uint32),
                ("sealed", c_uint64 * STAMP_WORDS), ("pseudo_kinds", c_uint64),
                ("pseudo_anywhere", c_uint64), ("pseudo_trees", c_uint64), ("pseudo_whole", c_uint64),
                ("one", c_uint64), ("guard_policy", c_uint32), ("kernel_policy", c_uint32)]


class Monitor(ctypes.Structure):
    """What the programs that guard the daemon must know of it."""

    _fields_ = [("open_until_ns", c_uint64), ("mount", c_uint64), ("pins_ino", c_uint64),
                ("groups", c_uint64 * MONITOR_GROUPS), ("pins_dev", c_uint32), ("proc_dev", c_uint32),
                ("unit", c_uint32), ("stamp", c_uint32), ("rule", c_uint32), ("pad", c_uint32),
                ("links", c_uint32 * LINKS)]


class UnitPath(ctypes.Structure):
    """A unit's cgroup, from the root of the cgroup-v2 tree."""

    _fields_ = [("path", c_char * NAME)]


class SocketStamp(ctypes.Structure):
    """The stamps of the process that connected or sent, kept with the socket."""

    _fields_ = [("bits", c_uint64 * STAMP_WORDS)]


class Newborn(ctypes.Structure):
    """What protects an inode that took over a slot."""

    _fields_ = [("serial", c_uint32), ("policy", c_uint32)]


class NewbornFilter(ctypes.Structure):
    """A byte for each hash value; not zero: look into the table of newborns."""

    _fields_ = [("bytes", c_uint8 * NEWBORN_BYTES)]


class Scratch(ctypes.Structure):
    """Keys too large for the stack of a program."""

    _fields_ = [("unit", UnitPath)]


class Notice(ctypes.Structure):
    """A name changed in a directory that the daemon watches."""

    _fields_ = [("parent", ObjectKey), ("channel", c_uint32), ("pad", c_uint32)]


class Counter(ctypes.Structure):
    """Hits of a rule, and those whose record found no room."""

    _fields_ = [("hits", c_uint64), ("lost", c_uint64)]


class Resolved(ctypes.Structure):
    """What the kernel calls an inode that the daemon asked about."""

    _fields_ = [("key", ObjectKey), ("rdev", c_uint32), ("mode", c_uint32), ("magic", c_uint64), ("count", c_uint64)]


class Ancestor(ctypes.Structure):
    """One step of a process's ancestry."""

    _fields_ = [("start_ticks", c_uint64), ("tgid", c_uint32), ("uid", c_uint32), ("comm", c_char * 16)]


class Violation(ctypes.Structure):
    """One record of the kernel's ring buffer."""

    _fields_ = [
        ("time_ns", c_uint64), ("generation", c_uint64), ("start_ticks", c_uint64), ("cgroup", c_uint64),
        ("exe_ino", c_uint64), ("exe_dev", c_uint32), ("rule", c_uint32), ("tgid", c_uint32), ("tid", c_uint32),
        ("uid", c_uint32), ("euid", c_uint32), ("gid", c_uint32), ("loginuid", c_uint32), ("sessionid", c_uint32),
        ("channel", c_uint8), ("verdict", c_uint8), ("access", c_uint8), ("kind", c_uint8), ("object", ObjectKey),
        ("addr", c_uint8 * 16), ("port", c_uint16), ("proto", c_uint8), ("names", c_uint8), ("ifindex", c_uint32),
        ("comm", c_char * 16), ("exe_name", c_char * PATH_NAME), ("stamps", c_uint64 * STAMP_WORDS),
        ("ancestors", Ancestor * ANCESTORS), ("path", (c_char * PATH_NAME) * PATH_NAMES), ("abstract", c_char * 112),
        ("argv", c_char * ARGV)]


STRUCTS: dict[str, type[ctypes.Structure]] = {
    "object_key": ObjectKey, "object": Object, "slot_key": SlotKey, "slot": Slot, "endpoint_key": EndpointKey,
    "clause": Clause, "policy": Policy, "exe": Exe, "checkpoint": Checkpoint, "stamp": Stamp, "code": Code,
    "generation": Generation, "monitor": Monitor, "unit_path": UnitPath, "socket_stamp": SocketStamp,
    "newborn": Newborn,
    "newborn_filter": NewbornFilter, "scratch": Scratch, "notice": Notice, "counter": Counter, "resolved": Resolved,
    "ancestor": Ancestor, "violation": Violation}

ENUMS: dict[str, type[IntEnum] | type[IntFlag]] = {
    "ACCESS": Access, "CHANNEL": Channel, "VERDICT": VerdictCode, "KIND": Kind, "MODE": Mode, "ACTION": Action,
    "CHECKPOINT": CheckpointFlag}


def static_assertions() -> str:
    """Return C text that fails to compile when bpf/abi.h and this module differ."""
    lines = []
    for name, struct in STRUCTS.items():
        lines.append(f'_Static_assert(sizeof(struct {name}) == {ctypes.sizeof(struct)}, "size of {name}");')
        for field in struct._fields_:
            offset = getattr(struct, field[0]).offset
            lines.append(f'_Static_assert(__builtin_offsetof(struct {name}, {field[0]}) == {offset}, '
                         f'"{name}.{field[0]}");')
    for prefix, enum in ENUMS.items():
        lines += [f'_Static_assert({prefix}_{m.name} == {m.value}, "{prefix}_{m.name}");' for m in enum]
    return "\n".join(lines) + "\n"
