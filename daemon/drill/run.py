"""Runs attempts: each in a process group of its own with a limit of time, and nothing of it left behind."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Callable, Iterator, Protocol, Sequence

import psutil

from ..errors import NbspdError
from .attempt import Attempt
from .controls import Control
from .ground import UNUSED_ID, Ground
from .outcome import BROKEN, Ending, Result, decide
from .stage import Stage, rule_text
from .traces import undisturbed

PR_SET_CHILD_SUBREAPER = 36
HEARD_WITHIN_S = 0.25           # a token may arrive after its sender has ended
READY_WITHIN_S = 20.0
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
DISTURB_AFTER_S = 0.4
# Reloads come before what may destroy a checkpoint of the drill: rules that name it could not be applied any more.
ORDER = ("reload", "", "kill", "restart")
OUTPUT_MAX = 8 << 20

Progress = Callable[[int, int, Result], None]


class Guard(Protocol):
    """What puts the rules of a drill into the daemon. Without rules, one that does nothing."""

    has_rules: bool

    def monitor_pid(self) -> int:
        """Return the daemon's process, when need be after it was started again."""

    def apply(self, text: str) -> None:
        """Make them active."""

    def remove(self) -> None:
        """Make it as it was before."""

    def disturb(self, how: str) -> None:
        """Have the daemon reload, die or restart."""


class NoRules:
    """The guard of a drill that shows what every attempt does when nobody guards anything."""

    has_rules = False

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    def monitor_pid(self) -> int:
        """Return the stand-in's process."""
        return self.ground.idle_pid()

    def apply(self, text: str) -> None:
        """Apply nothing."""

    def remove(self) -> None:
        """Remove nothing."""

    def disturb(self, how: str) -> None:
        """Disturb nobody."""


@dataclass
class Running:
    """An attempt on its stage, and its process once it has one."""

    attempt: Attempt
    who: str
    stage: Stage
    program: str
    process: subprocess.Popen[bytes] | None = None
    output: bytes = b""
    began_s: float = 0.0


def expand(attempts: Sequence[Attempt], is_lab: bool) -> list[tuple[Attempt, str]]:
    """Return each attempt with each user as whom it is tried; what belongs into the lab only there."""
    return [(attempt, who) for attempt in attempts if is_lab or not attempt.lab_only for who in attempt.users]


