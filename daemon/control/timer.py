"""A timer that is a file descriptor, so that waiting for time and waiting for input are one thing."""

from __future__ import annotations

import ctypes
import os
import time

CLOCKS = {"monotonic": time.CLOCK_MONOTONIC, "boot": time.CLOCK_BOOTTIME}
TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
TFD_TIMER_ABSTIME = 1


class Timespec(ctypes.Structure):
    """struct timespec."""

    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class Itimerspec(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = [("interval", Timespec), ("value", Timespec)]


LIBC = ctypes.CDLL(None, use_errno=True)


class Timer:
    """A timerfd(2); Python has its own only from 3.13 on."""

    def __init__(self, clock: str = "monotonic") -> None:
        self.clock = CLOCKS[clock]
        self.fd = check(LIBC.timerfd_create(self.clock, TFD_FLAGS))
        self.is_armed = False

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.fd

    def after(self, seconds: float) -> None:
        """Fire once, so many seconds from now."""
        self.arm(seconds, 0.0, 0)

    def every(self, seconds: float) -> None:
        """Fire again and again."""
        self.arm(seconds, seconds, 0)

    def at(self, moment_s: float) -> None:
        """Fire once, at a moment of the timer's clock; a moment in the past fires at once."""
        self.arm(max(moment_s, 1e-9), 0.0, TFD_TIMER_ABSTIME)

    def cancel(self) -> None:
        """Do not fire."""
        self.arm(0.0, 0.0, 0)

    def arm(self, value_s: float, interval_s: float, flags: int) -> None:
        """Set the timer; zero disarms it."""
        setting = Itimerspec(timespec(interval_s), timespec(value_s))
        check(LIBC.timerfd_settime(self.fd, flags, ctypes.byref(setting), None))
        self.is_armed = value_s > 0

    def read(self) -> int:
        """Return how often it fired since the last look, and make it silent."""
        try:
            return int.from_bytes(os.read(self.fd, 8), "little")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self.fd)


def timespec(seconds: float) -> Timespec:
    """Return a time as the kernel wants it."""
    nanoseconds = int(seconds * 1e9)
    return Timespec(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)


def check(result: int) -> int:
    """Return the result of a system call. Raises OSError when it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def boot_time_s() -> float:
    """Return the seconds since boot, sleep included: the clock of deadlines that outlive the daemon."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
