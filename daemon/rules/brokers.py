"""Brokers: programs that start something for whoever asks, so that it is the broker's child and not the asker's.

A stamp follows fork and exec only. What a broker starts for a stamped process has no stamp; but what a broker starts
that carries a `stamp: children` itself, because it is the checkpoint or was started below one, carries it for anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Broker:
    """One kind of broker. In `exes` a * stands for whatever a version or an architecture puts there."""

    name: str
    exes: tuple[str, ...]           # the program that starts things
    asked_by: tuple[str, ...]       # the unix socket, folder or program by which it is asked
    starts: str                     # what, for whom


BROKERS: tuple[Broker, ...] = (
    Broker("systemd", ("/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-executor"),
           ("/run/systemd/private", "/run/dbus/system_bus_socket", "/run/user/*/systemd/private",
            "/etc/systemd/system", "/run/systemd/system", "/usr/bin/systemd-run", "/usr/bin/systemctl"),
           "any command as any user, by systemd-run, StartTransientUnit and unit files; of --user as oneself"),
    Broker("D-Bus activation", ("/usr/bin/dbus-daemon", "/usr/bin/dbus-broker-launch",
                                "/usr/lib/dbus-1.0/dbus-daemon-launch-helper"),
           ("/run/dbus/system_bus_socket", "/run/user/*/bus", "/usr/share/dbus-1/system-services",
            "/usr/share/dbus-1/services"),
           "the program of a service file, for the first who sends a message to its name"),
    Broker("cron", ("/usr/sbin/cron", "/usr/sbin/crond"),
           ("/etc/crontab", "/etc/cron.d", "/var/spool/cron", "/usr/bin/crontab"), "command lines at their time"),
    Broker("anacron", ("/usr/sbin/anacron",), ("/etc/anacrontab", "/var/spool/anacron"),
           "command lines that are overdue"),
    Broker("at", ("/usr/sbin/atd",), ("/var/spool/cron/atjobs", "/usr/bin/at", "/usr/bin/batch"),
           "shell scripts, once, as whoever asked"),
    Broker("inetd", ("/usr/sbin/inetd", "/usr/sbin/xinetd"), ("/etc/inetd.conf", "/etc/xinetd.d"),
           "a program for each connection"),
    Broker("Docker", ("/usr/bin/dockerd", "/usr/sbin/dockerd"), ("/run/docker.sock",),
           "any command as root with any mount, for who may write to the socket"),
    Broker("containerd", ("/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2"),
           ("/run/containerd/containerd.sock",), "as Docker"),
    Broker("Podman", ("/usr/bin/podman", "/usr/bin/conmon"),
           ("/run/podman/podman.sock", "/run/user/*/podman/podman.sock"),
           "containers; of the system's socket as root"),
    Broker("CRI-O", ("/usr/bin/crio",), ("/run/crio/crio.sock",), "containers for the kubelet"),
    Broker("kubelet", ("/usr/bin/kubelet",), ("/etc/kubernetes/manifests",), "pods of a manifest or of the API"),
    Broker("LXD", ("/usr/bin/lxd", "/usr/bin/incusd", "/usr/libexec/incus/incusd", "/snap/lxd/*/bin/lxd"),
           ("/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket", "/var/lib/incus/unix.socket"),
           "containers with any mount"),
    Broker("libvirt", ("/usr/sbin/libvirtd", "/usr/sbin/virtqemud", "/usr/sbin/virtlxcd"),
           ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"), "virtual machines with any disk, and hooks"),
    Broker("supervisor", ("/usr/bin/supervisord",), ("/run/supervisor.sock", "/etc/supervisor/conf.d"),
           "configured programs, restarted on demand (a Python script: its interpreter would be the checkpoint)"),
    Broker("screen", ("/usr/bin/screen",), ("/run/screen",), "shells, in a server that outlives its starter"),
    Broker("tmux", ("/usr/bin/tmux",), ("/tmp/tmux-*",), "shells, in a server that outlives its starter"),
    Broker("ssh-agent", ("/usr/bin/ssh-agent",), ("/tmp/ssh-*",),
           "ssh-askpass and PKCS#11 helpers, for who may connect to its socket"),
    Broker("gpg-agent", ("/usr/bin/gpg-agent", "/usr/bin/gpgconf"), ("/run/user/*/gnupg",),
           "pinentry and scdaemon, for who may connect to its socket"),
    Broker("polkit", ("/usr/bin/pkexec",), ("/usr/share/polkit-1/actions", "/etc/polkit-1/rules.d"),
           "a command as another user, if a policy lets the asker"),
    Broker("udev", ("/usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm"),
           ("/etc/udev/rules.d", "/run/udev/rules.d", "/run/udev/control"),
           "RUN and PROGRAM of its rules at every event, which udevadm trigger makes"),
    Broker("packages", ("/usr/libexec/packagekitd", "/usr/bin/dpkg"), ("/run/dbus/system_bus_socket",),
           "maintainers' scripts of what is installed"),
)


def broker_of(exe: str) -> Broker | None:
    """Return which broker a program is, None for another one."""
    path = "/usr" + exe if exe.startswith(("/bin/", "/sbin/", "/lib/")) else exe
    return next((broker for broker in BROKERS if any(fnmatchcase(path, pattern) for pattern in broker.exes)), None)
