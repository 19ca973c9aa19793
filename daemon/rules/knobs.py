"""The kernel's knobs: files by which it is told to start a program, to let go of a protection, or to be looked into.

rules/01-kernel-knobs.yaml protects them; a unit test holds the two side by side. A path that a kernel does not have is
absent there, and protected if it comes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Knob:
    """A file or, with `is_tree`, a directory of knobs; protected from writing, unless `is_read` from reading too."""

    path: str
    purpose: str            # helper: the kernel starts a program | lock: it guards less | eye: its memory or inner life
    effect: str             # what who turns it gets
    is_tree: bool = False
    is_read: bool = False


KNOBS: tuple[Knob, ...] = (
    Knob("/proc/sys/kernel/core_pattern", "helper", "after a |, the program that is run as root at each core dump"),
    Knob("/proc/sys/kernel/modprobe", "helper", "the program that is run as root when a module is missing"),
    Knob("/proc/sys/kernel/hotplug", "helper", "as uevent_helper, on kernels built with CONFIG_UEVENT_HELPER"),
    Knob("/sys/kernel/uevent_helper", "helper", "the program that is run as root at each event of a device"),
    Knob("/proc/sys/kernel/poweroff_cmd", "helper", "the program that is run as root at an orderly poweroff"),
    Knob("/proc/sys/kernel/usermodehelper/bset", "helper", "the capabilities that all of these programs have"),
    Knob("/proc/sys/kernel/usermodehelper/inheritable", "helper", "the capabilities that their children have"),
    Knob("/proc/sys/fs/binfmt_misc", "helper", "interpreters by file format: register, status and the entries",
         is_tree=True),
    Knob("/sys/fs/cgroup/**/release_agent", "helper", "cgroup v1: the program that is run when a group empties"),
    Knob("/sys/fs/cgroup/**/notify_on_release", "helper", "cgroup v1: of which group it is run"),
    Knob("/proc/sys/fs/ocfs2/nm/hb_ctl_path", "helper", "a program that ocfs2 runs as root"),
    Knob("/sys/module/nfs/parameters/cache_getent", "helper", "a program that the NFS client runs as root"),
    Knob("/sys/module/nfsd/parameters/cltrack_prog", "helper", "a program that the NFS server runs as root"),
    Knob("/sys/module/drbd/parameters/usermode_helper", "helper", "a program that DRBD runs as root"),
    Knob("/sys/module/firmware_class/parameters/path", "helper", "where the firmware of devices is read from"),
    Knob("/proc/sys/kernel/modules_disabled", "lock", "once 1, no module can be loaded until the next boot"),
    Knob("/proc/sys/kernel/kexec_load_disabled", "lock", "as modules_disabled, for another kernel"),
    Knob("/proc/sys/kernel/yama/ptrace_scope", "lock", "whose memory a debugger may see"),
    Knob("/proc/sys/kernel/unprivileged_bpf_disabled", "lock", "bpf(2) for everybody"),
    Knob("/proc/sys/net/core/bpf_jit_harden", "lock", "constants of everybody's programs in the kernel's code"),
    Knob("/proc/sys/kernel/io_uring_disabled", "lock", "the one thing that closes files registered with a ring"),
    Knob("/proc/sys/kernel/io_uring_group", "lock", "who is excepted from it"),
    Knob("/proc/sys/kernel/perf_event_paranoid", "lock", "what everybody may measure of others and of the kernel"),
    Knob("/proc/sys/kernel/kptr_restrict", "lock", "who sees the kernel's addresses"),
    Knob("/proc/sys/kernel/dmesg_restrict", "lock", "who reads the kernel's log"),
    Knob("/proc/sys/kernel/randomize_va_space", "lock", "whether programs lie where they cannot be guessed"),
    Knob("/proc/sys/kernel/core_pipe_limit", "lock", "0: a helper of core_pattern may outlive the dumped process"),
    Knob("/proc/sys/kernel/ns_last_pid", "lock", "which process id comes next"),
    Knob("/proc/sys/kernel/unprivileged_userns_clone", "lock", "Debian: user namespaces for everybody"),
    Knob("/proc/sys/user/max_user_namespaces", "lock", "the same, by number"),
    Knob("/proc/sys/fs/suid_dumpable", "lock", "core dumps of programs that change who they are"),
    Knob("/proc/sys/fs/protected_hardlinks", "lock", "links to files of others"),
    Knob("/proc/sys/fs/protected_symlinks", "lock", "links of others in /tmp"),
    Knob("/proc/sys/vm/mmap_min_addr", "lock", "what a null pointer of the kernel leads to"),
    Knob("/proc/sys/vm/unprivileged_userfaultfd", "lock", "holding the kernel up in the middle of a copy"),
    Knob("/proc/sysrq-trigger", "eye", "a crash, a reboot, a dump of every task", is_read=True),
    Knob("/proc/kcore", "eye", "the kernel's memory", is_read=True),
    Knob("/sys/kernel/debug", "eye", "the drivers' inner life, and whatever each lets be written", is_tree=True),
    Knob("/sys/kernel/tracing", "eye", "what everybody's programs and the kernel do", is_tree=True),
    Knob("/sys/firmware/efi/efivars", "eye", "what boots next time", is_tree=True),
)
