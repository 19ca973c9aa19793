"""Everything nbspd says when something is wrong: a cause, a remedy and an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

EXIT_OK = 0
EXIT_TOLD = 1       # the operator was told what to do
EXIT_USAGE = 2
EXIT_BUG = 3


class NbspdError(Exception):
    """An expected failure, said in one line of cause and one of remedy."""

    exit_code = EXIT_TOLD

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause}; {self.remedy}" if self.remedy else self.cause


class UsageError(NbspdError):
    """The command line or a request was malformed."""

    exit_code = EXIT_USAGE


class HostError(NbspdError):
    """This host lacks something that nbspd needs (BTF, bpffs, root, bcc, kernel)."""


class LoadError(NbspdError):
    """The kernel or bcc refused a program or a map."""


class ControlError(NbspdError):
    """The daemon could not be reached, or it refused the request."""


class JournalError(NbspdError):
    """The journal could not be opened, written or verified."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in the rules: where, what, and what would be right."""

    where: str      # "file:line:col", or "file" or a name when there is no position
    what: str
    right: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}"
        return f"{text}; {self.right}" if self.right else text


class RulesError(NbspdError):
    """One or more problems in the rules; nothing was applied."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the rules",
                         "mend them and run: nbsp check")
        self.problems = tuple(problems)
