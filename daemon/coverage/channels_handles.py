"""H5: what is open already, is handed over, or is older than the rules."""

from __future__ import annotations

from .channel import ALL, ARRIVAL, FILES, NET, NO_RECEIVE_HOOK, PACKET, RECEIVE, UNIX, Channel

HANDLES: tuple[Channel, ...] = (
    Channel("older-connection", "H5", "connections older than the rules", NET, PACKET, PACKET,
            why="each packet must come from a socket that was stamped when it connected; one that is older has no "
                "stamp, and what it had received already stays readable"),
    Channel("older-answer", "H5", "what the server goes on sending over a connection older than the rules", NET,
            ARRIVAL, ARRIVAL,
            why="a packet from a protected endpoint is heard by a stamped socket only; what had arrived before stays "
                "readable"),
    Channel("passed-socket", "H5", "a connected socket received by SCM_RIGHTS or pidfd_getfd", NET, RECEIVE,
            reason=NO_RECEIVE_HOOK, has_stamps=True,
            why="asked in the receiver: receiving it is judged as connecting to where it is connected"),
    Channel("inherited-socket", "H5", "a connected socket inherited over an exec that drops the stamp", NET,
            ("bprm_creds_for_exec",), reason=NO_RECEIVE_HOOK, has_stamps=True,
            why="asked before the exec: what stays open is judged as if the new program had connected it, and else the "
                "exec is refused"),
    Channel("shared-socket", "H5", "a socket that a checkpoint connects after it was shared with another process",
            NET | UNIX, reason="a socket keeps the stamp of the process that connected it", has_stamps=True,
            no_attempt="it takes a checkpoint that shares its sockets before it connects them"),
    Channel("older-unix", "H5", "unix connections older than the rules", UNIX,
            reason="no hook sees every use of a connected unix stream: splice(2) asks none"),
    Channel("passed-unix", "H5", "a connected unix socket received by SCM_RIGHTS or pidfd_getfd", UNIX, RECEIVE,
            reason=NO_RECEIVE_HOOK, has_stamps=True,
            why="asked in the receiver, with the socket at the other end, as if the receiver connected"),
    Channel("inherited-unix", "H5", "a connected unix socket inherited over an exec that drops the stamp",
            frozenset({"unix"}), ("bprm_creds_for_exec",), reason=NO_RECEIVE_HOOK, has_stamps=True,
            why="asked before the exec, with the socket at the other end, as if the new program connected"),
    Channel("inherited-abstract", "H5", "a connected abstract unix socket inherited over an exec that drops the stamp",
            frozenset({"abstract"}), reason="verifiers of 6.1 cannot follow the look at every descriptor's name",
            has_stamps=True, no_attempt="it is the same technique as that on a socket with a path"),
    Channel("received-fd", "H5", "an fd received by SCM_RIGHTS or pidfd_getfd", FILES, ("file_receive",),
            why="asked in the receiver before the descriptor is in its table, also when a ring's file is installed; "
                "files that go from ring to ring are not asked for"),
    Channel("uring-file", "H5", "a descriptor handed over inside io_uring: message ring, fixed files of a shared ring",
            ALL, reason="the kernel does not ask when a file comes into a ring's table that way",
            since="kernel.io_uring_disabled"),
    Channel("inherited-fd", "H5", "an fd inherited across an exec that drops the stamp", FILES,
            ("bprm_check_security",), reason="tier socket has no hook that could refuse it", has_stamps=True,
            why="asked before the exec: a file that stays open is judged as if the new program had opened it, and else "
                "the exec is refused; files registered with a ring are not seen"),
    Channel("older-fd", "H5", "fds and mappings older than the rules", FILES,
            reason="what was open before the rules is not revoked in this version"),
)
