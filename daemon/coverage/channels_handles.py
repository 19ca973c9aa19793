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
    Channel("inherited-socket", "H5", "a connected socket inherited over an exec, or connected after it was shared",
            NET, reason="a socket keeps the stamp of the process that connected it", has_stamps=True),
    Channel("older-unix", "H5", "unix connections older than the rules", UNIX,
            reason="no hook sees every use of a connected unix stream: splice(2) asks none"),
    Channel("passed-unix", "H5", "a connected unix socket received by SCM_RIGHTS or pidfd_getfd", UNIX, RECEIVE,
            reason=NO_RECEIVE_HOOK, has_stamps=True,
            why="asked in the receiver, with the socket at the other end, as if the receiver connected"),
    Channel("inherited-unix", "H5", "a connected unix socket inherited over an exec, or connected after it was shared",
            UNIX, reason="a connected unix socket is not looked at again", has_stamps=True),
    Channel("received-fd", "H5", "an fd received by SCM_RIGHTS or pidfd_getfd", FILES, ("file_receive",),
            why="asked in the receiver before the descriptor is in its table, also when a ring's file is installed; "
                "files that go from ring to ring are not asked for"),
    Channel("uring-file", "H5", "a descriptor handed over inside io_uring: message ring, fixed files of a shared ring",
            ALL, reason="the kernel does not ask when a file comes into a ring's table that way",
            since="kernel.io_uring_disabled"),
    Channel("inherited-fd", "H5", "an fd inherited across an exec that drops the stamp", FILES,
            reason="open fds are not closed or judged again at exec in this version", has_stamps=True),
    Channel("older-fd", "H5", "fds and mappings older than the rules", FILES,
            reason="what was open before the rules is not revoked in this version"),
)
