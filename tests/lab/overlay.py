"""What each first boot lays over the image: the agent, the mounts, the marker of the tier; part of the initramfs."""

from __future__ import annotations

from .cache import HERE
from .cpio import Archive

UNITS = "overlay/etc/systemd/system"

# An option and not the kernel's command line decides the tier socket: nbspd is told to leave trampolines alone.
SOCKET_TIER = """[Service]
ExecStart=
ExecStart=/usr/sbin/nbspd --tier socket
"""

# Compiling takes minutes under emulation on a machine that does other things as well.
PATIENCE = """[Service]
TimeoutStartSec=600
"""

AGENT_UNIT = """[Unit]
Description=The lab's agent
DefaultDependencies=no
Requires=dev-virtio\\x2dports-org.nbspd.lab.device
After=dev-virtio\\x2dports-org.nbspd.lab.device
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/nbspd-lab/agent.py
Restart=always
KillMode=process
OOMScoreAdjust=-900
TasksMax=infinity
LimitNOFILE=65536
"""


def overlay(tier: str, mounts: list[str]) -> bytes:
    """Return the cpio archive to append to the initramfs."""
    archive = Archive()
    archive.file("overlay/usr/local/lib/nbspd-lab/agent.py", (HERE / "agent.py").read_bytes())
    archive.file(f"{UNITS}/nbspd-lab-agent.service", AGENT_UNIT.encode())
    archive.link(f"{UNITS}/sysinit.target.wants/nbspd-lab-agent.service", "../nbspd-lab-agent.service")
    archive.file(f"{UNITS}/nbspd.service.d/patience.conf", PATIENCE.encode())
    if tier == "socket":
        archive.file(f"{UNITS}/nbspd.service.d/tier.conf", SOCKET_TIER.encode())
    for number, point in enumerate(mounts):
        archive.folder(f"overlay{point}")
        archive.file(f"{UNITS}/{_unit(point)}", _mount_unit(number, point).encode())
        archive.link(f"{UNITS}/local-fs.target.wants/{_unit(point)}", f"../{_unit(point)}")
    return archive.content()


def _unit(point: str) -> str:
    return point.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"


def _mount_unit(number: int, point: str) -> str:
    return (f"[Unit]\nDescription=A folder of the host\n\n[Mount]\nWhat=share{number}\nWhere={point}\nType=9p\n"
            "Options=trans=virtio,version=9p2000.L,msize=262144\n")
