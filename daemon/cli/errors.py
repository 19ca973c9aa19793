"""The one place where an exception becomes words and an exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any, Callable

from ..errors import EXIT_BUG, EXIT_OK, EXIT_TOLD, NbspdError, RulesError
from .table import clean


def speak(program: str, run: Callable[[], int], is_json: bool = False, is_debug: bool = False,
          is_logged: bool = False) -> int:
    """Run a command and return its exit code; whatever it raises is said once, on one line with its remedy.

    With `is_json` the failure is one object on stdout, else words on stderr. `is_logged`: stderr is kept, so the
    traceback of a bug goes there and not into a file. The exit codes are those of errors.py.
    """
    try:
        code = run()
        sys.stdout.flush()
        return code
    except NbspdError as error:
        say(program, error_object(error), is_json)
        if is_debug:
            traceback.print_exc()
        return error.exit_code
    except BrokenPipeError:                 # nbsp journal | head: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt:
        say(program, {"cause": "interrupted", "remedy": "", "problems": []}, is_json)
        return EXIT_TOLD
    except Exception as error:              # the edge: nothing above us would say it
        say(program, bug_object(error, is_debug or is_logged), is_json)
        return EXIT_BUG


def error_object(error: NbspdError) -> dict[str, Any]:
    """Return what --json shows of an expected failure."""
    problems = error.problems if isinstance(error, RulesError) else ()
    return {"cause": error.cause, "remedy": error.remedy,
            "problems": [{"where": p.where, "what": p.what, "right": p.right} for p in problems]}


def bug_object(error: Exception, is_shown: bool) -> dict[str, Any]:
    """Return what is said of a failure that is ours, after its traceback was shown or written to a file."""
    cause = f"this is a bug of ours: {type(error).__name__}: {error}"
    if is_shown:
        traceback.print_exc()
        return {"cause": cause, "remedy": "report it with the traceback above", "problems": []}
    import tempfile     # not for the daemon
    try:
        with tempfile.NamedTemporaryFile("w", prefix="nbsp-", suffix=".traceback", delete=False) as file:
            traceback.print_exc(file=file)
    except OSError:
        return {"cause": cause, "remedy": "run it again with --debug and report the traceback", "problems": []}
    return {"cause": cause, "remedy": f"report it with the traceback in {file.name}", "problems": []}


def say(program: str, error: dict[str, Any], is_json: bool) -> None:
    """Say one failure. Under systemd each line carries its priority for the journal."""
    if is_json:
        print(json.dumps({"error": error}), flush=True)
        return
    mark = "<3>" if "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty() else ""
    for problem in error["problems"]:
        right = f"; {problem['right']}" if problem["right"] else ""
        print(mark + clean(f"{problem['where']}: {problem['what']}{right}"), file=sys.stderr)
    print(mark + clean(f"{program}: {error['cause']}"), file=sys.stderr)
    if error["remedy"]:
        print(mark + clean(f"  remedy: {error['remedy']}"), file=sys.stderr)
