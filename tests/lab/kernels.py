"""Debian's kernels: the image, its modules as a small ext4 image, and an initramfs that mounts both disks."""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from .apt import call, download
from .cache import HERE, built, digest, say
from .cpio import Archive
from .errors import LabError

KERNELS = {                                                     # name -> suites, the kernel's own first
    "6.1": ("bookworm", "bookworm-security", "bookworm-updates"),
    "6.12": ("bookworm-backports", "bookworm"),
    "newest": ("sid",),
}
PACKAGES = r"linux-(base|image|binary|modules)-\d.*-amd64"    # from 7.x on these are packages of their own
NEEDED = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")     # to reach the disks; udev loads the rest
UNWANTED = ("drivers/gpu", "drivers/media", "drivers/net/ethernet", "drivers/net/wireless", "sound")
BUSYBOX = Path("/bin/busybox")

INIT = """#!/bin/busybox sh
# Mounts the root (vda) and the modules (vdb), lays the files of the lab over it once, and hands over to systemd.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
tries=0
while [ ! -e /dev/vdb ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root || echo 'lab: cannot mount the root file system'
/bin/busybox mount -t ext4 -o ro /dev/vdb /root/usr/lib/modules || echo 'lab: cannot mount the modules'
if [ ! -e /root/.lab ]; then /bin/busybox cp -a /overlay/. /root/; : > /root/.lab; fi
/bin/busybox umount /proc
/bin/busybox umount /sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""


@dataclass(frozen=True)
class Kernel:
    """The files of one kernel."""

    name: str
    folder: Path

    @property
    def image(self) -> Path:
        """Return the bootable kernel image."""
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        """Return the ext4 image to mount on /usr/lib/modules."""
        return self.folder / "modules.ext4"

    @property
    def initrd(self) -> Path:
        """Return the initramfs; the guest's own files are appended to it."""
        return self.folder / "initrd"

    @property
    def release(self) -> str:
        """Return what `uname -r` says there."""
        return (self.folder / "release").read_text(encoding="ascii").strip()


def kernel(name: str) -> Kernel:
    """Return a kernel's files, fetching them (15 s) when they are not cached; a cached one does not age by itself."""
    if name not in KERNELS:
        raise LabError(f"unknown kernel {name}; one of {', '.join(KERNELS)}")
    key = digest(name, Path(__file__), HERE / "cpio.py")
    return Kernel(name, built(f"kernel-{name}-{key}", lambda folder: _build(name, folder)))


def _build(name: str, folder: Path) -> None:
    tree, fetched = folder / "tree", folder / "fetched"
    for package in download("linux-image-amd64", PACKAGES, KERNELS[name], fetched):
        call(["dpkg-deb", "-x", str(package), str(tree)], 120)
    modules = tree / ("usr/lib/modules" if (tree / "usr/lib/modules").is_dir() else "lib/modules")
    release = next(modules.iterdir()).name
    say(f"kernel {name} is {release}")
    places = [tree / f"boot/vmlinuz-{release}", modules / release / "vmlinuz"]
    image = [place for place in places if place.is_file()]
    if not image:
        raise LabError(f"no vmlinuz in the packages of kernel {name}")
    image[0].rename(folder / "vmlinuz")
    for unwanted in UNWANTED:
        call(["rm", "-rf", str(modules / release / "kernel" / unwanted)], 60)
    usr = tree / "merged"
    (usr / "lib").mkdir(parents=True)
    modules.rename(usr / "lib/modules")
    call(["/sbin/depmod", "-b", str(usr), release], 120)
    _write_initrd(usr / "lib/modules" / release, folder / "initrd")
    call(["mke2fs", "-q", "-t", "ext4", "-L", "modules", "-O", "^has_journal", "-d", str(usr / "lib/modules"),
          str(folder / "modules.ext4"), "700M"], 120)
    (folder / "release").write_text(release + "\n", encoding="ascii")
    call(["rm", "-rf", str(tree), str(fetched)], 60)


def _write_initrd(modules: Path, target: Path) -> None:
    archive = Archive()
    for name in ("dev", "proc", "sys", "root", "overlay"):
        archive.folder(name)
    archive.device("dev/console", 5, 1)
    archive.file("init", INIT.encode(), 0o755)
    archive.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
    order = _load_order(modules)
    archive.file("modules/order", "".join(f"{_plain(path)}\n" for path in order).encode())
    for path in order:
        content = (modules / path).read_bytes()
        archive.file(f"modules/{_plain(path)}", lzma.decompress(content) if path.endswith(".xz") else content)
    target.write_bytes(archive.content())


def _plain(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".xz")


def _load_order(modules: Path) -> list[str]:
    """Return the paths of the needed modules and of those they need, each after what it needs."""
    needs = dict(line.split(":", 1) for line in (modules / "modules.dep").read_text(encoding="ascii").splitlines())
    paths = {re.sub(r"\.ko.*$", "", path.rsplit("/", 1)[-1]).replace("-", "_"): path for path in needs}
    builtin = (modules / "modules.builtin").read_text(encoding="ascii").replace("-", "_")
    order: list[str] = []
    for name in NEEDED:
        if name in paths:
            for path in (*reversed(needs[paths[name]].split()), paths[name]):
                if path not in order:
                    order.append(path)
        elif f"/{name}.ko" not in builtin and name != "crc32c_generic":     # part of the kernel's lib/ from 6.14 on
            raise LabError(f"this kernel has no module {name}")
    return order
