"""What a channel is: one technical way of reaching a target, which hooks close it, and why they are enough."""

from __future__ import annotations

from dataclasses import dataclass

FILES = frozenset({"file", "tree", "exec", "device"})
PATHS = frozenset({"file", "tree", "exec"})
PSEUDO = frozenset({"pseudo"})      # files and trees on procfs, sysfs and their like
PROGRAMS = frozenset({"file", "exec"})
TREE, DEVICE_NODE = frozenset({"tree"}), frozenset({"device"})
TCP, UDP = frozenset({"tcp"}), frozenset({"udp"})
NET = TCP | UDP
UNIX = frozenset({"unix", "abstract"})
ALL = FILES | NET | UNIX
READ, WRITE = frozenset({"read"}), frozenset({"write"})
EITHER = READ | WRITE

STAMPS = ("sched_process_exec", "sched_process_fork", "sched_process_exit")
CONNECT = ("cgroup_connect4", "cgroup_connect6")
SEND = ("cgroup_sendmsg4", "cgroup_sendmsg6")
PACKET = ("cgroup_egress",)
DEVICE = ("interface_egress",)
ARRIVAL = ("cgroup_ingress",)
RECEIVE = ("file_receive",)
OPEN = ("file_open",)

NO_RECEIVE_HOOK = "tier socket has no hook that sees a descriptor arrive, and a socket keeps its stamp"
NO_FILE_HOOKS = "tier socket has no hook that could refuse it"


@dataclass(frozen=True)
class Channel:
    """One technical way of reaching a target."""

    id: str
    family: str
    words: str
    kinds: frozenset[str]
    hooks: tuple[str, ...] = ()
    socket: tuple[str, ...] | None = None       # the hooks of tier socket; None: open there
    reason: str = ""                            # why it is open where no hook closes it
    access: frozenset[str] = EITHER             # matters for resources with one of these
    unless: frozenset[str] = frozenset()        # does not matter for resources with one of these
    has_stamps: bool = False                    # matters only where some checkpoint may pass
    in_socket: str = ""                         # tier socket: the state to show instead of enforced
    is_front_door: bool = False                 # the plain way; open, the rule is not enforced at all
    why: str = ""                               # why the hooks are enough, and what they cannot see
    since: str = ""                             # what the host is asked whether it has this, beside the hooks
    no_attempt: str = ""                        # why the drill has no attempt at it
