"""The daemon: startup, loop, shutdown."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Callable

from . import __version__
from .activation import Activation
from .answers import Answers
from .changes import failure_words, said
from .control.loop import Loop
from .control.netlink import NetworkNews
from .control.notify import Notifier, watchdog_interval_s
from .control.peer import DAEMON, Peer
from .control.server import Server
from .control.timer import Timer
from .errors import EXIT_OK, NbspdError
from .generations import Generations
from .instance import InstanceLock, Signals, make_folders, require_root
from .naming import Naming
from .paths import Settings
from .recorder import Recorder

if TYPE_CHECKING:
    from .programs.enforcer import Enforcer

REFRESH_DELAY_S = 0.05      # news come in bursts, and the kernel tells of a new name before it is there
FILTERS_DELAY_S = 0.2       # for whoever removes a packet filter again and again
REFRESH_SHARE = 0.1         # of the daemon's time, at most
BUILD_PATIENCE_S = 660.0    # of the watchdog, while programs are compiled and loaded; more than the loader's own limit

Begin = Callable[[Settings], "Enforcer"]


def run(settings: Settings) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit code. Raises NbspdError when it cannot start."""
    require_root()
    make_folders(settings)
    lock = InstanceLock(settings.runtime / "nbspd.lock")
    from .programs.enforcer import Enforcer
    service = Service(settings, Enforcer.start)
    try:
        service.start()
        service.serve()
    except NbspdError as error:
        service.recorder.note(said("degraded", f"nbspd ends: {failure_words(error)}", DAEMON))
        service.notifier.status(f"failed: {error}")
        raise
    finally:
        service.stop()
        lock.close()
    return EXIT_OK


