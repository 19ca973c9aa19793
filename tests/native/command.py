"""Runs the checkout's nbspd or nbsp: python3 -m tests.native.command nbspd --rules DIR ..."""

from __future__ import annotations

import sys

from .. import conftest

assert conftest.ROOT        # importing it makes the folder daemon/ importable as nbspd


def main() -> int:
    """Become the command that the first argument names."""
    name = sys.argv.pop(1)
    sys.argv[0] = name
    if name == "nbspd":
        from nbspd.cli.nbspd import main as nbspd
        return nbspd()
    from nbspd.cli.nbsp import main as nbsp
    return nbsp()


if __name__ == "__main__":
    sys.exit(main())
