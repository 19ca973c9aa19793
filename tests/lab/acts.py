"""The forbidden acts: runs inside the guest, tries one act after the other and prints what became of each.

    acts.py < [["read", "/srv/payroll/a"], ["connect", "10.0.0.1", 80]]  ->  ["EPERM", "allowed"]

An outcome is "allowed", the name of an errno, or "impossible: " and why the act could not even be attempted, so that a
failed preparation never passes for a denial. Standard library only.
"""

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from typing import Any, Callable

MS_BIND = 4096
AT_FDCWD = -100
RENAME_EXCHANGE = 2
libc = ctypes.CDLL(None, use_errno=True)


class Impossible(Exception):
    """The act could not be prepared."""


def call(result: int) -> None:
    """Raise the error of a call through ctypes."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def prepared(make: Callable[[], Any]) -> Any:
    """Do what an act needs beforehand, outside of what is protected."""
    try:
        return make()
    except OSError as error:
        raise Impossible(str(error)) from error


# -- files


def opened(path: str, flags: int) -> None:
    """Open and close."""
    os.close(os.open(path, flags, 0o600))


def bound(folder: str, name: str) -> None:
    """Bind a folder elsewhere, in this process's own mount namespace, and read a file there."""
    prepared(lambda: os.makedirs("/run/acts-bound", exist_ok=True))
    prepared(lambda: call(libc.unshare(0x00020000)))
    prepared(lambda: call(libc.mount(b"none", b"/", None, 0x44000, None)))      # MS_REC | MS_PRIVATE
    prepared(lambda: call(libc.mount(folder.encode(), b"/run/acts-bound", None, MS_BIND, None)))
    opened(f"/run/acts-bound/{name}", os.O_RDONLY)


def by_o_path(path: str) -> None:
    """Take a handle that opens nothing, then open what it stands for."""
    handle = prepared(lambda: os.open(path, os.O_PATH))
    opened(f"/proc/self/fd/{handle}", os.O_RDONLY)


WRITING = os.O_WRONLY | os.O_APPEND


def in_child(act: Callable[[], Any]) -> None:
    """Do something in a process of its own, which may leave namespaces and roots behind."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            act()
            said = "0"
        except Impossible as error:
            said = f"impossible: {error}"
        except OSError as error:
            said = str(error.errno)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    if not said.isdigit():
        raise Impossible(said.removeprefix("impossible: "))
    if said != "0":
        raise OSError(int(said), os.strerror(int(said)))


def apart(flags: int, then: Callable[[], Any]) -> None:
    """Unshare namespaces, the mounts among them, and do something there."""
    user, group = os.getuid(), os.getgid()
    prepared(lambda: call(libc.unshare(flags | 0x00020000)))    # CLONE_NEWNS
    if flags & 0x10000000:                                      # CLONE_NEWUSER
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with prepared(lambda name=name: open(f"/proc/self/{name}", "w")) as file:   # type: ignore[misc]
                file.write(text)
    prepared(lambda: call(libc.mount(b"none", b"/", None, 0x44000, None)))      # MS_REC | MS_PRIVATE
    then()


def opened_in_other_proc(path: str) -> None:
    """Open a file below /proc on a procfs of a new pid namespace."""
    os.makedirs("/run/acts-proc", exist_ok=True)

    def inside() -> None:
        prepared(lambda: call(libc.mount(b"acts", b"/run/acts-proc", b"proc", 0, None)))
        opened(path.replace("/proc", "/run/acts-proc", 1), WRITING)
    apart(0x20000000, lambda: in_child(inside))                 # CLONE_NEWPID


def opened_bound(path: str) -> None:
    """Open a file through a bind mount of its folder."""
    os.makedirs("/run/acts-bound", exist_ok=True)

    def inside() -> None:
        prepared(lambda: call(libc.mount(os.path.dirname(path).encode(), b"/run/acts-bound", None, MS_BIND, None)))
        opened(f"/run/acts-bound/{os.path.basename(path)}", WRITING)
    apart(0, inside)


def opened_in_chroot(path: str) -> None:
    """Open a file from a root that is its folder."""
    prepared(lambda: os.chroot(os.path.dirname(path)))
    opened(f"/{os.path.basename(path)}", WRITING)


def linked_symlink(target: str, name: str) -> None:
    """Read through a symbolic link that stands elsewhere."""
    if not os.path.lexists(name):
        prepared(lambda: os.symlink(target, name))
    try:
        opened(name, os.O_RDONLY)
    finally:
        os.unlink(name)


def moved_in(source: str, target: str) -> None:
    """Rename a file of ours over a protected name."""
    with prepared(lambda: open(source, "w")) as file:
        file.write("foreign\n")
    try:
        os.rename(source, target)
    finally:
        if os.path.lexists(source):
            os.unlink(source)


def symlink_over(source: str, target: str) -> None:
    """Replace a protected name by a symbolic link."""
    prepared(lambda: os.symlink("/etc/hostname", source))
    try:
        os.rename(source, target)
    finally:
        if os.path.lexists(source):
            os.unlink(source)


def linked_in(source: str, target: str) -> None:
    """Give a file of ours a protected name."""
    with prepared(lambda: open(source, "w")) as file:
        file.write("foreign\n")
    try:
        os.link(source, target)
    finally:
        os.unlink(source)


def exchanged(source: str, target: str) -> None:
    """Exchange a file of ours and a protected one."""
    with prepared(lambda: open(source, "w")) as file:
        file.write("foreign\n")
    try:
        call(libc.renameat2(AT_FDCWD, source.encode(), AT_FDCWD, target.encode(), RENAME_EXCHANGE))
    finally:
        os.unlink(source)


# -- network


def connected(host: str, port: int) -> None:
    """Connect by TCP to an IPv4 or IPv6 address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.settimeout(10)
        one.connect((host, port))


