"""What each boot lays over the image: the agent, the marker of the tier and the source tree; part of the initramfs."""

from __future__ import annotations

from pathlib import Path

from .cache import HERE, ROOT
from .cpio import Archive

SOURCE = "/usr/src/nbspd"       # where the guest finds the checkout
TAKEN = ("bench", "bpf", "daemon", "docs", "packaging", "rules", "systemd", "tests", "setup.cfg", "pyproject.toml", "Makefile")
PASSED_OVER = {"__pycache__", ".mypy_cache", ".pytest_cache", ".hypothesis"}

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


def overlay(tier: str, mounts: list[str], package: Path | None) -> bytes:
    """Return the cpio archive to append to the initramfs."""
    archive = Archive()
    archive.file("overlay/usr/local/lib/nbspd-lab/agent.py", (HERE / "agent.py").read_bytes())
    archive.file("overlay/usr/local/lib/nbspd-lab/install", (HERE / "install.sh").read_bytes(), 0o755)
    archive.file("overlay/etc/systemd/system/nbspd-lab-agent.service", AGENT_UNIT.encode())
    archive.link("overlay/etc/systemd/system/sysinit.target.wants/nbspd-lab-agent.service", "../nbspd-lab-agent.service")
    if tier == "socket":
        archive.file("overlay/etc/default/nbspd", b"# The lab's tier socket: forbid trampolines.\nNBSPD_OPTIONS=--tier=socket\n")
    for number, point in enumerate(mounts):
        archive.folder(f"overlay{point}")
        archive.file(f"overlay/etc/systemd/system/{_unit(point)}", _mount_unit(number, point).encode())
        archive.link(f"overlay/etc/systemd/system/local-fs.target.wants/{_unit(point)}", f"../{_unit(point)}")
    if package:
        archive.file(f"overlay/usr/local/lib/nbspd-lab/{package.name}", package.read_bytes())
    for path in _source_files():
        archive.file(f"overlay{SOURCE}/{path.relative_to(ROOT)}", path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
    return archive.content()


def _source_files() -> list[Path]:
    found = []
    for name in TAKEN:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and not path.is_symlink() and not PASSED_OVER & set(path.relative_to(ROOT).parts):
                found.append(path)
    return found


def _unit(point: str) -> str:
    return point.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"


def _mount_unit(number: int, point: str) -> str:
    return (f"[Unit]\nDescription=A folder of the host\n\n[Mount]\nWhat=share{number}\nWhere={point}\nType=9p\n"
            "Options=trans=virtio,version=9p2000.L,msize=262144\n")
