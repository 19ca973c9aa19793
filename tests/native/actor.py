"""A process inside the guarded cgroup that does what it is told; see acts.py for what it can."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

ACTS = Path(__file__).with_name("acts.py")
PYTHON = Path("/usr/bin/python3")
ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """How an act went: errno 0 and a value, or an errno (None: a timeout) and words."""

    errno: int | None
    value: Any = None
    error: str = ""

    @property
    def is_denied(self) -> bool:
        """Return whether it failed as nbspd lets things fail, which is with EPERM and nothing else."""
        return self.errno == 1

    @property
    def is_allowed(self) -> bool:
        """Return whether it worked."""
        return self.errno == 0


class Dead(Exception):
    """The process of an actor has ended; the exit status is the argument (negative: the signal)."""

    def __str__(self) -> str:
        return f"a process of ours ended with status {self.args[0]}"


def copy_program(path: Path) -> Path:
    """Make a program of that name which a rule can call a checkpoint: a copy of Python, an ELF file like any other."""
    shutil.copyfile(os.path.realpath(PYTHON), path)
    path.chmod(0o755)
    return path


class Actor:
    """Runs acts.py under a program."""

    def __init__(self, program: Path, prepare: Callable[[], None], folder: Path) -> None:
        self.process = subprocess.Popen([program, "-I", "-S", ACTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        preexec_fn=prepare, cwd=folder)
        self.pid = self.process.pid

    def start(self, act: str, *arguments: Any, **named: Any) -> None:
        """Ask for an act without waiting for the answer."""
        assert self.process.stdin is not None
        request = json.dumps({"act": act, "args": arguments, "named": named})
        try:
            self.process.stdin.write(request.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Dead(self.process.wait()) from error

    def finish(self, timeout_s: float = ANSWER_TIMEOUT_S) -> Outcome:
        """Return how the act went that was started. Raises Dead when the process ended instead."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout_s)[0]:
            raise TimeoutError(f"pid {self.pid} did not answer within {timeout_s} s")
        line = self.process.stdout.readline()
        if not line:
            raise Dead(self.process.wait())
        return Outcome(**json.loads(line))

    def do(self, act: str, *arguments: Any, **named: Any) -> Outcome:
        """Do it and return how it went. Raises Dead when the process ended instead."""
        self.start(act, *arguments, **named)
        return self.finish()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue
