"""nbsp: the operator's command. Verbs are imported when they are used, so that help and completion come at once."""

from __future__ import annotations

import sys
from typing import Sequence

import click

from ..errors import EXIT_USAGE, ControlError, NbspdError, UsageError
from .errors import speak
from .verb import Entry, LazyGroup

VERBS = {
    "doctor": Entry(".doctor", "doctor", "what this host offers and lacks, with remedies"),
    "check": Entry(".check", "check", "validate rules, without root or a daemon"),
    "reload": Entry(".change", "reload", "apply the rules as they are now, all or nothing"),
    "confirm": Entry(".change", "confirm", "keep what reload --confirm-within applied"),
    "rollback": Entry(".change", "rollback", "go back to the generation before"),
    "status": Entry(".status", "status", "generation, tier, rules, counters, gaps"),
    "coverage": Entry(".coverage", "coverage", "channels and resources: enforced, observed, absent or open"),
    "journal": Entry(".journal", "journal", "what happened; journal verify checks the chain"),
    "explain": Entry(".explain", "explain", "why an access was or would be denied, and how to do it right"),
    "lineage": Entry(".lineage", "lineage", "a process's ancestry, operator and stamps"),
    "audit": Entry(".audit", "audit", "what is older than the rules or held in spite of them; --close ends it"),
    "drill": Entry(".drill", "drill", "attempts the catalogue's bypasses here and reports"),
    "maintain": Entry(".change", "maintain", "let nbspd itself be changed for a while, journaled"),
    "detach": Entry(".change", "detach", "end enforcement, journaled"),
    "completion": Entry(".completion", "completion", "the completion script of a shell"),
}

EPILOG = "\b\nExample:\n  nbsp check && sudo nbsp reload --confirm-within 60s && sudo nbsp confirm"


def create() -> LazyGroup:
    """Return the command nbsp."""
    group = LazyGroup(VERBS, name="nbsp", invoke_without_command=True, epilog=EPILOG,
                      help="Look at and steer nbspd, which makes declared checkpoints mandatory on this host.",
                      context_settings={"help_option_names": ["-h", "--help"]})
    group.params.append(click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True,
                                     callback=show_version, help="Show the version and exit."))
    group.callback = click.pass_context(show_help)
    return group


def show_help(ctx: click.Context) -> int:
    """Say what there is when no verb was given; that is a usage error."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
    return EXIT_USAGE


def show_version(ctx: click.Context, _option: click.Parameter, is_wanted: bool) -> None:
    """Print the version."""
    if is_wanted:
        from .. import __version__
        click.echo(f"nbsp {__version__}")
        ctx.exit()


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Raises NbspdError; what click refuses is a UsageError."""
    try:
        code = create().main(list(arguments), prog_name="nbsp", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "nbsp"
        raise UsageError(error.format_message(), f"see: {command} --help") from error
    except ControlError as error:
        from .permission import refuse
        refuse(error, arguments)
    except click.ClickException as error:
        raise NbspdError(error.format_message()) from error
    except click.Abort as error:
        raise KeyboardInterrupt from error
    return int(code or 0)


def main() -> int:
    """Run nbsp with the arguments of this process; returns the exit code."""
    arguments = sys.argv[1:]
    return speak("nbsp", lambda: run(arguments), "--json" in arguments, "--debug" in arguments)
