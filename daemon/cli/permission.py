"""What somebody is told who may not do it: what that is, who may, and how to get there."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
from pathlib import Path
from typing import NoReturn, Sequence

from ..errors import ControlError, JournalError, Problem
from ..paths import GROUP

# for root alone; a test compares them with the protocol's
CHANGES = ("reload", "confirm", "rollback", "detach", "maintain", "close")


def user_name() -> str:
    """Return the name of the user who runs this command, or the number of one without a name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def sudo(arguments: Sequence[str]) -> str:
    """Return the same command line as root would write it."""
    return shlex.join(["sudo", "nbsp", *arguments])


def explained(error: ControlError, arguments: Sequence[str]) -> ControlError:
    """Return a failure to reach the daemon as it is to be said; another one when the kernel refused the way to it.

    `arguments` are those of this nbsp.
    """
    if not isinstance(error.__cause__, PermissionError):
        return error
    user = user_name()
    if os.geteuid() == 0:
        return ControlError(f"the kernel refuses root the control socket of nbspd: {error.__cause__.strerror}",
                            "look for the security module, or the rule on that socket, that does it: journalctl -k")
    if any(word in CHANGES for word in arguments[:1]):
        return ControlError(f"{user} may not change what nbspd enforces: only root may; members of the group {GROUP} "
                            "may look", sudo(arguments))
    return ControlError(f"{user} may not talk to nbspd: only root and members of the group {GROUP} may",
                        f"{sudo(arguments)}; or, to look without sudo: {way_into_the_group(user)}")


def way_into_the_group(user: str) -> str:
    """Return how a user comes to be in the group of those who may look, in this session."""
    try:
        group = grp.getgrnam(GROUP)
    except KeyError:
        return f"sudo groupadd --system {GROUP}, sudo usermod -aG {GROUP} {user}, restart nbspd and log in again"
    if user in group.gr_mem and group.gr_gid not in os.getgroups():
        return f"{user} is in the group already, but not since this login: log in again"
    return f"sudo usermod -aG {GROUP} {user}, then log in again"


def require_journal(path: Path, arguments: Sequence[str]) -> None:
    """Raise JournalError when this user may not read the journal's file; whatever else is wrong with it is not ours."""
    try:
        path.open("rb").close()
    except PermissionError as error:
        raise JournalError(f"{user_name()} may not read the file {path}: only root may; members of the group {GROUP} "
                           "see the records with: nbsp journal", sudo(arguments)) from error
    except OSError:
        pass


def closed(path: Path) -> Problem | None:
    """Return what hinders this user from reading a file or folder of rules; None when nothing or something else does.
    """
    try:
        if os.path.isdir(path):
            os.stat(f"{path}/.")        # names may be read where nothing behind them may
            os.listdir(path)
        else:
            path.open("rb").close()
    except PermissionError as error:
        return Problem(str(path), f"{user_name()} may not read it: {error.strerror}",
                       f"{sudo(['check', str(path)])}; or let others read the rules: chmod o+rX, also above it")
    except OSError:
        pass
    return None


def refuse(error: ControlError, arguments: Sequence[str]) -> NoReturn:
    """Raise a failure to reach the daemon as it is to be said."""
    told = explained(error, arguments)
    if told is error:
        raise error
    raise told from error
