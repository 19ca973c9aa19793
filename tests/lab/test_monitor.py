"""The monitor guards itself: root may do none of this to it, systemd and the operator's own ways go on working."""

from __future__ import annotations

import json
from typing import Iterator

import pytest

from . import Guest
from .example import answer

EPERM, DONE = "Operation not permitted", 0
STATE = "/var/lib/nbspd/lab"
# what each act is done to, with a positive control: the same to a process, file or cgroup of nobody in particular
PREPARE = """set -e
systemctl start nbspd
systemd-run -q --unit=lab-idle sleep 3600
mkdir -p /root/lab/folder /sys/fs/bpf/lab && touch /root/lab/file
mountpoint -q /root/lab/bpf 2>/dev/null || { mkdir -p /root/lab/bpf && mount -t bpf bpf /root/lab/bpf; }
"""
CLEAR = "systemctl stop lab-idle; umount -l /root/lab/bpf; rm -rf /root/lab; rmdir /sys/fs/bpf/lab; true"
PROCESS_ACTS = {
    "kill": "kill -KILL {pid}", "stop": "kill -STOP {pid} && kill -CONT {pid}", "hang up": "kill -HUP {pid}",
    "by python": "python3 -c 'import os, signal; signal.pidfd_send_signal(os.pidfd_open({pid}), 10)'",
    "debug": "python3 -c 'import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); "
             "libc.ptrace(0x4206, {pid}, 0, 0) and exit(os.strerror(ctypes.get_errno()))'",      # PTRACE_SEIZE
    "memory": "exec 3<> /proc/{pid}/mem",
    "niceness": "renice -n 5 {pid}", "affinity": "taskset -p 1 {pid}", "scheduler": "chrt -b -p 0 {pid}",
    "io priority": "ionice -c 3 -p {pid}", "limits": "prlimit --pid {pid} --nofile=99999:99999",
    "oom score": "echo 5 > /proc/{pid}/oom_score_adj",
    "freeze": "echo 0 > /sys/fs/cgroup/system.slice/{unit}.service/cgroup.freeze",
    "limit of memory": "echo max > /sys/fs/cgroup/system.slice/{unit}.service/memory.max",
    "kill the cgroup": "echo 1 > /sys/fs/cgroup/system.slice/{unit}.service/cgroup.kill",
    "join": "(echo $BASHPID > /sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs)"}
FATAL = ("kill", "hang up", "by python", "kill the cgroup")       # their control ends the idle process
FILE_ACTS = {
    "program": "touch /usr/lib/nbspd/lab", "source": "echo >> /usr/share/nbspd/bpf/guard.c",
    "command": "echo >> /usr/sbin/nbspd", "folder": "mv /usr/lib/nbspd /usr/lib/nbspd-away", "state": f"touch {STATE}",
    "journal": "truncate -s 0 /var/lib/nbspd/journal.db", "unit": "echo >> /usr/lib/systemd/system/nbspd.service",
    "override": "touch /etc/systemd/system/nbspd.service",
    "drop-in": "mkdir -p /etc/systemd/system/nbspd.service.d && touch "
               "/etc/systemd/system/nbspd.service.d/lab.conf"}
PIN_ACTS = {
    "unlink": "rm /sys/fs/bpf/nbspd/*/file_open", "rename": "mv /sys/fs/bpf/nbspd /sys/fs/bpf/away",
    "unmount": "umount -l /sys/fs/bpf", "unmount below": "umount -l /sys",
    "unmount elsewhere": "unshare -m --propagation unchanged umount -l /sys/fs/bpf",
    "cover": "mount -t tmpfs none /sys/fs/bpf/nbspd"}
