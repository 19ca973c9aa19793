"""The object of a violation in words: a path, "tcp 127.0.0.1:5432", "unix @name"."""

from __future__ import annotations

from typing import Mapping, Sequence

from .. import abi
from .decode import Hit
from .host import Host

PROTOCOLS = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}
UNIX = (abi.Channel.UNIX_CONNECT, abi.Channel.UNIX_SEND)
MONITOR: Mapping[int, str] = {
    abi.Channel.SIGNAL: "nbspd's process", abi.Channel.DEBUG: "nbspd or systemd",
    abi.Channel.PRIORITY: "nbspd's process",
    abi.Channel.BPF: "nbspd's kernel programs and tables", abi.Channel.PIN: "nbspd's pins",
    abi.Channel.MOUNT: "the mount of nbspd's pins", abi.Channel.KNOB: "nbspd's process or cgroup",
    abi.Channel.KERNEL_CODE: "code into the kernel: a module, or another kernel",
    abi.Channel.KERNEL_MEMORY: "the machine's memory, ports or registers past the kernel",
    abi.Channel.PROGRAM: "a bpf program"}
NUMBERED: Mapping[int, str] = {
    abi.Channel.SIGNAL: "signal", abi.Channel.BPF: "bpf command", abi.Channel.PROGRAM: "type",
    abi.Channel.KERNEL_CODE: "kind", abi.Channel.KERNEL_MEMORY: "lockdown reason"}
AT_DEVICE = (abi.Channel.PACKET, abi.Channel.INTERFACE, abi.Channel.ARRIVAL)


def object_words(hit: Hit, declared: Mapping[tuple[int, int, int], str], host: Host) -> str:
    """Return what was accessed. `declared` gives the paths of the objects that the rules name."""
    if hit.kind == abi.Kind.ENDPOINT:
        return _endpoint(hit, host)
    if hit.kind == abi.Kind.PROCESS:
        return f"process {hit.sun_name or '?'}[{hit.object[1]}]"
    if hit.kind == abi.Kind.MEMORY:
        return f"changed or writable memory of {'/'.join(reversed(hit.names))}" if hit.names else "memory of no file"
    if hit.kind == abi.Kind.MONITOR:
        return _monitor(hit)
    if hit.kind == abi.Kind.ABSTRACT:
        return f"unix {hit.sun_name}"
    if hit.channel == abi.Channel.RAW_FRAMES:
        return "frames that no filter sees"
    path = _path(hit, declared, host)
    return f"unix {path}" if hit.channel in UNIX else path


def _monitor(hit: Hit) -> str:
    what = MONITOR.get(hit.channel, "nbspd")
    if hit.names:
        return f"{what} …/{'/'.join(reversed(hit.names))}"
    return f"{what} ({NUMBERED.get(hit.channel, 'number')} {hit.port})" if hit.port else what


def _endpoint(hit: Hit, host: Host) -> str:
    address = f"[{hit.address}]" if ":" in hit.address else hit.address
    words = f"{PROTOCOLS.get(hit.proto, f'protocol {hit.proto}')} {address}:{hit.port}"
    return f"{words} by {host.interface(hit.ifindex)}" if hit.ifindex and hit.channel in AT_DEVICE else words


def _path(hit: Hit, declared: Mapping[tuple[int, int, int], str], host: Host) -> str:
    dev, number, _ = hit.object
    names = list(reversed(hit.names))
    base = declared.get(hit.object)
    is_whole = len(hit.names) < abi.PATH_NAMES     # the walk ended at the root of the file system
    if hit.kind == abi.Kind.RDEV:
        device = f"{number >> 20}:{number & 0xFFFFF}"
        return f"{base or ('/' + '/'.join(names) if names else 'device')} (device {device})"
    if base is not None:
        return below(base, hit.names, is_whole, hit.kind == abi.Kind.SLOT)
    point = host.mount(dev) if is_whole else ""
    if names and point:
        return f"{point.rstrip('/')}/{'/'.join(names)}"
    if names:
        return f"…/{'/'.join(names)}"
    return f"inode {number} on device {dev >> 20}:{dev & 0xFFFFF}"


def below(base: str, names: Sequence[str], is_whole: bool, is_slot: bool) -> str:
    """Return the path of an object at or below the declared path `base` (of a slot: the folder).

    `names` are the last names of its path as the file system has it, deepest first; they may reach beyond `base`, and
    the same file system may be mounted elsewhere too. `is_whole` says that they go up to its root.
    """
    parts = [part for part in reversed(base.split("/")) if part]
    places = [index for index, name in enumerate(names) if parts and name == parts[0] and index >= is_slot]
    agreeing = [index for index in places
                if all(name == part for name, part in zip(names[index:], parts))] or places
    if agreeing:
        return "/".join([base.rstrip("/"), *reversed(names[:agreeing[0]])])
    if not names:
        return base
    between = "" if is_whole else "/…"
    return "/".join([base.rstrip("/") + between, *reversed(names)])
