"""nbsp completion: the script that teaches a shell our verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ..errors import UsageError
from .verb import Answer, verb

SHELLS = ("bash", "zsh", "fish")


@verb("completion", 'nbsp completion bash > ~/.local/share/bash-completion/completions/nbsp', is_remote=False,
      options=[click.Argument(["shell"], type=click.Choice(SHELLS))])
def completion(shell: str) -> Answer:
    """Print the completion script for a shell. The Debian package installs it already."""
    from .nbsp import create
    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"no completion for {shell}", "one of: " + ", ".join(SHELLS))
    script = found(create(), {}, "nbsp", "_NBSP_COMPLETE").source()
    return Answer({"shell": shell, "script": script}, script)
