"""What no rule names works as before, also on the file systems that hold protected objects."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .example import Applied

PLACES = ("/var/tmp", "/run", "/dev/shm")
TEXT = """version: 1
resources:
  kept:
    trees: [%s]
rules:
  - id: kept
    protect: kept
    only-through: []
    owner: lab@example.org
    reason: "one tree on each file system"
""" % ", ".join(f"{place}/kept" for place in PLACES)
# every call that takes a name which nothing has yet, and then those that take one away
NEW_NAMES = """set -e
cd "$(mktemp -d %s/free.XXXXXX)"
touch file
mkdir folder
mknod null c 1 3
mkfifo fifo
ln -s nowhere symlink
ln file link
mv link folder/moved
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
python3 -c 'import os; os.close(os.open(".", os.O_TMPFILE | os.O_RDWR))'
rm -r file folder null fifo symlink socket
rmdir "$PWD"
"""


@pytest.fixture
def applied(guest: Guest) -> Iterator[Applied]:
    """A protected tree on ext4 and on two tmpfs."""
    guest.run(["mkdir", *(f"{place}/kept" for place in PLACES)], check=True)
    with Applied(guest, "90-kept.yaml", TEXT) as applied:
        yield applied
    guest.run(["rmdir", *(f"{place}/kept" for place in PLACES)], check=True)


@pytest.mark.parametrize("place", PLACES)
def test_new_names_on_a_guarded_file_system(guest: Guest, applied: Applied, place: str) -> None:
    result = guest.run(NEW_NAMES % place)
    assert result.is_done, result.output


@pytest.mark.parametrize("place", PLACES)
def test_new_names_in_the_tree(guest: Guest, applied: Applied, place: str) -> None:
    if guest.tier == "socket":
        assert guest.run(f"touch {place}/kept/file && rm {place}/kept/file").is_done    # coverage says: observed
        return
    for command in ("touch file", "mkdir folder", "mknod null c 1 3", "ln -s nowhere symlink", "ln ../free link"):
        result = guest.run(f"touch {place}/free && cd {place}/kept && {command}; status=$?; rm ../free; exit $status")
        assert "not permitted" in result.output, command
