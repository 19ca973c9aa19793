"""python3 -m tests.lab --kernel 6.1|6.12|newest --tier lsm|fmod_ret|socket [--share DIR:MOUNTPOINT] [--keep] -- COMMAND..."""

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


def main(arguments: list[str] | None = None) -> int:
    """Run one command in a guest and return its exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description="Boots a Debian kernel in QEMU with nbspd installed and runs "
                                     "COMMAND there as root; exits with its status, or 125 when the lab itself failed.")
    parser.add_argument("--kernel", choices=list(KERNELS), default="6.12")
    parser.add_argument("--tier", choices=TIERS, default="lsm")
    parser.add_argument("--share", metavar="DIR:MOUNTPOINT", action="append", default=[], type=_share, help="mount a folder of the host (9p)")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=600.0, help="for the command (600)")
    parser.add_argument("--memory", metavar="MIB", type=int, default=2048)
    parser.add_argument("--append", metavar="WORDS", default="", help="more words for the kernel's command line")
    parser.add_argument("--icount", action="store_true", help="one CPU that counts instructions as nanoseconds, for benchmarks")
    parser.add_argument("--bare", action="store_true", help="do not install nbspd")
    parser.add_argument("--keep", action="store_true", help="leave the guest running and say how to reach it")
    parser.add_argument("--attach", metavar="DIR", type=Path, help="run COMMAND in a guest left running by --keep")
    parser.add_argument("--install", action="store_true", help="with --attach: bring nbspd there up to date with the checkout first")
    parser.add_argument("--stop", metavar="DIR", type=Path, help="switch such a guest off")
    parser.add_argument("--build", action="store_true", help="build the image and the kernel, boot nothing")
    parser.add_argument("command", metavar="COMMAND", nargs="*", help="one word is a shell command line; several are a program and its words")
    options = parser.parse_args(arguments)
    try:
        if options.build:
            image()
            kernel(options.kernel)
            return 0
        if options.stop:
            Guest.attach(options.stop).stop()
            return 0
        if not (options.command or options.keep or options.install):
            parser.error("say what to run: -- COMMAND...")
        guest = Guest.attach(options.attach) if options.attach else Guest(
            options.kernel, options.tier, shares=options.share, installs=not options.bare, keeps=options.keep,
            memory_mib=options.memory, icount=options.icount, append=options.append)
        return _run(guest, options)
    except LabError as error:
        say(str(error))
        return CANNOT


def _run(guest: Guest, options: argparse.Namespace) -> int:
    begin = time.monotonic()
    with guest:
        if not options.attach:
            say(f"{guest.release} tier {guest.tier} up in {guest.boot_s:.0f} s, ready after {time.monotonic() - begin:.0f} s")
        elif options.install:
            guest.install()
        status = 0
        if options.command:
            line = options.command[0] if len(options.command) == 1 else shlex.join(options.command)
            status = guest.run(line, options.timeout, on_output=_show).status
        if options.keep:
            say(f"kept running; again: python3 -m tests.lab --attach {guest.folder} -- COMMAND; off: python3 -m tests.lab --stop {guest.folder}")
    return status


def _show(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _share(text: str) -> tuple[Path, str]:
    folder, _, point = text.partition(":")
    if not Path(folder).is_dir() or not point.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text}: DIR must be a folder here and MOUNTPOINT an absolute path there")
    return Path(folder), point


if __name__ == "__main__":
    sys.exit(main())
