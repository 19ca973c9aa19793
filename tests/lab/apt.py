"""Debian packages of any suite, from the mirrors that this machine's own apt is set up with."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from .errors import LabError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def call(command: list[str], timeout_s: float, **settings: str) -> str:
    """Run a command and return what it printed; raise LabError with its last lines when it fails."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", **settings}
    try:
        done = subprocess.run(command, env=environment, timeout=timeout_s, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed; run tests/install-deps") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{command[0]} took more than {timeout_s:.0f} s: {' '.join(command)}") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise LabError(f"exit status {done.returncode} of {' '.join(command)}\n{tail}")
    return done.stdout


def mirrors() -> tuple[str, str]:
    """Return the URLs of the main and of the security archive that this machine uses."""
    listing = call(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"], 60)
    described = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE)
    name = described[1] if described else "none"
    found = {suite: address for address, suite in (line.split() for line in listing.splitlines())}
    if name not in found:
        raise LabError(f"apt has no source for this machine's release ({name}): the lab needs Debian 12 or 13")
    return found[name], found.get(f"{name}-security", "")


def sources(*suites: str) -> list[str]:
    """Return lines for a sources.list with these suites; one whose archive this machine does not use is left out."""
    main, security = mirrors()
    pairs = [(security if suite.endswith("-security") else main, suite) for suite in suites]
    return [f"deb [signed-by={KEYRING}] {address} {suite} main" for address, suite in pairs if address]


def download(package: str, pattern: str, suites: tuple[str, ...], folder: Path) -> list[Path]:
    """Fetch into `folder` what installing `package` of the first suite takes, as far as the names match `pattern`."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text("\n".join(sources(*suites)) + "\n", encoding="ascii")
    (folder / "apt.conf").write_text(
        f'Dir::State "{folder}"; Dir::State::status "/dev/null"; Dir::State::lists "{folder}/lists";\n'
        f'Dir::Cache "{folder}/cache"; Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "-";\n'
        'Acquire::Languages "none"; Acquire::Retries "3"; APT::Sandbox::User "root";\n', encoding="ascii")
    ours = str(folder / "apt.conf")
    call(["apt-get", "update", "-q"], 300, APT_CONFIG=ours)
    plan = call(["apt-get", "install", "-s", "--no-install-recommends", "-t", suites[0], package], 60, APT_CONFIG=ours)
    found = re.findall(r"^Inst (\S+) \((\S+)", plan, re.MULTILINE)
    names = [f"{name}={version}" for name, version in found if re.fullmatch(pattern, name)]
    if not names:
        raise LabError(f"{package} of {suites[0]} brings no package named like {pattern}:\n{plan}")
    call(["sh", "-c", 'cd "$0" && exec apt-get download -q "$@"', str(folder), *names], 600, APT_CONFIG=ours)
    return sorted(folder.glob("*.deb"))
