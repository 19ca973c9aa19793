"""What a host needs to boot and to be repaired: a rule on it locks out everyone, so it must say that it knows."""

from __future__ import annotations

import re
from typing import Iterator

from .model import Resource

# One table; directories stand for everything below them. Paths as after the /usr merge.
VITAL_TREES = frozenset({
    "/boot", "/etc/pam.d", "/etc/ld.so.conf.d", "/etc/security", "/etc/systemd", "/run/systemd",
    "/run/udev", "/usr/lib/modules", "/usr/lib/python3", "/usr/lib/security", "/usr/lib/systemd"})
VITAL_FILES = frozenset({
    "/etc/fstab", "/etc/group", "/etc/gshadow", "/etc/hosts", "/etc/inittab", "/etc/ld.so.cache", "/etc/ld.so.conf",
    "/etc/ld.so.preload", "/etc/login.defs", "/etc/machine-id", "/etc/nsswitch.conf", "/etc/passwd", "/etc/profile",
    "/etc/resolv.conf", "/etc/shadow", "/etc/shells", "/etc/sudoers", "/dev/console", "/dev/full", "/dev/kmsg",
    "/dev/null", "/dev/ptmx", "/dev/random", "/dev/tty", "/dev/tty0", "/dev/tty1", "/dev/urandom", "/dev/zero",
    "/dev/log", "/run/dbus/system_bus_socket", "/run/nbspd/control.sock", "/usr/bin/bash", "/usr/bin/busybox",
    "/usr/bin/dash", "/usr/bin/env", "/usr/bin/login", "/usr/bin/mount", "/usr/bin/nbsp", "/usr/bin/nbspd",
    "/usr/bin/python3", "/usr/bin/sh", "/usr/bin/su", "/usr/bin/systemctl", "/usr/sbin/agetty", "/usr/sbin/init",
    "/usr/sbin/mount", "/usr/sbin/nbspd", "/usr/sbin/sulogin", "/usr/lib/ld-linux.so.2",
    "/usr/lib64/ld-linux-x86-64.so.2", "/usr/lib/ld-linux-aarch64.so.1"})
VITAL_LIBRARIES = ("ld-linux", "libc.so.", "libpam.so.", "libsystemd", "libcrypt.so.", "libselinux.so.")
_MULTIARCH = re.compile(r"/usr/lib/[a-z0-9_]+-linux-[a-z0-9]+\Z")
_MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ALIASES = {"/var/run": "/run", "/var/lock": "/run/lock"}
# Trees that hold nothing vital by name and still everything: homes, state, logs.
VITAL_ROOTS = frozenset({
    "/", "/dev", "/dev/pts", "/dev/shm", "/etc", "/home", "/lib", "/root", "/run", "/tmp", "/usr", "/usr/bin",
    "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/sbin",
    "/usr/share", "/var", "/var/lib", "/var/log", "/var/tmp",
    "/proc", "/proc/sys", "/proc/sys/fs", "/proc/sys/kernel", "/proc/sys/net", "/proc/sys/vm", "/sys", "/sys/block",
    "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/fs", "/sys/fs/cgroup", "/sys/kernel", "/sys/module"})
# Of pseudo file systems everything is read by somebody who does not expect to be refused, but for these.
PRIVATE_PSEUDO = ("/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/kpage", "/proc/sched_debug",
                  "/proc/sys/fs/binfmt_misc", "/proc/sys/kernel/", "/proc/sysrq-trigger", "/proc/timer_list",
                  "/sys/firmware/", "/sys/fs/bpf", "/sys/fs/fuse", "/sys/fs/pstore", "/sys/fs/resctrl",
                  "/sys/kernel/config", "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing")
_ABOVE = frozenset("/".join(path.split("/")[:depth]) or "/" for path in VITAL_TREES | VITAL_FILES
                   for depth in range(1, path.count("/") + 1))


def vital_paths(resource: Resource) -> Iterator[tuple[str, str]]:
    """Yield each declared path that a host cannot do without, and why."""
    for tree in resource.trees:
        path = _merged(tree)
        if reason := _pseudo(path, resource):
            yield tree, reason
        elif path in VITAL_ROOTS or path in _ABOVE or _MULTIARCH.match(path):
            yield tree, "the system needs what is below it to boot or to be repaired"
        elif reason := _vital(path):
            yield tree, reason
    for path in (*resource.files, *resource.exec, *resource.devices, *resource.unix):
        if path.startswith("/") and (reason := _pseudo(path, resource) or _vital(_merged(path))):
            yield path, reason


def _pseudo(path: str, resource: Resource) -> str:
    if "read" in resource.access and path.startswith(("/proc/", "/sys/")) and not path.startswith(PRIVATE_PSEUDO):
        return "programs read it without expecting to be refused; protect writing alone with access: [write]"
    return ""


def _vital(path: str) -> str:
    if path in VITAL_FILES or path in VITAL_ROOTS or path in VITAL_TREES:
        return "the system needs it to boot or to be repaired"
    above = path
    while above := above.rpartition("/")[0]:
        if above in VITAL_TREES:
            return f"the system needs what is below {above} to boot or to be repaired"
    folder, _, name = path.rpartition("/")
    if folder.startswith("/usr/lib") and name.startswith(VITAL_LIBRARIES):
        return "nearly every program is linked to it"
    return ""


def _merged(path: str) -> str:
    """Return a path as it is after the /usr merge."""
    for old, new in _ALIASES.items():
        if path == old or path.startswith(old + "/"):
            return new + path[len(old):]
    top = "/" + path.split("/", 2)[1]
    return "/usr" + path if top in _MERGED else path
