"""Rule texts for the tests of the rules."""

from __future__ import annotations

from nbspd.errors import RulesError
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.model import RuleSet

HEAD = """\
version: 1
checkpoints:
  pooler: {exe: /usr/sbin/pgbouncer}
  agent: {exe: /opt/agent/agent}
  sudo: {exe: /usr/bin/sudo, stamp: children}
"""


def parsed(*texts: str) -> RuleSet:
    """Return the rule set of some texts, called a.yaml, b.yaml and so on."""
    return parse_sources([Source(f"{chr(97 + index)}.yaml", text) for index, text in enumerate(texts)])


def problems(*texts: str) -> list[str]:
    """Return every problem of some texts, as it is printed."""
    try:
        parsed(*texts)
    except RulesError as error:
        return [str(problem) for problem in error.problems]
    return []


def checkpoint(text: str) -> str:
    """Return a file with one checkpoint of these fields."""
    return f"version: 1\ncheckpoints:\n  x: {{{text}}}\n"


def resource(text: str) -> str:
    """Return a file with one resource of these fields."""
    return f"version: 1\nresources:\n  x: {{{text}}}\n"


def rule(text: str) -> str:
    """Return a file with one rule of these fields, for the resource db and the checkpoints of HEAD."""
    return f"{HEAD}resources:\n  db: {{tcp: ['127.0.0.1:5432']}}\nrules:\n  - {{{text}}}\n"