SEALED = """version: 1
resources: {machine: {devices: [/dev/mem]}}
rules: [{id: kernel, protect: machine, only-through: []}]
"""
BY_NUMBER = """
import ctypes, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
def bpf(command, *words):
    attr = (ctypes.c_uint32 * 32)(*words)
    return call(321, command, attr, 128), ctypes.get_errno(), attr
for what, following, get in (("map", 12, 14), ("program", 11, 13), ("link", 31, 30)):
    number, refused, seen = 0, 0, 0
    while True:
        result, _, attr = bpf(following, number)
        if result < 0:
            break
        number = attr[1]
        fd, error, _ = bpf(get, number)
        seen += fd >= 0
        refused += fd < 0 and error == 1
    print(what, refused, seen)
"""


@pytest.fixture(scope="module")
def guarded(guest: Guest) -> Iterator[Guest]:
    """A guest in which the daemon guards itself, with something beside it to try the same acts on."""
    if guest.tier == "socket":
        pytest.skip("tier socket has no hooks for it; coverage says so")
    guest.run(PREPARE, 120, check=True)
    yield guest
    guest.run(CLEAR, 60)


def pid_of(guest: Guest, unit: str) -> str:
    return guest.run(f"systemctl show -P MainPID {unit}", check=True).output.strip()


def hits(guest: Guest) -> int:
    rule = next(rule for rule in answer(guest, "status")["rules"] if rule["id"] == "self")
    return int(rule["counters"]["hits"])


def assert_refused(guest: Guest, command: str) -> None:
    """The act fails with EPERM and is counted."""
    before, daemon = hits(guest), pid_of(guest, "nbspd")
    done = guest.run(command, 60)
    assert done.status != DONE and ("ermitted" in done.output or "denied" in done.output
                                    or "superuser" in done.output), (command, done)
    assert hits(guest) > before, (command, done.output)
    assert pid_of(guest, "nbspd") == daemon and "State:\tT" not in guest.get(f"/proc/{daemon}/status")


@pytest.mark.parametrize("name", PROCESS_ACTS)
def test_its_process(guarded: Guest, name: str) -> None:
    act = PROCESS_ACTS[name]
    guarded.run("systemctl is-active -q lab-idle || systemd-run -q --unit=lab-idle sleep 3600", check=True)
    control = guarded.run(act.format(pid=pid_of(guarded, "lab-idle"), unit="lab-idle"), 60)
    assert control.is_done, control
    if name in FATAL:
        guarded.run("systemctl reset-failed lab-idle; systemd-run -q --unit=lab-idle sleep 3600", 30)
    assert_refused(guarded, act.format(pid=pid_of(guarded, "nbspd"), unit="nbspd"))


@pytest.mark.parametrize("name", FILE_ACTS)
def test_its_files(guarded: Guest, name: str) -> None:
    control = "cd /root/lab && touch new && echo >> file && mv folder away && mv away folder && rm new"
    assert guarded.run(control).is_done
    assert_refused(guarded, FILE_ACTS[name])


@pytest.mark.parametrize("name", PIN_ACTS)
def test_its_pins(guarded: Guest, name: str) -> None:
    assert guarded.run("cd /sys/fs/bpf/lab && mkdir x && mv x y && rmdir y").is_done
    assert guarded.run("mount -t tmpfs none /root/lab/bpf && umount /root/lab/bpf").is_done
    assert_refused(guarded, PIN_ACTS[name])


def test_its_tables_programs_and_links_by_number(guarded: Guest) -> None:
    before = hits(guarded)
    told = guarded.run(["python3", "-c", BY_NUMBER], check=True).output
    counted = {what: (int(refused), int(seen)) for what, refused, seen in (line.split() for line in told.splitlines())}
    assert all(refused > 20 for refused, _ in counted.values()), told
    assert counted["program"][1] > 0, f"those of systemd stay reachable: {told}"
    assert hits(guarded) == before + sum(refused for refused, _ in counted.values())


def test_ftrace_by_which_programs_are_called_stays_on(guarded: Guest) -> None:
    assert guarded.get("/proc/sys/kernel/ftrace_enabled") == "1\n"
    assert_refused(guarded, "echo 0 > /proc/sys/kernel/ftrace_enabled")
    assert_refused(guarded, "sysctl -w kernel.ftrace_enabled=0")
    assert guarded.get("/proc/sys/kernel/ftrace_enabled") == "1\n"


