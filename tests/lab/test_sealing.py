"""Sealed checkpoints: their programs change by package managers only, their processes run only their own code."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .example import Applied, answer, assert_refused

RULE = "sealed-secret"
SECRET = "/srv/sealed/secret"
AGENT = "/opt/lab-agent/bin/agent"
RULES = """version: 1
checkpoints:
  agent: {exe: %s%s}
resources:
  sealed-secret: {files: [%s]}
rules:
  - {id: sealed-secret, protect: sealed-secret, only-through: [agent], owner: lab@example.org, reason: "for the test"%s}
"""
PREPARE = f"""set -e
mkdir -p /srv/sealed && echo 4711 > {SECRET} && chmod 644 {SECRET}
for version in 1 2; do
    root=/root/lab-agent-$version
    mkdir -p $root/DEBIAN $root/opt/lab-agent/bin
    cp /usr/bin/python3.11 $root{AGENT}
    printf 'Package: lab-agent\\nVersion: %s\\nArchitecture: amd64\\nMaintainer: lab\\nDescription: a checkpoint\\n' \\
        $version > $root/DEBIAN/control
    dpkg-deb --build -Znone $root /root/lab-agent-$version.deb
done
dpkg -i /root/lab-agent-1.deb
"""
READ = f"print(open('{SECRET}').read().strip())"
MAP = "import mmap; kept = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC); "
WAIT = "import sys; print('ready', flush=True); sys.stdin.readline(); "


@pytest.fixture(scope="module", autouse=True)
def installed(guest: Guest) -> Iterator[None]:
    """The agent is a copy of Python, since it has to do as it is told; it comes by a package."""
    if guest.tier == "socket":
        yield
        return
    guest.run(PREPARE, 300, check=True)
    yield
    guest.run("dpkg -P lab-agent; rm -rf /root/lab-agent-* /srv/sealed", 60)


def applied(guest: Guest, fields: str = "", rule: str = "") -> Applied:
    return Applied(guest, "50-sealed.yaml", RULES % (AGENT, fields, SECRET, rule))


def agent(guest: Guest, program: str, by: str = "") -> "tuple[int, str]":
    done = guest.run(f"{by} {AGENT} -I -S -c \"{program}\"", 60)
    return done.status, done.output


@pytest.fixture(autouse=True)
def has_seals(guest: Guest) -> None:
    if guest.tier == "socket":
        pytest.skip("tier socket has no hook by which a stamped process could be sealed: coverage says open")


def test_a_checkpoints_program_is_changed_by_the_package_manager_only(guest: Guest) -> None:
    with applied(guest) as rules:
        assert agent(guest, READ) == (0, "4711\n")
        for act in (f"cp /usr/bin/true {AGENT}", f"mv /root/lab-agent-2{AGENT} {AGENT}", f"rm -f {AGENT}",
                    f"chmod 700 {AGENT}", f"ln {AGENT} {AGENT}-2", f"chattr +i {AGENT}", f"truncate -s 0 {AGENT}"):
            assert_refused(guest.run(act, 30))
        assert rules.violations("sealed", object=AGENT)[0]["missing"] == ["updater:/usr/bin/dpkg"]
        guest.run("dpkg -i /root/lab-agent-2.deb", 60, check=True)
        assert guest.run("dpkg-query -W -f '${Version}' lab-agent").output == "2"
        # the daemon is told, and the new program is the checkpoint a moment later
        guest.run(f"for try in $(seq 100); do {AGENT} -I -S -c \"{READ}\" && exit 0; sleep 0.2; done; exit 1", 60,
                  check=True)
        assert_refused(guest.run(f"cp /usr/bin/true {AGENT}", 30))
    guest.run(f"cp {AGENT} /root/copy && cp /root/copy {AGENT} && rm /root/copy", check=True)     # free again


def test_a_checkpoint_runs_no_code_that_is_not_its_own(guest: Guest) -> None:
    assert agent(guest, MAP + READ) == (0, "4711\n"), "it works without the rule"
    with applied(guest) as rules:
        assert agent(guest, READ) == (0, "4711\n")
        status, said = agent(guest, MAP + READ)
        assert status == 1 and "Operation not permitted" in said and "4711" not in said
        record = rules.violations("sealed", channel="code")[0]
        assert record["object"] == "memory of no file" and record["verdict"] == "denied"
        assert "list it under code:" in answer(guest, f"explain {record['seq']}")["story"]


def test_memory_may_be_code_where_the_rules_say_so(guest: Guest) -> None:
    with applied(guest, ", code: [system, anonymous]"):
        assert agent(guest, MAP + READ) == (0, "4711\n")


def test_whoever_is_not_the_checkpoint_runs_what_he_likes_and_stays_outside(guest: Guest) -> None:
    become = "import os; os.setuid(65534); "
    with applied(guest, ", user: nobody"):
        assert agent(guest, become + READ) == (0, "4711\n"), "root starts it, it becomes the user: it is the checkpoint"
        assert agent(guest, MAP) == (0, ""), "root's own use of the program is nobody's business"
        status, said = agent(guest, MAP + become + READ)
        assert status == 1 and "Operation not permitted" in said, "the code that came in before is still there"


def test_who_runs_already_is_looked_at(guest: Guest) -> None:
    for name, before in (("clean", ""), ("foreign", MAP)):
        guest.put(f"/root/{name}.py", f"{before}{WAIT}{READ}\n")
        guest.run(f"(sleep 600 | exec {AGENT} -I -S /root/{name}.py >/root/{name}.out 2>&1) & echo", 30, check=True)
        guest.run(f"for try in $(seq 100); do grep -q ready /root/{name}.out && exit 0; sleep 0.2; done; exit 1", 60,
                  check=True)
    try:
        with applied(guest):
            pids = {name: guest.run(f"pgrep -f '^{AGENT} -I -S /root/{name}.py'", 30, check=True).output.strip()
                    for name in ("clean", "foreign")}
            stamps = {name: answer(guest, f"lineage {pid}")["processes"][0]["stamps"] for name, pid in pids.items()}
            assert stamps == {"clean": ["agent"], "foreign": []}
            notes = answer(guest, "journal --limit 50")["records"]
            assert any(f"process {pids['foreign']} " in note["text"] and "is not agent: it may execute" in note["text"]
                       for note in notes if note["kind"] == "note")
    finally:
        guest.run(f"pkill -f '^{AGENT}'; pkill -f '^sleep 600'; rm -f /root/clean.* /root/foreign.*")


def test_a_stamped_process_leaves_no_dump_and_its_death_is_told(guest: Guest) -> None:
    dump = "ulimit -c unlimited; cd /srv/sealed; cat /proc/sys/kernel/core_pattern; "
    guest.run("sysctl -q kernel.core_pattern=/srv/sealed/core", check=True)
    abort = f"{READ}; import os; os.abort()"
    try:
        guest.run(f"{dump} {AGENT} -I -S -c \"{abort}\"", 60)
        assert guest.run("ls /srv/sealed | grep core && rm /srv/sealed/core*").is_done, "it works without the rule"
        with applied(guest) as rules:
            done = guest.run(f"{dump} {AGENT} -I -S -c \"{abort}\"", 60)
            assert done.status == 128 + 9
            assert guest.run("ls /srv/sealed | grep core").status == 1
            assert rules.violations("sealed", channel="dump")[0]["verdict"] == "killed"
    finally:
        guest.run("sysctl -q kernel.core_pattern=core; rm -f /srv/sealed/core*")


def test_a_rule_in_audit_mode_seals_nothing(guest: Guest) -> None:
    with applied(guest, rule=", mode: audit"):
        assert agent(guest, MAP + READ) == (0, "4711\n")
        guest.run(f"touch {AGENT}", check=True)
