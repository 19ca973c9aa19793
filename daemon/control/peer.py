"""Who is at the other end of the control socket, as the kernel says."""

from __future__ import annotations

import grp
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from ..abi import UNSET_ID
from ..errors import ControlError
from ..paths import GROUP
from .protocol import Role, VERBS

SO_PEERGROUPS = 59      # asm-generic/socket.h, since Linux 4.13; not in Python's socket module
UCRED = struct.Struct("iII")


@dataclass(frozen=True)
class Peer:
    """A process that asked for something, at the time it connected."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    loginuid: int = UNSET_ID
    comm: str = ""

    def role(self, viewers: int | None) -> Role:
        """Return what it may do; `viewers` is the number of the group that may look, None without such a group."""
        if self.uid == 0:
            return Role.CHANGER
        if viewers is not None and (self.gid == viewers or viewers in self.groups):
            return Role.VIEWER
        return Role.NOBODY

    def words(self) -> str:
        """Return who asked, for people."""
        login = "" if self.loginuid == UNSET_ID else f", login uid {self.loginuid}"
        return f"uid {self.uid}{login}, pid {self.pid} ({self.comm or 'gone'})"

    def to_json(self) -> dict[str, int | str | None]:
        """Return who asked, for the journal."""
        return {"uid": self.uid, "pid": self.pid, "comm": self.comm,
                "loginuid": None if self.loginuid == UNSET_ID else self.loginuid}


DAEMON = Peer(pid=os.getpid(), uid=0, gid=0, comm="nbspd")


def viewers_group() -> int | None:
    """Return the number of the group whose members may look, or None where it does not exist."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def identify(connection: socket.socket) -> Peer:
    """Return the peer of a unix connection: credentials from the kernel, names from /proc (empty when it is gone)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    pid, uid, gid = UCRED.unpack(raw)
    proc = Path("/proc") / str(pid)
    login = read_text(proc / "loginuid")
    return Peer(pid, uid, gid, peer_groups(connection), int(login) if login.isdigit() else UNSET_ID,
                read_text(proc / "comm"))


def peer_groups(connection: socket.socket) -> tuple[int, ...]:
    """Return the supplementary groups of the peer at the time it connected; none when there are more than 256."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


def read_text(path: Path) -> str:
    """Return the text of a small file of /proc, empty when it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def authorise(peer: Peer, verb: str, viewers: int | None) -> None:
    """Refuse what the peer may not do. Raises ControlError with one clear sentence."""
    role = peer.role(viewers)
    needed = VERBS[verb].role
    if role.value >= needed.value:
        return
    if role is Role.NOBODY:
        raise ControlError(f"uid {peer.uid} may not talk to nbspd",
                           f"become root, or a member of the group {GROUP} to look at things")
    raise ControlError(f"{verb} changes the enforcement, and members of the group {GROUP} may only look",
                       f"run it as root: sudo nbsp {VERBS[verb].command or verb}")