class Service:
    """Wires everything that waits to everything that acts."""

    def __init__(self, settings: Settings, begin: Begin) -> None:
        self.settings = settings
        self.begin = begin
        self.is_stopping = False
        self.rests_until_s = 0.0        # monotonic: after a long look at the names the next one waits
        self.loop = Loop()
        self.notifier = Notifier()
        self.signals = Signals()
        self.watchdog, self.deadline, self.refresh_due = Timer(), Timer("boot"), Timer()
        self.filters_due, self.unfiltered = Timer(), set[int]()
        naming = Naming()
        self.recorder = Recorder(settings, self.loop, naming)
        self.activation = Activation(settings, Generations(settings.state), naming, self.recorder.note,
                                     self.begin_enforcing)
        self.activation.before_close = self.forget_enforcer
        self.answers = Answers(settings, self.activation, self.recorder, self.change)
        self.news: NetworkNews | None = None
        self.server: Server | None = None

    # -- startup

    def start(self) -> None:
        """Bring everything up; systemd hears READY when rules are active. Raises NbspdError."""
        self.loop.watch(self.signals, self.on_signal)
        self.recorder.open()
        self.recorder.note(said("start", f"nbspd {__version__} starts", DAEMON))
        self.news = NetworkNews()       # before the enforcer looks for interfaces, so that none is missed
        self.activation.start()
        self.loop.watch(self.news, self.on_network)
        self.loop.watch(self.watchdog, self.on_watchdog)
        self.loop.watch(self.deadline, self.on_deadline)
        self.loop.watch(self.refresh_due, self.on_refresh)
        self.loop.watch(self.filters_due, self.on_filters)
        interval = watchdog_interval_s()
        if interval is not None:
            self.watchdog.every(interval)
        self.server = Server(self.loop, self.settings.control_socket, self.answers.answer, self.confess)
        self.recorder.on_written = self.server.retry_parked
        self.arm_deadline()
        self.recorder.write()
        self.notifier.ready(self.status_line())
        if self.activation.is_stale:
            self.ask_refresh()
        self.look_again()
        self.recorder.load_key()

    def begin_enforcing(self, settings: Settings) -> Enforcer:
        """Start the enforcer and listen to what it has to say. Raises NbspdError."""
        interval = watchdog_interval_s() if self.server is not None else None      # it does not watch the start
        if interval is not None:
            self.notifier.patience(BUILD_PATIENCE_S)
        try:
            enforcer = self.begin(settings)
        finally:
            if interval is not None:
                self.notifier.patience(2 * interval)
        self.recorder.attach(enforcer)
        self.loop.watch(enforcer.notices, self.on_notices)
        for note in enforcer.report.notes:
            self.recorder.note(said("note", note, DAEMON, enforcer.active_generation()))
        if enforcer.active_generation():
            text = "the programs" if enforcer.report.adopted else "new programs over the tables"
            self.recorder.note(said("adopt", f"{text} of the daemon before; enforcement went on", DAEMON,
                                    enforcer.active_generation()))
        return enforcer

    def forget_enforcer(self, enforcer: Enforcer) -> None:
        """Read what a detached enforcer still has to say, and listen no more."""
        self.loop.forget(enforcer.notices)
        self.recorder.detach()

    # -- loop

    def serve(self) -> None:
        """Wait and act until told to stop."""
        while not self.is_stopping:
            self.loop.run_once()

    def on_signal(self, _events: int) -> None:
        """SIGHUP: reload. SIGTERM, SIGINT: stop reading; what is enforced stays enforced."""
        for number in self.signals.read():
            if number == signal.SIGHUP:
                self.reload_by_signal()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self.is_stopping = True

    def reload_by_signal(self) -> None:
        """Reload for somebody who cannot be answered: the failure goes to the journal and to the log."""
        try:
            self.change(lambda: self.activation.reload(DAEMON_BY_SIGNAL))
        except NbspdError as error:
            print(f"nbspd: reload failed: {error}", file=sys.stderr, flush=True)

    def change(self, act: Callable[[], Any]) -> Any:
        """Do something that changes the generation, with systemd told before and after whatever comes of it."""
        self.notifier.reloading()
        try:
            return act()
        finally:
            self.arm_deadline()
            self.look_again()
            self.recorder.write()
            self.notifier.ready(self.status_line())

    def on_network(self, _events: int) -> None:
        """Guard new interfaces, and look at addresses again a moment later."""
        assert self.news is not None
        news = self.news.read()
        if self.activation.enforcer is not None:
            for index, name in news.appeared:
                self.activation.enforcer.interface_appeared(index, name)
            self.watch_filters(self.activation.enforcer, news.filters)
        if news.addresses:
            self.ask_refresh()

    def watch_filters(self, enforcer: Enforcer, changes: tuple[tuple[int, int], ...]) -> None:
        """Put our packet filter back in a moment where somebody removed or replaced it."""
        for index, program in changes:
            if program == enforcer.filter_id():
                self.unfiltered.discard(index)
            else:
                self.unfiltered.add(index)
        if self.unfiltered and not self.filters_due.is_armed:
            self.filters_due.after(FILTERS_DELAY_S)

    def on_filters(self, _events: int) -> None:
        """Filter devices again."""
        self.filters_due.read()
        self.filters_due.cancel()
        indices, self.unfiltered = sorted(self.unfiltered), set()
        enforcer = self.activation.enforcer
        there = enforcer.interfaces() if enforcer is not None else {}
        for index in indices:
            if enforcer is not None and index in there:
                text = f"somebody removed or replaced the packet filter of {there[index]}; it is put back"
                self.recorder.note(said("degraded", text, DAEMON, self.activation.number))
                enforcer.interface_appeared(index, there[index])
        self.recorder.write()

    def on_notices(self, _events: int) -> None:
        """A name that the rules declare appeared, vanished or was replaced."""
        enforcer = self.activation.enforcer
        if enforcer is not None:
            enforcer.notices.records()
            enforcer.notices.advance(enforcer.notices.position)
            self.ask_refresh()

    def ask_refresh(self) -> None:
        """Look at the names again in a moment, and not all the time."""
        if not self.refresh_due.is_armed:
            self.refresh_due.after(max(REFRESH_DELAY_S, self.rests_until_s - time.monotonic()))

    def on_refresh(self, _events: int) -> None:
        """Look again at what the names in the rules stand for."""
        self.refresh_due.read()
        self.refresh_due.cancel()
        began_s = time.monotonic()
        changes = self.activation.refresh()
        for change in changes:
            self.recorder.note(said("note", change, DAEMON, self.activation.number))
        ended_s = time.monotonic()
        self.rests_until_s = ended_s + (ended_s - began_s) / REFRESH_SHARE
        if changes:
            self.look_again()
        self.recorder.write()

    def look_again(self) -> None:
        """Look at the names once more where folders are awaited: one may have appeared before the flip, unnoticed."""
        active = self.activation.active
        if active is not None and active.bound.missing:
            self.ask_refresh()

    def on_deadline(self, _events: int) -> None:
        """Go back if the active generation was not confirmed in time."""
        self.deadline.read()
        self.activation.expire()
        self.arm_deadline()
        self.recorder.write()
        self.notifier.status(self.status_line())

    def on_watchdog(self, _events: int) -> None:
        """Tell systemd that the loop turns."""
        self.watchdog.read()
        self.notifier.alive()
        self.recorder.beat()

    def arm_deadline(self) -> None:
        """Wait for the deadline of an unconfirmed generation, if there is one."""
        pending = self.activation.generations.now.pending
        if pending is None:
            self.deadline.cancel()
        else:
            self.deadline.at(pending.deadline_s)

    def confess(self, error: BaseException) -> None:
        """Tell of a bug of ours that a request brought to light."""
        self.answers.bugs += 1
        traceback.print_exception(error, file=sys.stderr)
        self.recorder.note(said("degraded", f"a bug in nbspd: {type(error).__name__}: {error}", DAEMON,
                                self.activation.number))

    def status_line(self) -> str:
        """Return the state in a line for `systemctl status`."""
        return self.answers.status_line()

    # -- shutdown

    def stop(self) -> None:
        """Write down what is known and let go; enforcement goes on in the kernel."""
        self.notifier.stopping()
        if self.server is not None:
            self.server.close()
        self.recorder.close(said("stop", f"nbspd {__version__} stops reading; enforcement goes on", DAEMON,
                                 self.activation.number))
        if self.activation.enforcer is not None:
            self.activation.enforcer.close()
        for source in (self.news, self.watchdog, self.deadline, self.refresh_due, self.filters_due, self.signals,
                       self.loop):
            if source is not None:
                source.close()


DAEMON_BY_SIGNAL = Peer(pid=0, uid=0, gid=0, comm="SIGHUP")
