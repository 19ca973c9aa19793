"""python3 -m tests.lab --kernel 6.1|6.12|newest --tier lsm|fmod_ret|socket -- COMMAND..."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from .cache import say
from .errors import LabError
from .guest import TIERS, Guest
from .image import image
from .kernels import KERNELS, kernel

CANNOT = 125        # the lab itself failed; any other status is the command's


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says; a wrong one exits with 2."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.lab",
        description="Boots a Debian kernel in QEMU, installs this checkout's nbspd and runs COMMAND there as root. "
                    "Exits with the command's status (124: its time was up), or with 125 when the lab itself failed.")
    add = parser.add_argument
    add("--kernel", choices=list(KERNELS), default="6.12", help="Debian's kernel (%(default)s)")
    add("--tier", choices=TIERS, default="lsm", help="what that boot allows nbspd (%(default)s)")
    add("--share", metavar="DIR:MOUNTPOINT", action="append", default=[], type=_share, help="mount a host's folder")
    add("--timeout", metavar="SECONDS", type=float, default=600.0, help="for the command (%(default)s)")
    add("--memory", metavar="MIB", type=int, default=2048, help="of the guest (%(default)s)")
    add("--append", metavar="WORDS", default="", help="more words for the kernel's command line")
    add("--icount", action="store_true", help="one CPU that counts instructions as nanoseconds, for benchmarks")
    add("--bare", action="store_true", help="do not install nbspd")
    add("--keep", action="store_true", help="leave the guest running and say how to reach it")
    add("--attach", metavar="FOLDER", type=Path, help="use a guest left running by --keep")
    add("--install", action="store_true", help="with --attach: bring its nbspd up to date with the checkout first")
    add("--stop", metavar="FOLDER", type=Path, help="switch such a guest off")
    add("--build", action="store_true", help="build the image and the kernel, boot nothing")
    add("command", metavar="COMMAND", nargs="*", help="one word is a shell command, several are a program's words")
    options = parser.parse_args(arguments)
    if not (options.command or options.keep or options.install or options.stop or options.build):
        parser.error("say what to run: -- COMMAND...")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    options = read_options(arguments)
    try:
        if options.build:
            image()
            kernel(options.kernel)
        elif options.stop:
            Guest.attach(options.stop).stop()
        elif options.attach:
            return run(Guest.attach(options.attach), options)
        else:
            return run(Guest(options.kernel, options.tier, shares=options.share, installs=not options.bare,
                             keeps=options.keep, memory_mib=options.memory, icount=options.icount,
                             append=options.append), options)
        return 0
    except LabError as error:
        say(str(error))
        return CANNOT


def run(guest: Guest, options: argparse.Namespace) -> int:
    """Run the command in this guest, showing its output as it comes, and return its status."""
    begin = time.monotonic()
    with guest:
        if not options.attach:
            say(f"{guest.release} tier {guest.tier}: booted in {guest.boot_s:.0f} s, ready after "
                f"{time.monotonic() - begin:.0f} s")
        elif options.install:
            guest.install()
        status = 0
        if options.command:
            line = options.command[0] if len(options.command) == 1 else shlex.join(options.command)
            status = guest.run(line, options.timeout, on_output=_show).status
        if options.keep:
            again = f"python3 -m tests.lab --attach {guest.folder} [--install] -- COMMAND"
            say(f"kept running; again: {again}; off: python3 -m tests.lab --stop {guest.folder}")
    return status


def _show(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _share(text: str) -> tuple[Path, str]:
    folder, _, point = text.partition(":")
    if not Path(folder).is_dir() or not point.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text}: a folder here, a colon and an absolute path there")
    return Path(folder), point


if __name__ == "__main__":
    sys.exit(main())
