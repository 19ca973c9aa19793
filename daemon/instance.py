"""One daemon a host: the folders it owns, the lock it holds, the signals it listens to."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from pathlib import Path

from .control.peer import viewers_group
from .errors import HostError, NbspdError
from .paths import Settings


class InstanceLock:
    """A lock on a file that the kernel takes back when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        """Take it. Raises NbspdError when another daemon has it."""
        self.file = open(path, "a+", encoding="ascii")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.file.seek(0)
            holder = self.file.read().strip() or "unknown"
            self.file.close()
            raise NbspdError(f"another nbspd is running (pid {holder})", "systemctl status nbspd") from error
        self.file.truncate(0)
        self.file.write(f"{os.getpid()}\n")
        self.file.flush()

    def close(self) -> None:
        """Let go."""
        self.file.close()


class Signals:
    """Signals as bytes on a descriptor, so that they wait for their turn in the loop."""

    HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self) -> None:
        self.reader, self.writer = socket.socketpair()
        self.reader.setblocking(False)
        self.writer.setblocking(False)
        self.before_fd = signal.set_wakeup_fd(self.writer.fileno(), warn_on_full_buffer=False)
        self.before = {number: signal.signal(number, lambda *_: None) for number in self.HANDLED}

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.reader.fileno()

    def read(self) -> set[signal.Signals]:
        """Return the signals that came since the last look."""
        try:
            return {signal.Signals(number) for number in self.reader.recv(4096)}
        except BlockingIOError:
            return set()

    def close(self) -> None:
        """Give the signals back to whom they belonged."""
        signal.set_wakeup_fd(self.before_fd)
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.reader.close()
        self.writer.close()


def require_root() -> None:
    """Raise HostError unless this process is root."""
    if os.geteuid() != 0:
        raise HostError("nbspd must run as root: it loads programs into the kernel", "sudo systemctl start nbspd")


def make_folders(settings: Settings) -> None:
    """Make the folders that the daemon owns, where they are missing. Raises HostError."""
    viewers = viewers_group()
    for path, mode, group in ((settings.runtime, 0o750, viewers), (settings.state, 0o700, None)):
        try:
            if not path.is_dir():
                path.mkdir(parents=True)
                path.chmod(mode)
                if group is not None:
                    os.chown(path, -1, group)
        except OSError as error:
            raise HostError(f"cannot make the folder {path}: {error.strerror}", "make it, or name another") from error