def fast_opened(host: str, port: int) -> None:
    """Send with the first packet, without connect(2)."""
    with socket.socket(socket.AF_INET) as one:
        one.settimeout(10)
        one.sendto(b"x", socket.MSG_FASTOPEN, (host, port))


def sent(host: str, port: int) -> None:
    """Send a datagram without connecting."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", (host, port))


def unix_connected(path: str) -> None:
    """Connect to a unix socket; @ in front of an abstract name."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(10)
        one.connect("\0" + path[1:] if path.startswith("@") else path)


def executed(*words: str) -> None:
    """Execute a program; one that is killed counts as such."""
    status = subprocess.call(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if status == -9:
        raise OSError(errno.EKEYREJECTED, "killed")     # shown as "killed"


ACTS: dict[str, Callable[..., Any]] = {
    "read": lambda path: opened(path, os.O_RDONLY),
    "write": lambda path: opened(path, os.O_WRONLY),
    "append": lambda path: opened(path, os.O_WRONLY | os.O_APPEND),
    "append-through-root": lambda path: opened(f"/proc/self/root{path}", WRITING),
    "append-by-o-path": lambda path: opened(f"/proc/self/fd/{prepared(lambda: os.open(path, os.O_PATH))}", WRITING),
    "append-bound": lambda path: in_child(lambda: opened_bound(path)),
    "append-in-pid-namespace": lambda path: in_child(lambda: opened_in_other_proc(path)),
    "append-in-user-namespace": lambda path: in_child(lambda: apart(0x10000000, lambda: opened(path, WRITING))),
    "append-in-chroot": lambda path: in_child(lambda: opened_in_chroot(path)),
    "create": lambda path: opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "truncate": lambda path: os.truncate(path, 0),
    "list": os.listdir,
    "unlink": os.unlink,
    "mkdir": os.mkdir,
    "rmdir": os.rmdir,
    "mknod": os.mkfifo,
    "chmod": lambda path: os.chmod(path, 0o777),
    "chown": lambda path: os.chown(path, 0, 0),
    "utime": os.utime,
    "setxattr": lambda path: os.setxattr(path, "user.acts", b"1"),
    "removexattr": lambda path: os.removexattr(path, "user.kept"),
    "rename": os.rename,
    "link": os.link,
    "symlink": lambda path: os.symlink("/etc/hostname", path),
    "move-in": moved_in,
    "symlink-over": symlink_over,
    "link-in": linked_in,
    "exchange": exchanged,
    "through-symlink": linked_symlink,
    "through-root": lambda path: opened(f"/proc/self/root{path}", os.O_RDONLY),
    "through-o-path": by_o_path,
    "bind-mount": bound,
    "execute": executed,
    "connect": connected,
    "fast-open": fast_opened,
    "send": sent,
    "unix": unix_connected,
}


def outcome(name: str, arguments: list[Any]) -> str:
    """Try one act and say what became of it."""
    try:
        ACTS[name](*arguments)
    except Impossible as error:
        return f"impossible: {error}"
    except TimeoutError:
        return "ETIMEDOUT"
    except OSError as error:
        return "killed" if error.errno == errno.EKEYREJECTED else errno.errorcode[error.errno or 0]
    return "allowed"


def main() -> None:
    """Read the list of acts, print the list of outcomes."""
    print(json.dumps([outcome(name, arguments) for name, *arguments in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
