"""What this host offers: probes that answer yes, no, or could not tell, each with its reason and the remedy."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from ..errors import HostError
from . import bpf_load, btf, mounts, preemption

YES, NO, UNKNOWN = "yes", "no", "unknown"
OLDEST_KERNEL = (5, 15)
SECURITYFS = Path("/sys/kernel/security")
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
LSM_LIST_MODULES = 461      # the system call, the same number everywhere; since 6.8
LSM_NAMES = {100: "capability", 101: "selinux", 102: "smack", 103: "tomoyo", 104: "apparmor", 105: "yama",
             106: "loadpin", 107: "safesetid", 108: "lockdown", 109: "bpf", 110: "landlock", 111: "ima", 112: "evm",
             113: "ipe"}     # include/uapi/linux/lsm.h
RETURN_0 = bytes.fromhex("b700000000000000" "9500000000000000")     # r0 = 0; exit
MOUNT_SECURITYFS = f"mount -t securityfs securityfs {SECURITYFS}"


@dataclass(frozen=True)
class Feature:
    """One thing that a host has, lacks, or does not tell."""

    name: str
    state: str      # yes | no | unknown
    reason: str
    remedy: str = ""


Answer = tuple[str, str, str]


def probe_all() -> tuple[Feature, ...]:
    """Ask every probe; one that fails answers "unknown"."""
    return tuple(probe(name) for name in PROBES)


def probe(name: str) -> Feature:
    """Ask one probe by name."""
    try:
        return Feature(name, *PROBES[name]())
    except (OSError, HostError) as error:
        return Feature(name, UNKNOWN, f"could not be found out: {error}")


def active_lsms() -> tuple[str, ...] | None:
    """Return the active security modules in their order, None when the kernel does not tell."""
    try:
        return tuple((SECURITYFS / "lsm").read_text().strip("\0\n ").split(","))
    except OSError:
        return _listed_lsms()


def kernel_version(release: str) -> tuple[int, int]:
    """Return major and minor of a release such as 6.12.107-amd64; (0, 0) when there are none."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def effective_capabilities() -> int:
    """Return our effective capabilities as a bit mask."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match[1], 16) if match else 0


def _listed_lsms() -> tuple[str, ...] | None:
    ids, size = (ctypes.c_uint64 * 64)(), ctypes.c_uint32(64 * 8)
    count = ctypes.CDLL(None, use_errno=True).syscall(LSM_LIST_MODULES, ids, ctypes.byref(size), 0)
    return None if count < 0 else tuple(LSM_NAMES.get(number, str(number)) for number in ids[:count])


def _kernel() -> Answer:
    release = os.uname().release
    if kernel_version(release) >= OLDEST_KERNEL:
        return YES, f"kernel {release}", ""
    return NO, f"kernel {release} is older than 5.15", "boot a kernel of version 5.15 or newer"


def _btf() -> Answer:
    if btf.is_readable():
        return YES, f"{btf.VMLINUX} is readable", ""
    return NO, f"{btf.VMLINUX} cannot be read", "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"


def _root() -> Answer:
    held = effective_capabilities()
    missing = [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]
    if not missing:
        return YES, "all capabilities needed are held", ""
    return NO, f"{', '.join(missing)} not held", "run it as root"


def _bcc() -> Answer:
    remedy = "apt install python3-bpfcc, and run nbspd with the distribution's /usr/bin/python3"
    spec = importlib.util.find_spec("bcc")
    if spec is None or spec.origin is None:
        return NO, "this Python has no module bcc", remedy
    if not (Path(spec.origin).parent / "libbcc.py").exists():
        return NO, f"{spec.origin} is another project of that name", remedy
    return YES, f"found in {Path(spec.origin).parent}", ""


def _bpffs() -> Answer:
    if mounts.is_on_bpffs(mounts.BPFFS):
        return YES, f"mounted on {mounts.BPFFS}", ""
    if "\tbpf\n" not in Path("/proc/filesystems").read_text():
        return NO, "this kernel has no bpffs", "boot a kernel built with CONFIG_BPF_SYSCALL=y"
    return NO, f"not mounted on {mounts.BPFFS}", f"mount -t bpf bpf {mounts.BPFFS}; nbspd does it by itself as root"


def _cgroup2() -> Answer:
    try:
        return YES, f"mounted on {mounts.cgroup2_root()}", ""
    except HostError as error:
        return NO, error.cause, error.remedy


def _jit() -> Answer:
    value = Path("/proc/sys/net/core/bpf_jit_enable").read_text().strip()
    if value != "0":
        return YES, "programs are compiled to machine code", ""
    return NO, "the BPF compiler of this kernel is off", "sysctl net.core.bpf_jit_enable=1"


def _lsm() -> Answer:
    active = active_lsms()
    if active is None:
        return UNKNOWN, f"{SECURITYFS}/lsm cannot be read", MOUNT_SECURITYFS
    if "bpf" in active:
        return YES, f"bpf is among the active security modules ({','.join(active)})", ""
    wanted = ",".join((*(name for name in active if name != "capability"), "bpf"))
    return (NO, f"bpf is not among the active security modules ({','.join(active) or 'none'})",
            f"boot with lsm={wanted} for the tier lsm; without it nbspd tries fmod_ret, then socket")


TRAMPOLINES = {"lsm": ("bpf_lsm_file_open", bpf_load.BPF_PROG_TYPE_LSM, bpf_load.BPF_LSM_MAC),
               "fmod_ret": ("security_file_open", bpf_load.BPF_PROG_TYPE_TRACING, bpf_load.BPF_MODIFY_RETURN)}


def try_program(tier: str, types: btf.Btf) -> Answer:
    """Load, and do not attach, a program of a tier with trampolines that returns 0."""
    function, prog_type, attach_type = TRAMPOLINES[tier]
    number = types.function_id(function)
    if number is None:
        return NO, f"this kernel has no {function}", "boot a kernel built with CONFIG_BPF_LSM=y"
    try:
        os.close(bpf_load.prog_load(prog_type, RETURN_0, "nbsp_probe", attach_type, number))
    except OSError as error:
        return (NO, f"the kernel refused a program for {function}: {error.strerror}",
                "files cannot be protected here, only endpoints (tier socket); boot another kernel")
    return YES, f"the kernel accepts a program for {function}", ""


def _audit() -> Answer:
    if Path("/proc/self/loginuid").exists():
        return YES, "processes have a login uid and a session", ""
    return NO, "this kernel has no audit, so records name no login", "boot a kernel built with CONFIG_AUDIT=y"


def _preemption() -> Answer:
    state = preemption.is_preempted()
    if state is None:
        return UNKNOWN, "whether this kernel is preempted cannot be read from debugfs", "boot with bpf in lsm="
    if not state:
        return YES, "this kernel is not preempted inside programs, as tier fmod_ret needs", ""
    lsms = active_lsms()
    if lsms is not None and "bpf" in lsms:
        return YES, "this kernel is preempted inside programs, which tier lsm does not care about", ""
    return (NO, "this kernel is preempted, and skips programs of tier fmod_ret then: they can be got around",
            "boot with bpf in lsm= for the tier lsm, or with preempt=voluntary where the kernel has that")


def _lockdown() -> Answer:
    try:
        match = re.search(r"\[(\w+)\]", (SECURITYFS / "lockdown").read_text())
        level = match[1] if match else ""
    except OSError:
        active = active_lsms()
        if active is None:
            return UNKNOWN, f"{SECURITYFS}/lockdown cannot be read", MOUNT_SECURITYFS
        if "lockdown" in active:
            return UNKNOWN, "lockdown is active, but its level cannot be read", MOUNT_SECURITYFS
        level = "none"
    if level == "confidentiality":
        return NO, "lockdown=confidentiality keeps programs from kernel memory", "boot with lockdown=integrity"
    return YES, f"lockdown is {level or 'off'}, which leaves BPF alone", ""


PROBES: dict[str, Callable[[], Answer]] = {
    "kernel": _kernel,
    "btf": _btf,
    "root": _root,
    "bcc": _bcc,
    "bpffs": _bpffs,
    "cgroup2": _cgroup2,
    "jit": _jit,
    "lsm": _lsm,
    "lsm_program": lambda: try_program("lsm", btf.Btf.vmlinux()),
    "fmod_ret_program": lambda: try_program("fmod_ret", btf.Btf.vmlinux()),
    "preemption": _preemption,
    "audit": _audit,
    "lockdown": _lockdown,
}
