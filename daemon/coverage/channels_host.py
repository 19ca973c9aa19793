"""H10 to H14: what is the same for every rule on the host, and the gap in time of a path without a folder."""

from __future__ import annotations

from .channel import ALL, FILES, STAMPS, Channel

# Has a row for each declared path on the way to which a directory is missing. The hooks below do not close it: they
# tell the daemon when the directory appears, which then looks again.
PENDING = Channel("missing-folder", "H10", "a path whose folder appears later, until the daemon has looked again",
                  FILES | {"unix"}, reason="a slot needs the directory; the moment after it appears is not covered")
TELLING = ("inode_mkdir", "inode_symlink", "inode_rename")

HOST_CHANNELS: tuple[Channel, ...] = (
    Channel("without-daemon", "H10", "reload, restart, upgrade and death of the daemon", ALL, STAMPS, STAMPS,
            why="programs, links and tables are pinned and decide without the daemon, and a reload flips one word; who "
                "removes the pins is for the monitor's row"),
    Channel("before-start", "H10", "between boot and the start of nbspd", ALL,
            reason="nothing is enforced before the programs are attached",
            no_attempt="a drill needs the daemon, so it always comes after that"),
    Channel("capacity", "H11", "floods, full maps, deep trees: denied and counted", ALL, STAMPS, STAMPS,
            why="a table that is full gives no stamp and loses no verdict, and what cannot be decided about something "
                "protected is denied; details of a record may be lost, its count is not"),
    Channel("monitor", "H12", "root unpinning our programs, changing our maps, rules or journal", ALL,
            reason="nbspd does not guard itself in this version"),
    Channel("kernel", "H13", "root loading modules, kexec, /dev/mem, foreign bpf programs", ALL,
            reason="nbspd does not guard the kernel in this version"),
    Channel("races", "H14", "arguments changed after the check, threads, pid reuse", ALL, STAMPS, STAMPS,
            why="only the kernel's own copies are looked at: the inode that was found, the address that was copied, "
                "the process id together with its start time"),
)
