"""One audit: learn what the daemon knows, look at sockets, trees and processes, judge, and end what is to be ended."""

from __future__ import annotations

import os
import time
from typing import Sequence

import psutil

from ..errors import ControlError
from ..kernel.process import process_facts
from ..kernel.sock_diag import Diagnosis, InetSocket
from .checkpoints import checkpoint_findings
from .closing import close_all
from .connections import Connections, Open, connections, namespaces
from .finding import Closing, Counts, Report
from .grips import grip_findings
from .holdings import Holdings, Searcher
from .links import link_findings, walk_trees
from .loops import loop_findings
from .places import MountTables, Places
from .told import Ask, learn, refresh_stamps
from .verdicts import Closable, Naming, Verdicts

PIDS_SHOWN = 10


class Survey:
    """Looks at this host once, beside the daemon, so that the daemon is not kept from its work (decision 0012)."""

    def __init__(self, ask: Ask, naming: Naming, sockets: int | None = None, open_: Open = Diagnosis) -> None:
        """Learn what the daemon knows; `sockets` is its table of what sockets carry. Raises ControlError."""
        self.ask = ask
        self.naming = naming
        self.sockets = sockets
        self.open = open_
        self.began_s = time.monotonic()
        self.known = learn(ask)
        self.report = Report(self.known.generation, self.known.tier)
        self.tables = MountTables()
        self.places = Places(self.known, self.tables.own)
        self.connections = Connections()
        self.closable: list[Closable] = []

    def look(self) -> Report:
        """Look at everything. Raises ControlError when the rules are changed meanwhile."""
        report, known = self.report, self.known
        walk = walk_trees(known, [*self.places.trees.values()], self.own_stamps(), report.counts)
        self.places.inside = walk.inside
        pids = psutil.pids()
        self.connections = connections(known, self.places, namespaces(pids), report.counts, self.sockets,
                                       self.open)
        searcher = Searcher(self.places, self.tables, self.inodes(), report.counts, known.pid)
        holdings = searcher.search(pids)
        if not refresh_stamps(known, self.ask):
            raise ControlError("the rules were changed during the audit", "once more: nbsp audit")
        verdicts = Verdicts(known, holdings, self.naming)
        found, self.closable = verdicts.of_connections(self.connections.found)
        report.findings = [*found, *verdicts.of_files(), *grip_findings(verdicts),
                           *loop_findings(searcher, self.tables.own), *checkpoint_findings(verdicts, self.tables.own),
                           *link_findings(known, walk)]
        report.not_looked_at = [*self.unknown(holdings), *self.connections.notes, *walk.notes]
        report.seconds = time.monotonic() - self.began_s
        return report

    def close(self) -> Report:
        """End the connections that were found, after one more look at who holds them. Raises ControlError."""
        if not self.closable:
            return self.report
        holdings = Searcher(self.places, self.tables, self.inodes(), Counts(), is_whole=False).search(psutil.pids())
        if not refresh_stamps(self.known, self.ask):
            raise ControlError("the rules were changed during the audit; nothing was closed", "once more: nbsp audit")
        verdicts = Verdicts(self.known, holdings, self.naming)
        wanted = {id(one.connection) for one in self.closable}
        _, closable = verdicts.of_connections([one for one in self.connections.found if id(one) in wanted])

        def is_stamped(other: InetSocket, one: Closable) -> bool:
            holders = [facts for facts, _ in holdings.sockets.get(other.inode, ())]
            return any(self.known.held(facts) for facts in holders)
        self.report.closings = close_all(closable, self.ask, is_stamped, self.open)
        closed = {(one.protocol, one.local, one.remote) for one in self.report.closings if one.is_ended}
        self.report.findings = [one for one in self.report.findings
                                if (one.protocol.replace("mptcp", "tcp"), one.local, one.remote) not in closed]
        self.report.seconds = time.monotonic() - self.began_s
        return self.report

    # -- parts

    def inodes(self) -> set[int]:
        """Return the sockets whose holders matter: those that were found, and their other ends."""
        ends = [one.other_end.inode for one in self.connections.found if one.other_end is not None]
        return {one.inode for one in self.connections.found} | set(ends)

    def own_stamps(self) -> frozenset[str]:
        """Return the stamps that count for this process."""
        facts = process_facts(os.getpid())
        return self.known.held(facts) if facts is not None else frozenset()

    def unknown(self, holdings: Holdings) -> Sequence[str]:
        """Return what could not be looked at, in words."""
        notes = [f"{path}: it leads elsewhere now than when the rules were applied; nbsp reload"
                 for path in dict.fromkeys(self.places.moved)]
        if holdings.closed_to_us:
            pids = ", ".join(map(str, holdings.closed_to_us[:PIDS_SHOWN]))
            notes.append(f"{len(holdings.closed_to_us)} processes may not be looked into, nor what they hold: {pids}")
        if self.is_elsewhere():
            notes.append("this nbsp and nbspd see different mounts: what the rules name is looked up here")
        notes += holdings.notes
        if holdings.notes_dropped:
            notes.append(f"{holdings.notes_dropped} more like these")
        return notes

    def is_elsewhere(self) -> bool:
        """Return whether the daemon lives in another mount namespace."""
        try:
            return os.stat("/proc/self/ns/mnt").st_ino != os.stat(f"/proc/{self.known.pid}/ns/mnt").st_ino
        except OSError:
            return False


__all__ = ["Closing", "Naming", "Report", "Survey"]
