"""rules/30: SSH host keys are readable only by sshd."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .example import Applied, as_alice, assert_refused, assert_told, perform

READ, WRITE = "ssh-host-keys-read", "ssh-host-keys-write"
KEY = "/etc/ssh/ssh_host_ed25519_key"
MISSING = "/etc/ssh/ssh_host_ecdsa_key"
SSH = ("runuser -u alice -- ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
       "-o LogLevel=ERROR")
LOGINS = f"""set -e
ssh-keygen -A
rm -f {MISSING} {MISSING}.pub
rm -rf /home/alice/.ssh
install -d -m 700 -o alice -g alice /home/alice/.ssh
runuser -u alice -- ssh-keygen -q -t ed25519 -N '' -f /home/alice/.ssh/id_ed25519
install -m 600 -o alice -g alice /home/alice/.ssh/id_ed25519.pub /home/alice/.ssh/authorized_keys
install -d -m 700 /root/.ssh
install -m 600 /home/alice/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
systemctl restart ssh
"""


@pytest.fixture(scope="module")
def applied(guest: Guest) -> Iterator[Applied]:
    """sshd runs before the rules come; one key is missing, as it may be after an installation."""
    guest.run(LOGINS, 180, check=True)
    try:
        with Applied.shipped(guest, "30-ssh-host-keys.yaml") as applied:
            yield applied
    finally:
        guest.run("systemctl stop ssh; rm -rf /root/.ssh /home/alice/.ssh", 60)


def assert_login_works(guest: Guest) -> None:
    done = guest.run(f"{SSH} alice@127.0.0.1 id -un", 60)
    assert (done.status, done.output) == (0, "alice\n")


def test_login_works(guest: Guest, applied: Applied) -> None:
    assert_login_works(guest)


def test_login_works_after_a_restart(guest: Guest, applied: Applied) -> None:
    guest.run("systemctl restart ssh", 60, check=True)
    assert_login_works(guest)


def test_reading_a_key_is_refused_and_told(guest: Guest, applied: Applied) -> None:
    done = guest.run(as_alice(["cat", KEY]), 30)
    if guest.tier == "socket":
        assert done.is_done
        return
    assert_refused(done)
    assert "PRIVATE KEY" not in done.output
    record = applied.violations(READ, object=KEY, comm="cat")[-1]
    assert_told(record, READ, ["sshd"])
    assert record["action"] == "read"


def test_root_who_came_by_ssh_is_refused_too(guest: Guest, applied: Applied) -> None:
    done = guest.run(f"{SSH} root@127.0.0.1 cp {KEY} /root/stolen", 60)
    if guest.tier == "socket":
        assert guest.run("rm /root/stolen").is_done
        return
    assert_refused(done)
    record = applied.violations(READ, object=KEY, comm="cp")[-1]
    assert_told(record, READ, ["sshd"], "root")
    assert "sshd" in {step["comm"] for step in record["ancestry"]}
    assert "stamps" not in record


def test_every_name_of_a_key_is_closed(guest: Guest, applied: Applied) -> None:
    acts = [["read", KEY], ["through-symlink", KEY, "/root/alias"], ["through-root", KEY], ["through-o-path", KEY],
            ["link", KEY, "/etc/ssh/alias"], ["rename", KEY, "/etc/ssh/alias"],
            ["bind-mount", "/etc/ssh", "ssh_host_ed25519_key"]]
    if guest.tier == "socket":
        assert perform(guest, acts[:1]) == ["allowed"]
        return
    assert dict(zip(map(str, acts), perform(guest, acts))) == {str(act): "EPERM" for act in acts}
    assert_refused(guest.run(as_alice(["ssh-keygen", "-y", "-f", KEY]), 30))


def test_keys_are_replaced_only_by_ssh_keygen(guest: Guest, applied: Applied) -> None:
    if guest.tier != "socket":
        acts = [["write", KEY], ["truncate", KEY], ["unlink", KEY], ["chmod", KEY], ["move-in", "/etc/ssh/mine", KEY],
                ["symlink-over", "/etc/ssh/mine", KEY], ["exchange", "/etc/ssh/mine", KEY],
                ["create", MISSING], ["symlink", MISSING]]
        assert dict(zip(map(str, acts), perform(guest, acts))) == {str(act): "EPERM" for act in acts}
        assert_told(applied.violations(WRITE, channel="unlink")[-1], WRITE, ["ssh-keygen"])
    guest.run("ssh-keygen -A", 60, check=True)
    assert guest.run(["test", "-s", MISSING]).is_done
    assert guest.run(["cat", MISSING]).is_done == (guest.tier == "socket")
    assert_login_works(guest)


def test_coverage_says_what_is_enforced(guest: Guest, applied: Applied) -> None:
    if guest.tier == "socket":
        assert applied.coverage(READ)["open"] == "open" and not applied.state(READ).startswith("enforced")
    else:
        assert applied.coverage(READ)["open"] == "enforced" and applied.state(READ).startswith("enforced")
