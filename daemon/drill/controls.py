"""The controls: accesses that must succeed while everything is guarded. A drill in which one fails proves nothing."""

from __future__ import annotations

from dataclasses import dataclass

from .attempt import Attempt, row
from .network import LO4, LO6


@dataclass(frozen=True)
class Control:
    """A legitimate access: `attempt` done by `program`, on something protected or not."""

    attempt: Attempt
    program: str            # checkpoint | attempt (an unrelated program)
    is_protected: bool


def control(program: str, technique: str, goal: str, title: str, *words: str, variant: str = "",
            target: str | None = None, is_protected: bool = True) -> Control:
    """Return a control; both as an ordinary user and as root."""
    return Control(row("control", program, technique, goal, title, *words, who="both", target=target,
                       variant="-".join(part for part in (program, variant) if part)), program, is_protected)


ACTS: tuple[tuple[str, str, str, tuple[str, ...], str | None, str], ...] = (
    ("plain", "read", "reads a file", (), None, "file"), ("plain", "write", "writes a file", (), None, "file"),
    ("plain", "read", "reads a file in a tree", (), "{in_tree}", "tree"),
    ("plain", "write", "writes a file in a tree", (), "{in_tree}", "tree"),
    ("create-in-tree", "write", "creates a file in a tree", (), "{tree}", "create"),
    ("rename-over", "write", "replaces a file", (), None, "replace"),
    ("unlink", "write", "removes a file", (), None, "remove"),
    ("chmod", "write", "changes a mode", (), None, "mode"),
    ("setxattr", "write", "sets an attribute", (), None, "xattr"),
    ("symlink", "read", "reads through a symbolic link", (), None, "symlink"),
    ("plain", "exec", "executes a program", (), None, "tool"),
    ("plain", "connect", "connects to a unix socket", (), None, "stream"),
    ("plain", "send", "sends to a unix socket", (), None, "dgram"))
NETWORK: tuple[tuple[str, str, str, tuple[str, ...], str], ...] = (
    ("tcp", "connect", "connects by TCP", (LO4, "port={tcp}"), "tcp4"),
    ("tcp", "connect", "connects by TCP over IPv6", (LO6, "port={tcp}"), "tcp6"),
    ("udp-sendto", "send", "sends by UDP", (LO4, "port={udp}"), "udp4"),
    ("udp-sendto", "send", "sends by UDP over IPv6", (LO6, "port={udp}"), "udp6"),
    ("udp-connect", "send", "sends by connected UDP", (LO4, "port={udp}", "how=send"), "udp-connected"))


def all_controls() -> tuple[Control, ...]:
    """Return what the checkpoint may with the protected, and everybody with the rest."""
    found = []
    for program, who, is_protected in (("checkpoint", "the checkpoint", True),
                                       ("attempt", "an unrelated program", False)):
        for technique, goal, title, words, target, variant in ACTS:
            found.append(control(program, technique, goal, f"{who} {title}", *words, variant=variant, target=target,
                                 is_protected=is_protected))
        for technique, goal, title, words, variant in NETWORK:
            ports = words if is_protected else tuple(word.replace("port={", "port={open_") for word in words)
            found.append(control(program, technique, goal, f"{who} {title}", *ports, "other={open_udp}",
                                 variant=variant, target="", is_protected=is_protected))
    return tuple(found)


CONTROLS: tuple[Control, ...] = all_controls()