class Drill:
    """One drill on one ground under one guard."""

    def __init__(self, ground: Ground, guard: Guard) -> None:
        self.ground, self.guard = ground, guard
        self.keep: set[int] = set()         # processes that are not an attempt's

    def run(self, attempts: Sequence[tuple[Attempt, str]], controls: Sequence[Control] = (),
            progress: Progress | None = None) -> list[Result]:
        """Try all and return what became of each, in the order given, the controls last.

        Raises: what the guard raises; then nothing of the rules is left.
        """
        become_subreaper()
        words = self.ground.words
        planned = [Running(attempt, who, self.ground.stage(attempt), words["attempt"]) for attempt, who in attempts]
        planned += [Running(control.attempt, who, self.ground.stage(control.attempt, control.is_protected),
                            words[control.program]) for control in controls for who in control.attempt.users]
        self.ground.sync()
        self.keep = set()
        try:
            return self.carry_out(planned, progress)
        finally:
            with undisturbed():
                for each in planned:
                    if each.process is not None:
                        end_group(each.process)
                self.keep = self.keep - {each.process.pid for each in planned if each.process is not None}
                self.sweep()
                self.guard.remove()

    def carry_out(self, planned: Sequence[Running], progress: Progress | None) -> list[Result]:
        """Begin what is older than the rules, apply them, finish it, do the others; what kills the daemon last."""
        for each in planned:
            if each.attempt.starts == "before":
                self.start(each)
                self.await_word(each)
                each.stage = each.stage.begin()
        self.guard.apply(rule_text([each.stage for each in planned], self.ground.words))
        results: dict[int, Result] = {}
        order = sorted(range(len(planned)), key=lambda index: (
            planned[index].attempt.starts != "before", ORDER.index(planned[index].attempt.meanwhile),
            planned[index].attempt.lab_only, planned[index].attempt.channel == "H12"))
        for index in order:
            results[index] = result = self.finish(planned[index])
            if progress is not None:
                progress(len(results), len(planned), result)
        return [results[index] for index in range(len(planned))]

    # -- one attempt

    def start(self, each: Running) -> None:
        """Start its process: a group and session of its own, as its user, in its folder."""
        is_user = each.who == "user"
        words = [f"monitor={self.guard.monitor_pid()}" if word.startswith("monitor=") else word
                 for word in each.stage.words]        # an attempt before this one may have ended it
        each.began_s = time.monotonic()
        each.process = subprocess.Popen(
            [each.program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=each.stage.folder, env=ENVIRONMENT, start_new_session=True,
            user=UNUSED_ID if is_user else None, group=UNUSED_ID if is_user else None,
            extra_groups=() if is_user else None, bufsize=0)

    def await_word(self, each: Running) -> None:
        """Wait until it says that it is prepared, or has ended."""
        self.collect(each, READY_WITHIN_S, b"ready\n")
        self.keep.add(each.process.pid if each.process is not None else 0)

    def finish(self, each: Running) -> Result:
        """Bring an attempt to its end and judge it."""
        if each.process is None:
            self.start(each)
        process = each.process
        assert process is not None and process.stdin is not None
        each.began_s = time.monotonic()
        with self.disturbed(each.attempt.meanwhile) as troubles:
            try:
                process.stdin.write(b"\n")
                process.stdin.close()
            except BrokenPipeError:
                pass            # it has ended already, which collect() sees
            is_ended = self.collect(each, each.attempt.timeout_s)
        seconds = time.monotonic() - each.began_s
        status = process.returncode if is_ended else None
        end_group(process)
        self.keep.discard(process.pid)
        if each.attempt.starts == "now":
            self.sweep()
        if troubles:
            return Result(each.attempt, each.who, BROKEN, f"{each.attempt.meanwhile}: {troubles[0]}", seconds)
        return self.judge(each, status, seconds)

    def judge(self, each: Running, status: int | None, seconds: float) -> Result:
        """Gather the proof."""
        stage, attempt = each.stage, each.attempt
        is_net = attempt.goal in ("connect", "send")
        has_secret = (self.ground.server.greeting(stage.is_guarded).strip() if is_net else stage.secret) in each.output
        ending = Ending(status, each.output, has_secret, is_changed=attempt.goal == "write" and stage.is_changed())
        if is_net:
            wait_s = HEARD_WITHIN_S if status == 0 else 0.02
            ending = replace(ending, is_heard=self.ground.server.has_heard(stage.token, stage.is_guarded, wait_s))
        outcome, reason = decide(attempt, ending, self.guard.has_rules)
        return Result(attempt, each.who, outcome, reason, seconds)

    def collect(self, each: Running, within_s: float, until: bytes = b"") -> bool:
        """Read what it prints until it ends, or has printed `until`, or the time is up; return whether it has ended."""
        process = each.process
        assert process is not None and process.stdout is not None
        if process.returncode is not None:
            return True
        out = process.stdout.fileno()
        os.set_blocking(out, False)
        deadline = time.monotonic() + within_s
        pidfd = os.pidfd_open(process.pid)
        waiting = select.poll()
        waiting.register(out, select.POLLIN)
        waiting.register(pidfd, select.POLLIN)
        try:
            while True:
                left_s = deadline - time.monotonic()
                ready = {fd for fd, _ in waiting.poll(max(0, left_s * 1000))}
                if out in ready:
                    try:
                        data = os.read(out, 1 << 16)
                    except BlockingIOError:
                        data = b""
                    if not data:
                        waiting.unregister(out)
                    elif len(each.output) < OUTPUT_MAX:
                        each.output += data
                    if until and until in each.output:
                        return False
                    continue
                if pidfd in ready:
                    process.wait()
                    return True
                if left_s <= 0:
                    return False
        finally:
            os.close(pidfd)

    @contextmanager
    def disturbed(self, how: str) -> Iterator[list[NbspdError]]:
        """Have something happen to the daemon while an attempt goes on; yields what will go wrong with that."""
        raised: list[NbspdError] = []
        if not how:
            yield raised
            return

        def disturb() -> None:
            time.sleep(DISTURB_AFTER_S)
            try:
                self.guard.disturb(how)
            except NbspdError as error:
                raised.append(error)

        thread = threading.Thread(target=disturb, name="drill-disturbance")
        thread.start()
        try:
            yield raised
        finally:
            thread.join()

    def sweep(self) -> None:
        """End whatever an attempt left running: we are the subreaper, so it is below us."""
        kept = {*self.keep, *((self.ground.idle.pid,) if self.ground.idle is not None else ())}
        for child in psutil.Process().children(recursive=True):
            if child.pid in kept or any(parent.pid in kept for parent in child_parents(child)):
                continue
            try:
                child.kill()
                child.wait(5)
            except psutil.Error:
                continue


def child_parents(process: psutil.Process) -> list[psutil.Process]:
    """Return the ancestors of a process, none when it is gone."""
    try:
        parents: list[psutil.Process] = process.parents()
        return parents
    except psutil.Error:
        return []


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill an attempt with everything in its group, and take it off the table."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass            # all of it has ended
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue


def become_subreaper() -> None:
    """Have orphans below us become our children, so that they can be found and ended (prctl(2), Linux 3.4)."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