def test_looking_is_let_be(guarded: Guest) -> None:
    daemon = pid_of(guarded, "nbspd")
    assert guarded.run(f"kill -0 {daemon} && ps -o args= -p {daemon} | grep -q nbspd && ls -l /proc/{daemon}/fd && "
                       f"cat /proc/{daemon}/maps > /dev/null && systemctl status nbspd --no-pager", 60).is_done


def test_a_refusal_is_explained(guarded: Guest) -> None:
    guarded.run(f"kill -KILL {pid_of(guarded, 'nbspd')}")
    record = next(each for each in answer(guarded, "journal --rule self --limit 50")["records"][::-1]
                  if each["channel"] == "signal")
    assert (record["verdict"], record["object"]) == ("denied", "nbspd's process (signal 9)")
    story = guarded.run(f"nbsp explain {record['seq']}", check=True).output
    assert "Next       to change nbspd itself: nbsp maintain" in story


def test_an_intruder_in_its_cgroup_is_not_the_daemon(guarded: Guest) -> None:
    """The first process of a service is nbspd; what is put into the cgroup in another way is not."""
    done = guarded.run(["python3", "-c", """
import ctypes, os
group = os.open("/sys/fs/cgroup/system.slice/nbspd.service", os.O_RDONLY)
args = (ctypes.c_uint64 * 11)(0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, group)     # CLONE_INTO_CGROUP
pid = ctypes.CDLL(None).syscall(435, args, 88)
if pid == 0:
    os.execv("/usr/bin/python3", ["python3", "-c", "import os, time; os.getppid() == 1 or time.sleep(1); "
             "open('/root/lab/intruder', 'w').write(open('/proc/self/cgroup').read()); "
             "open('/var/lib/nbspd/lab', 'w')"])
os._exit(0)
"""], 30)
    guarded.run("timeout 20 sh -c 'until test -s /root/lab/intruder; do sleep 0.2; done'; sleep 1", 30)
    assert "nbspd.service" in guarded.get("/root/lab/intruder"), done
    assert not guarded.run("ls /var/lib/nbspd/lab").is_done


def test_systemd_may_stop_restart_reload_and_kill(guarded: Guest) -> None:
    for command in ("reload", "restart", "stop", "start", "kill -s KILL"):
        assert guarded.run(f"systemctl {command} nbspd", 240).is_done, command
    guarded.run("nbsp status --wait 60", 90, check=True)
    assert answer(guarded, "status")["adopted"]
    assert_refused(guarded, f"kill -KILL {pid_of(guarded, 'nbspd')}")


def test_the_environment_of_all_services_loads_nothing_into_it(guarded: Guest) -> None:
    guarded.run("systemctl set-environment LD_PRELOAD=/root/lab/foreign.so LAB=here", check=True)
    try:
        guarded.run("systemctl restart nbspd", 240, check=True)
        words = guarded.get(f"/proc/{pid_of(guarded, 'nbspd')}/environ")
        assert "LAB=here" in words and "LD_PRELOAD" not in words
    finally:
        guarded.run("systemctl unset-environment LD_PRELOAD LAB", check=True)


def test_without_the_daemon_it_goes_on(guarded: Guest) -> None:
    guarded.run("systemctl stop nbspd", 60, check=True)
    try:
        assert EPERM in guarded.run("rm /sys/fs/bpf/nbspd/*/file_open").output
        assert EPERM in guarded.run(f"touch {STATE}").output
        by_hand = guarded.run("timeout 60 nbspd", 90)
        assert by_hand.status == 1 and "let systemd start it" in by_hand.output
    finally:
        guarded.run("systemctl start nbspd", 240, check=True)


