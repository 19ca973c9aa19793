"""The guest's root file system: Debian bookworm with the packages of provision.sh, as an ext4 image."""

from __future__ import annotations

from pathlib import Path

from .apt import call, sources
from .cache import HERE, built, digest

SUITES = ("bookworm", "bookworm-updates", "bookworm-security")
SIZE = "6G"     # sparse; the guest writes to a throw-away layer above it
PROVISION = HERE / "provision.sh"
DPKG_OPTIONS = ("force-unsafe-io", "path-exclude=/usr/share/man/*", "path-exclude=/usr/share/doc/*",
                "path-exclude=/usr/share/locale/*", "path-exclude=/usr/share/info/*")
APT_OPTIONS = ('Acquire::Languages "none"', 'Acquire::Retries "3"', 'APT::Install-Recommends "false"')


def image() -> Path:
    """Return the root file system's image, building it (90 s) when no one of these contents is cached."""
    return built(f"image-{digest(PROVISION, Path(__file__))}", _build) / "root.ext4"


def _build(folder: Path) -> None:
    packages = call(["sh", str(PROVISION), "--packages"], 30).split()
    root = folder / "root"
    hooks = [f'cp {PROVISION} "$1/provision.sh"', 'chroot "$1" sh /provision.sh --configure', 'rm "$1/provision.sh"',
             'mkdir -p "$1/usr/lib/modules"', 'rm -f "$1/etc/apt/sources.list" "$1/etc/resolv.conf"',
             ': > "$1/etc/machine-id"']
    try:
        call(["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
              f"--include={','.join(packages)}", *(f"--dpkgopt={option}" for option in DPKG_OPTIONS),
              *(f"--aptopt={option}" for option in APT_OPTIONS), *(f"--customize-hook={hook}" for hook in hooks),
              SUITES[0], str(root), *sources(*SUITES)], 1200)
        call(["mke2fs", "-q", "-t", "ext4", "-L", "nbspd-lab", "-E", "lazy_itable_init=1", "-d", str(root),
              str(folder / "root.ext4"), SIZE], 300)
    finally:
        call(["rm", "-rf", "--one-file-system", str(root)], 120)
