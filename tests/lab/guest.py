"""Guest: one booted Debian with nbspd installed, for tests and for people."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Callable, Sequence

from . import compiled
from .channel import Channel
from .errors import LabError
from .image import image
from .kernels import kernel as kernel_named
from .overlay import overlay
from .package import package, source
from .qemu import LSM, Machine, Qemu

TIERS = tuple(LSM)
BOOT_TIMEOUT_S = 300.0
SETTLE_TIMEOUT_S = 660.0        # nbspd may compile before sysinit.target: a minute or two under emulation
INSTALL_TIMEOUT_S = 660.0
PACKAGE = "/root/nbspd.deb"
SOURCE = "/usr/src/nbspd"           # where the guest finds the checkout


@dataclass(frozen=True)
class Result:
    """How a command ended: its status (124: its time was up, 128+n: signal n) and what it printed on both outputs."""

    status: int
    output: str
    command: str = ""

    @property
    def is_done(self) -> bool:
        """Return whether the command succeeded."""
        return self.status == 0


class Guest:
    """A guest for the length of a `with` block; several may run at once."""

    def __init__(self, kernel: str = "6.12", tier: str = "lsm", *, shares: Sequence[tuple[Path, str]] = (),
                 installs: bool = True, keeps: bool = False, memory_mib: int = 2048, cpus: int = 2,
                 icount: bool = False, append: str = "") -> None:
        if tier not in LSM:
            raise LabError(f"unknown tier {tier}; one of {', '.join(LSM)}")
        self.kernel = kernel
        self.tier = tier
        self.boot_s = 0.0               # from starting QEMU until systemd had finished
        self._installs, self._keeps = installs, keeps
        resolved = tuple((path.resolve(), point) for path, point in shares)
        self._machine = Machine(kernel_named(kernel), image(), tier, resolved, memory_mib, cpus, icount, append)
        self._slowness = 3.0 if icount else 1.0
        self._folder: Path | None = None
        self._qemu: Qemu | None = None
        self._channel: Channel | None = None
        self._boot_id = ""

    @classmethod
    def attach(cls, folder: Path) -> "Guest":
        """Return a guest that was left running in `folder` by --keep; leaving the `with` block leaves it running."""
        guest = cls.__new__(cls)
        guest.kernel, guest.tier, guest.boot_s = "", "", 0.0
        guest._installs, guest._keeps, guest._slowness, guest._boot_id = False, True, 1.0, ""
        guest._folder, guest._qemu, guest._channel = folder, Qemu(folder), None
        return guest

    @property
    def release(self) -> str:
        """Return the kernel's release, as `uname -r` prints it."""
        return self._machine.kernel.release

    @property
    def folder(self) -> Path:
        """Return the folder with console.log, qemu.log and command of this run."""
        assert self._folder is not None, "the guest was not started"
        return self._folder

    def __enter__(self) -> "Guest":
        if self._folder is None:
            self.start()
        else:
            self._connect(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._channel:
            self._channel.close()
        if not self._keeps:
            self.stop()

    def start(self) -> None:
        """Boot, wait until systemd is done, install nbspd. Raises LabError with the console's tail."""
        self._folder = Path(tempfile.mkdtemp(prefix="nbspd-lab-"))
        self._qemu = Qemu(self._folder)
        ours = overlay(self.tier, [point for _, point in self._machine.shares])
        (self._folder / "initrd").write_bytes(self._machine.kernel.initrd.read_bytes() + ours)
        begin = time.monotonic()
        try:
            self._qemu.start(self._machine, outlives_us=self._keeps)
            self._connect(BOOT_TIMEOUT_S)
            self._settle()
            self.boot_s = time.monotonic() - begin
            if self._installs:
                self.install()
        except BaseException as error:
            report = self._qemu.report()
            self.stop()
            if isinstance(error, LabError):
                again = f"python3 -m tests.lab --kernel {self.kernel} --tier {self.tier} -- true"
                raise LabError(f"kernel {self.kernel}, tier {self.tier}: {error}\n{report}again: {again}") from error
            raise

    def stop(self) -> None:
        """Switch the guest off and throw away everything it wrote."""
        if self._channel:
            self._channel.close()
        if self._qemu:
            self._qemu.stop()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, command: str | Sequence[str], timeout_s: float = 120.0, *, stdin: str | bytes = b"",
            check: bool = False, on_output: Callable[[bytes], None] | None = None) -> Result:
        """Run a shell command (or a list of words) as root.

        Raises LabError when the guest is lost or, with `check`, when the command fails.
        """
        assert self._channel is not None, "the guest was not started"
        line = command if isinstance(command, str) else shlex.join(command)
        pieces: list[bytes] = []

        def take(piece: bytes) -> None:
            pieces.append(piece)
            if on_output:
                on_output(piece)

        content = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            status = self._channel.run(line, timeout_s * self._slowness, content, take)
        except LabError as error:
            assert self._qemu is not None
            raise LabError(f"{error}\n{b''.join(pieces).decode(errors='replace')}\n{self._qemu.report()}") from error
        result = Result(status, b"".join(pieces).decode(errors="replace"), line)
        if check and status:
            raise LabError(f"exit status {status} of: {line}\n{result.output}")
        return result

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file in the guest, and the folders above it."""
        script = 'mkdir -p -- "$(dirname -- "$0")" && cat > "$0" && chmod "$1" -- "$0"'
        self.run(["sh", "-c", script, path, f"{mode:o}"], stdin=content, check=True)

    def get(self, path: str) -> str:
        """Return the text of a file in the guest."""
        return self.run(["cat", "--", path], check=True).output

    def install(self) -> None:
        """Install this checkout's nbspd, or upgrade to it, as a user would: by its package. The source goes along."""
        self.put(PACKAGE, package(self.folder))
        # one that runs already guards its state folder, where compiled programs go
        self.run("systemctl start nbspd && nbsp maintain --for 15m --reason 'the lab installs'", INSTALL_TIMEOUT_S)
        compiled.give(self)
        self.run(f"DEBIAN_FRONTEND=noninteractive dpkg --force-confold --force-unsafe-io -i {PACKAGE}",
                 INSTALL_TIMEOUT_S, check=True)
        self.run(f"rm -rf {SOURCE} && mkdir -p {SOURCE} && tar -xz -C {SOURCE}", stdin=source(), check=True)

    def reboot(self) -> None:
        """Restart the guest's system and wait for it; its disk keeps what was written."""
        assert self._channel is not None
        boot_id = self.get("/proc/sys/kernel/random/boot_id").strip()
        self._channel.run("sync; systemctl reboot --no-block", 60, b"", lambda piece: None)
        assert self._qemu is not None
        try:
            self._channel.wait(BOOT_TIMEOUT_S * self._slowness, other_than=boot_id)
            self._settle()
        except LabError as error:
            raise LabError(f"after a reboot: {error}\n{self._qemu.report()}") from error

    def console(self) -> str:
        """Return all that the guest's serial console has shown: the kernel's warnings, errors and panics."""
        assert self._qemu is not None
        return self._qemu.console()

    def _connect(self, timeout_s: float) -> None:
        assert self._qemu is not None and self._folder is not None
        deadline = time.monotonic() + 20
        while True:
            try:
                self._channel = Channel(self._folder / "agent.sock", self._qemu.watch)
                break
            except OSError as error:    # QEMU makes the socket a moment after it starts and announces it nowhere
                self._qemu.watch()
                if time.monotonic() > deadline:
                    raise LabError(f"no guest answers in {self._folder}: {error}") from error
                time.sleep(0.05)
        self._channel.wait(timeout_s * self._slowness)

    def _settle(self) -> None:
        """Wait for the boot's last job; `is-system-running --wait` would also wait for one that restarts for ever."""
        if self.run("systemctl start default.target", SETTLE_TIMEOUT_S).status:
            left = self.run("systemctl list-jobs; systemctl --failed; journalctl -u nbspd --no-pager -n 20 -o cat", 60)
            raise LabError(f"systemd did not finish booting\n{left.output}")
