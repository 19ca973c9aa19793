"""What every verb of nbsp shares: an answer that is both one object and words, --json, --debug, an example."""

from __future__ import annotations

import importlib
import json
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import click

from ..errors import EXIT_OK
from ..paths import RUNTIME

FOLDER = click.Path(path_type=Path, readable=False)     # who may not read it hears so from whoever opens it
UNITS_S = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Answer:
    """What a verb found out: the object for --json, the words for people, and the exit code."""

    data: Mapping[str, Any]
    text: str
    exit_code: int = EXIT_OK


def verb(name: str, example: str, options: Sequence[click.Parameter] = (),
         is_remote: bool = True) -> Callable[[Callable[..., Answer]], click.Command]:
    """Make a click command of a function that returns an Answer; its docstring is the help.

    `is_remote` verbs talk to the daemon and take --runtime, given to the function as `socket`.
    """
    def decorate(function: Callable[..., Answer]) -> click.Command:
        return click.Command(name, params=[*options, *shared_options(is_remote)], callback=answering(function),
                             help=function.__doc__, epilog=f"\b\nExample:\n  {example}",
                             context_settings={"help_option_names": ["-h", "--help"]})
    return decorate


def shared_options(is_remote: bool) -> list[click.Parameter]:
    """Return the options that every verb takes."""
    options: list[click.Parameter] = []
    if is_remote:
        options.append(click.Option(["--runtime"], type=FOLDER, default=RUNTIME, show_default=True,
                                    metavar="DIR", help="Where the daemon's control socket is."))
    options.append(click.Option(["--json", "is_json"], is_flag=True, help="One JSON object instead of words."))
    options.append(click.Option(["--debug", "is_debug"], is_flag=True, help="Show the traceback of a failure."))
    return options


def answering(function: Callable[..., Answer]) -> Callable[..., int]:
    """Return a click callback that prints the function's answer and returns its exit code."""
    def callback(is_json: bool, is_debug: bool, **arguments: Any) -> int:
        if "runtime" in arguments:
            arguments["socket"] = arguments.pop("runtime") / "control.sock"
        answer = function(**arguments)
        if is_json:
            click.echo(json.dumps(answer.data))
        elif answer.text:
            click.echo(answer.text)
        return answer.exit_code
    return callback


@dataclass(frozen=True)
class Entry:
    """Where a verb lives, and its line in nbsp --help."""

    module: str
    command: str
    short: str


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are asked for: nbsp --help imports none."""

    def __init__(self, entries: Mapping[str, Entry], **settings: Any) -> None:
        super().__init__(**settings)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb's command, importing its module."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry.module, __package__), entry.command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs with their short texts, from the table alone."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, entry.short) for name, entry in self.entries.items()])


class Duration(click.ParamType):
    """A time span such as 60, 60s, 5m, 2h; the value is in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip())
        if match is None or match[2] not in UNITS_S:
            self.fail(f"{value!r} is not a time span; write 60s, 5m, 2h or 1d", param, ctx)
        return float(match[1]) * UNITS_S[match[2]]


class Moment(click.ParamType):
    """A point in time: 2h (ago), 2026-11-22, 2026-11-22T16:00, or seconds since 1970 with an @; seconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds since 1970; times without a zone are local."""
        text = str(value).strip()
        try:
            if text.startswith("@"):
                return float(text[1:])
            if re.fullmatch(r"\d+(\.\d+)?\s*[a-z]+", text):
                return time.time() - Duration().convert(text, param, ctx)
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            self.fail(f"{value!r} is not a time; write 2h, 2026-11-22T16:00 or @1795363200", param, ctx)
