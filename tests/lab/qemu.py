"""The QEMU process of one guest: its command line, its console, its end."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .kernels import Kernel

BINARY = "qemu-system-x86_64"
LSM = {
    "lsm": "landlock,lockdown,yama,integrity,apparmor,bpf",
    "fmod_ret": "landlock,lockdown,yama,integrity,apparmor",
    "socket": "landlock,lockdown,yama,integrity,apparmor",
}
WORDS = "console=ttyS0 quiet loglevel=4 net.ifnames=0 mitigations=off systemd.show_status=false"
KVM_GET_API_VERSION = 0xAE00
PR_SET_PDEATHSIG = 1
CONSOLE_LINES = 40
DEADLY = ("Kernel panic - not syncing", "You are in emergency mode", "lab: cannot mount")


@dataclass(frozen=True)
class Machine:
    """What to boot."""

    kernel: Kernel
    disk: Path
    tier: str
    shares: tuple[tuple[Path, str], ...] = ()
    memory_mib: int = 2048
    cpus: int = 2               # with KVM; emulated it is one
    icount: bool = False        # count instructions as nanoseconds: one CPU, no KVM, repeatable
    append: str = ""            # more words for the kernel's command line

    def command(self, folder: Path) -> list[str]:
        """Return QEMU's command line; `folder` holds the initrd, the sockets and the throw-away layer of the disk."""
        words = f"{WORDS} lsm={LSM[self.tier]} {self.append}"
        command = [BINARY, "-nodefaults", "-no-user-config", "-display", "none", "-M", "pc", "-m", str(self.memory_mib),
                   *self._processor(),
                   "-kernel", str(self.kernel.image), "-initrd", str(folder / "initrd"), "-append", words.strip(),
                   "-drive", f"file={self.disk},format=raw,if=virtio,snapshot=on,cache=unsafe",
                   "-drive", f"file={self.kernel.modules},format=raw,if=virtio,readonly=on",
                   "-device", "virtio-serial-pci",
                   "-chardev", f"socket,id=agent,path={folder}/agent.sock,server=on,wait=off",
                   "-device", "virtserialport,chardev=agent,name=org.nbspd.lab",
                   "-netdev", "user,id=net0,restrict=on", "-device", "virtio-net-pci,netdev=net0,romfile=",
                   "-device", "virtio-rng-pci", "-serial", f"file:{folder}/console.log",
                   "-monitor", f"unix:{folder}/monitor.sock,server=on,wait=off", "-pidfile", str(folder / "pid")]
        for number, (path, _) in enumerate(self.shares):
            command += ["-virtfs", f"local,path={path},mount_tag=share{number},security_model=none,multidevs=remap"]
        return command

    def _processor(self) -> list[str]:
        if self.icount:
            return ["-accel", "tcg,thread=single", "-icount", "shift=0", "-cpu", "max", "-smp", "1"]
        if kvm_works():
            return ["-enable-kvm", "-cpu", "host", "-smp", str(self.cpus)]
        # One processor: of several, one may run into code that another has just patched (each attach to a function
        # patches it, as does each static key), which the emulator shows it too late: "Oops: int3", the kernel is lost.
        return ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "qemu64", "-smp", "1"]


def kvm_works() -> bool:
    """Return whether KVM can run a stock kernel here: the device alone says nothing on a virtual machine."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    if "vmx" not in flags and "svm" not in flags:
        return False
    try:
        with open("/dev/kvm", "rb") as device:
            return fcntl.ioctl(device, KVM_GET_API_VERSION) == 12
    except OSError:
        return False


class Qemu:
    """One running QEMU, or one that another process left running in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, machine: Machine, outlives_us: bool) -> None:
        """Start it; unless it `outlives_us`, it dies with this process, however that ends."""
        command = machine.command(self.folder)
        (self.folder / "command").write_text(shlex.join(command) + "\n", encoding="utf-8")
        libc = ctypes.CDLL(None)

        def die_with_parent() -> None:
            if not outlives_us:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        with open(self.folder / "qemu.log", "wb") as log:
            try:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                 start_new_session=True, preexec_fn=die_with_parent,
                                                 env={**os.environ, "TMPDIR": str(self.folder)})
            except FileNotFoundError as error:
                raise LabError(f"{BINARY} is not installed; run tests/install-deps") from error

    def watch(self) -> None:
        """Raise LabError when QEMU has ended or the console shows that the guest is lost."""
        if self._process and self._process.poll() is not None:
            raise LabError(f"QEMU ended with status {self._process.returncode}: {self._read('qemu.log')[-2000:]}")
        console = self.console()
        for sign in DEADLY:
            if sign in console:
                raise LabError(f"the guest died: {sign}")

    def console(self) -> str:
        """Return all that the guest's serial console has shown."""
        return self._read("console.log")

    def report(self) -> str:
        """Return the console's last lines and the command that reproduces this boot."""
        tail = "\n".join(self.console().splitlines()[-CONSOLE_LINES:])
        return f"--- the console's last lines ---\n{tail}\n--- QEMU was started by ---\n{self._read('command')}"

    def stop(self) -> None:
        """End QEMU at once; the guest's disk is thrown away with it."""
        if self._process:
            self._process.kill()
            self._process.wait()
        elif pid := self._read("pid").strip():
            try:
                if BINARY.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
