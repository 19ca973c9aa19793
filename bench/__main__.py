"""python3 -m bench [--tier T] [start] [reload]: run as root; prints a table, then JSON on the last line."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict

BENCHES = ("start", "reload")
INSIDE = "NBSPD_BENCH_INSIDE"       # set in the network namespace that was made for this run


def main() -> int:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python3 -m bench", description="Measures nbspd on this machine's kernel.")
    parser.add_argument("--tier", default="auto", choices=("auto", "lsm", "fmod_ret", "socket"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHES)} (default: all)")
    options = parser.parse_args()
    if not set(options.names) <= set(BENCHES):
        parser.error(f"there are only {', '.join(BENCHES)}")
    if os.geteuid():
        parser.error("run as root")
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-m", "bench", *sys.argv[1:]])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    from . import figures
    found = [figure for name in options.names or BENCHES
             for figure in importlib.import_module(f"bench.{name}").run(options.tier)]
    print(f"kernel {os.uname().release}, {os.cpu_count()} processors, commit {commit()}\n")
    print(figures.table(found))
    print()
    print(json.dumps({"kernel": os.uname().release, "processors": os.cpu_count(), "commit": commit(),
                      "figures": [asdict(figure) for figure in found]}))
    return 0


def commit() -> str:
    """Return the commit of the checkout, "" without git."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