def test_a_daemon_that_was_moved_still_guards_itself(guarded: Guest) -> None:
    daemon = pid_of(guarded, "nbspd")
    guarded.run(f"mkdir -p /sys/fs/cgroup/lab && echo {daemon} > /sys/fs/cgroup/lab/cgroup.procs", check=True)
    guarded.run("nbsp reload", 60, check=True)
    assert_refused(guarded, f"kill -KILL {daemon}")
    guarded.run("systemctl restart nbspd && rmdir /sys/fs/cgroup/lab", 240, check=True)
    assert_refused(guarded, f"kill -KILL {pid_of(guarded, 'nbspd')}")


def test_maintenance_opens_reports_and_ends(guarded: Guest) -> None:
    assert EPERM in guarded.run(f"touch {STATE}").output
    guarded.run("nbsp maintain --for 5m --reason 'the lab says so'", check=True)
    assert guarded.run(f"touch {STATE} && rm {STATE}").is_done
    assert answer(guarded, "status")["maintained_s"] > 200
    guarded.run("nbsp maintain --end", check=True)
    assert EPERM in guarded.run(f"touch {STATE}").output
    records = answer(guarded, "journal --limit 100")["records"]
    assert [each["text"] for each in records if each["kind"] == "maintenance"][-2:] == [
        "for 300 s nbspd may be changed: the lab says so", "ended: nbspd guards itself again"]
    assert any(each.get("verdict") == "audited" and each.get("object") == STATE for each in records)


def test_the_package_can_be_installed_again(guarded: Guest) -> None:
    done = guarded.run("DEBIAN_FRONTEND=noninteractive dpkg --force-confold --force-unsafe-io -i /root/nbspd.deb", 400)
    assert done.is_done, done.output
    status = json.loads(guarded.run("nbsp status --wait 60 --json", 90, check=True).output)
    assert status["maintained_s"] == 0 and "self" in [rule["id"] for rule in status["rules"]]
    assert EPERM in guarded.run(f"touch {STATE}").output


def test_a_removed_packet_filter_is_put_back(guarded: Guest) -> None:
    guarded.run("tc qdisc del dev lo clsact", check=True)
    is_there = "tc filter show dev lo egress | grep -q nbspd"
    assert guarded.run(f"timeout 60 sh -c 'until {is_there}; do sleep 0.2; done'", 90).is_done
    told = [each["text"] for each in answer(guarded, "journal --limit 20")["records"] if each["kind"] == "degraded"]
    assert "somebody removed or replaced the packet filter of lo; it is put back" in told


def test_the_sealed_kernel(guarded: Guest) -> None:
    """Off by default; with the rule `kernel` modules and foreign programs are for its checkpoints."""
    load = "rmmod dummy 2>/dev/null; modprobe dummy"
    program = "/usr/lib/nbspd/nbsp-attempt foreign-program goal=act type=17"       # a raw tracepoint
    assert guarded.run(load).is_done and guarded.run(program).is_done
    guarded.put("/etc/nbspd/rules.d/05-kernel.yaml", SEALED)
    try:
        guarded.run("nbsp reload", 60, check=True)
        assert EPERM in guarded.run(load).output and not guarded.run(program).is_done
        assert guarded.run("systemctl restart nbspd", 240).is_done, "nbspd itself may load its programs"
    finally:
        guarded.run("rm /etc/nbspd/rules.d/05-kernel.yaml; nbsp reload", 60, check=True)
    assert guarded.run(load).is_done and guarded.run(program).is_done


def test_detach_ends_it_until_reload(guarded: Guest) -> None:
    guarded.run("nbsp detach --reason 'the lab says so'", 60, check=True)
    assert guarded.run(f"touch {STATE} && rm {STATE}").is_done
    guarded.run("nbsp reload", 600, check=True)
    assert EPERM in guarded.run(f"touch {STATE}").output


def test_after_a_reboot_it_is_guarded_again(guarded: Guest) -> None:
    guarded.reboot()
    assert answer(guarded, "status")["state"] == "idle"
    assert_refused(guarded, f"kill -KILL {pid_of(guarded, 'nbspd')}")
    assert not guarded.run("systemctl is-failed -q '*'").is_done
