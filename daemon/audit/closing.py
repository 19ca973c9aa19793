"""Ending connections: looked at once more, announced to the daemon, which journals it, and only then destroyed.

A socket is ended by the kernel's own name for it (the cookie), in the network namespace where it was found, so that no
other one can be hit. Nobody who carries a stamp that would do loses anything: holders are looked up anew right before.
"""

from __future__ import annotations

import errno
from typing import Any, Callable, Mapping, Sequence

from ..errors import NbspdError
from ..kernel.sock_diag import PROTOCOLS, Diagnosis, InetSocket
from .connections import RULED_AS, Open, within
from .finding import Closing
from .verdicts import Closable, shown

NO_DESTROY = "this kernel cannot end sockets: it was built without CONFIG_INET_DIAG_DESTROY"
REASONS = {
    errno.EOPNOTSUPP: NO_DESTROY,
    errno.ENOENT: "it had ended already",
    errno.ESTALE: "another socket has the same addresses, and the kernel finds that; end who holds it",
    errno.ESRCH: "the process that led to its network namespace is gone; once more: nbsp audit",
    errno.EPERM: "the kernel refuses it to us",
    errno.EINVAL: "the kernel does not know this request"}
ENDED = "ended"

Ask = Callable[..., Mapping[str, Any]]


def close_all(closables: Sequence[Closable], ask: Ask, is_stamped: Callable[[InetSocket, Closable], bool],
              open_: Open = Diagnosis) -> list[Closing]:
    """End connections and return what became of each; `is_stamped` tells whether its other end may not be touched."""
    return [close_one(one, ask, is_stamped, open_) for one in closables]


def close_one(one: Closable, ask: Ask, is_stamped: Callable[[InetSocket, Closable], bool],
              open_: Open) -> Closing:
    """End one connection."""
    inet = one.connection.inet
    assert inet is not None
    protocol, local, remote = PROTOCOLS[inet.protocol], shown(inet.local), shown(inet.remote)

    def result(is_closed: bool, reason: str = "", code: int = 0, other_end: str = "") -> Closing:
        return Closing(protocol, local, remote, one.pids, one.rules, is_closed, reason, name_of(code), other_end)
    ruled_as = PROTOCOLS[RULED_AS.get(inet.protocol, inet.protocol)]
    fields = {"proto": ruled_as, "local": local, "remote": remote, "holders": list(one.pids)}
    try:
        ask("close", **fields)
    except NbspdError as error:
        return result(False, f"nbspd refuses: {error}")
    try:
        with within(one.connection.namespace, open_) as diagnosis:
            other_end = close_other_end(one, diagnosis, is_stamped)
            try:
                diagnosis.destroy(inet)
            except OSError as error:
                if error.errno == errno.ENOENT and is_there(diagnosis, inet):
                    raise OSError(errno.ESTALE, "the kernel finds another one") from error
                if error.errno != errno.ENOENT or other_end != ENDED:     # else the other end's reset ended it
                    raise
            return result(True, other_end=other_end)
    except OSError as error:
        code = error.errno or 0
        reason = REASONS.get(code, error.strerror or str(error))
        try:
            ask("close", **fields, failed=f"{name_of(code)}: {reason}")
        except NbspdError as failure:
            reason += f"; and nbspd could not be told: {failure}"
        return result(False, reason, code)


def close_other_end(one: Closable, diagnosis: Diagnosis, is_stamped: Callable[[InetSocket, Closable], bool]) -> str:
    """End the other end first, where it is on this host.

    Its reset reaches ours. The other way round our own filter would refuse the reset, as any packet of a socket without
    a stamp, journal it as a bypass by this process, and leave the other end waiting.
    """
    other = one.connection.other_end
    if other is None:
        return ""
    if is_stamped(other, one):
        return "left alone: it carries a stamp"
    try:
        diagnosis.destroy(other)
    except OSError as error:
        return "ended already" if error.errno == errno.ENOENT else f"not ended: {error.strerror}"
    return ENDED


def is_there(diagnosis: Diagnosis, inet: InetSocket) -> bool:
    """Return whether exactly this socket is still connected.

    The kernel looks it up by its addresses, and of several that share them (SO_REUSEPORT) finds one.
    """
    return any(one.cookie == inet.cookie for one in diagnosis.inet(inet.family, inet.protocol))


def name_of(code: int) -> str:
    """Return the name of an errno, "" for none; Python calls one of them by its other name."""
    return "EOPNOTSUPP" if code == errno.EOPNOTSUPP else errno.errorcode.get(code, str(code) if code else "")
