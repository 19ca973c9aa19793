"""The guest is what DESIGN.md supposes of a host: stock kernel, BTF, cgroup-v2, bpffs, bcc, no kernel headers."""

from __future__ import annotations

import pytest

from . import Guest, LabError

PROGRAMS = ("/usr/sbin/pgbouncer", "/usr/sbin/squid", "/usr/sbin/sshd", "/usr/lib/postgresql/15/bin/postgres",
            "/usr/bin/sudo", "/usr/bin/gcc")


def test_kernel_is_the_one_asked_for(guest: Guest) -> None:
    release = guest.run("uname -r", check=True).output.strip()
    assert release == guest.release
    assert guest.kernel == "newest" or release.startswith(f"{guest.kernel}.")


def test_bpf_is_an_active_lsm_only_in_tier_lsm(guest: Guest) -> None:
    active = guest.get("/sys/kernel/security/lsm").strip().split(",")
    assert ("bpf" in active) == (guest.tier == "lsm")
    assert {"lockdown", "landlock", "yama", "apparmor"} <= set(active)


def test_host_offers_what_nbspd_needs(guest: Guest) -> None:
    assert guest.run("test -s /sys/kernel/btf/vmlinux").is_done
    mounts = guest.get("/proc/mounts")
    assert " /sys/fs/cgroup cgroup2 " in mounts
    assert " /sys/fs/bpf bpf " in mounts
    assert guest.run("/usr/bin/python3 -c 'import bcc'").is_done


def test_there_are_no_kernel_headers(guest: Guest) -> None:
    assert guest.run("ls -d /usr/src/linux-* /lib/modules/*/build").status == 2


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_of_the_example_rules_is_installed(guest: Guest, program: str) -> None:
    assert guest.run(["test", "-x", program]).is_done


def test_nbspd_is_installed_by_its_package(guest: Guest) -> None:
    assert guest.run("dpkg-query -W -f '${Status}' nbspd").output == "install ok installed"
    assert guest.run("nbspd --version").output.startswith("nbspd ")
    assert ("--tier socket" in guest.run("systemctl cat nbspd").output) == (guest.tier == "socket")


def test_programs_made_for_another_kernel_here_are_what_nbspd_would_make_there(guest: Guest) -> None:
    """They are found by nbspd's own digest. A guest of tier socket is given none and compiles, as on a user's host."""
    notes = guest.run("nbsp journal --json", check=True).output
    loaded = guest.run("nbsp status", check=True).output
    assert "compiling anew" not in notes
    assert guest.tier == "socket" or "from the cache in" in loaded or "adopted in" in loaded, loaded


def test_status_and_output_come_back(guest: Guest) -> None:
    result = guest.run("echo out; echo err >&2; exit 7")
    assert (result.status, result.output) == (7, "out\nerr\n")
    assert guest.run("kill -TERM $$").status == 128 + 15
    assert guest.run("id -un").output == "root\n"


def test_input_and_large_output_come_through(guest: Guest) -> None:
    text = "".join(f"{number}\n" for number in range(50_000))
    assert guest.run("cat", stdin=text).output == text
    guest.put("/tmp/lab/put", "content\n", 0o600)
    assert guest.get("/tmp/lab/put") == "content\n"
    assert guest.run("stat -c %a /tmp/lab/put; rm -r /tmp/lab").output == "600\n"


def test_command_that_hangs_is_ended(guest: Guest) -> None:
    assert guest.run("echo begun; sleep 600", timeout_s=3).status == 124
    assert guest.run("true").is_done


def test_background_process_does_not_hold_up_its_command(guest: Guest) -> None:
    result = guest.run("sleep 300 & echo $!", timeout_s=30)
    assert result.is_done
    assert guest.run(f"kill {result.output}").is_done


def test_failed_command_is_an_error_where_success_was_wanted(guest: Guest) -> None:
    with pytest.raises(LabError, match="exit status 1 of: false"):
        guest.run("false", check=True)


def test_disk_survives_a_reboot() -> None:
    with Guest("6.12", "lsm", installs=False) as guest:
        before = guest.get("/proc/sys/kernel/random/boot_id")
        guest.put("/root/kept", "kept\n")
        guest.reboot()
        assert guest.get("/proc/sys/kernel/random/boot_id") != before
        assert guest.get("/root/kept") == "kept\n"
