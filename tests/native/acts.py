"""The child that does what a test asks: one JSON request a line on stdin, one JSON answer a line on stdout.

    PROGRAM -I -S acts.py

PROGRAM is a Python under any name, so that the same act is done by a checkpoint and by a stranger. Only the standard
library, and nothing of the checkout. An answer has `errno` (0: it worked; null: it failed without one, a timeout for
example) and `value` or `error`.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from typing import Any, Callable

TIMEOUT_S = 1.5
SLOWLY_S = 0.7
MSG_FASTOPEN = 0x20000000
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}
TYPES = {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM}
HELD: dict[str, socket.socket] = {}
HEARD: list[str] = []


def address_of(address: Any) -> Any:
    """Return what the socket module wants: a tuple for IP, a name for unix ("@" begins an abstract one)."""
    if isinstance(address, str):
        return "\0" + address[1:] if address.startswith("@") else address
    return tuple(address)


def open_socket(family: str, kind: str, protocol: int = 0) -> socket.socket:
    """Return a socket that does not wait for ever."""
    made = socket.socket(FAMILIES[family], TYPES[kind], protocol)
    made.settimeout(TIMEOUT_S)
    if family == "unix" and kind == "dgram":
        made.bind("")           # autobind, so that the answer finds us
    return made


def ask(family: str, kind: str, address: Any, say: str = "SELECT 1") -> str:
    """Connect, say something, and return the answer."""
    with open_socket(family, kind) as made:
        made.connect(address_of(address))
        made.send(say.encode())
        return made.recv(1024).decode()


def connect(family: str, kind: str, address: Any, protocol: int = 0) -> None:
    """Connect and leave."""
    with open_socket(family, kind, protocol) as made:
        made.connect(address_of(address))


def send_to(family: str, address: Any, say: str = "SELECT 1", flags: int = 0) -> str:
    """Send a datagram without connecting, and return the answer."""
    with open_socket(family, "dgram") as made:
        made.sendto(say.encode(), flags, address_of(address))
        return made.recv(1024).decode()


def fire(family: str, address: Any) -> None:
    """Send a datagram and go."""
    with open_socket(family, "dgram") as made:
        made.sendto(b"SELECT 1", address_of(address))


def fast_open(family: str, address: Any) -> str:
    """Connect by sending data, as TCP Fast Open does."""
    with open_socket(family, "stream") as made:
        made.setblocking(True)      # else it answers EINPROGRESS
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))
        made.sendto(b"SELECT 1", MSG_FASTOPEN, address_of(address))
        return made.recv(1024).decode()


class Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    """struct mmsghdr on 64-bit machines."""

    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("pad", ctypes.c_uint32),
                ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p),
                ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int), ("pad2", ctypes.c_uint32),
                ("length", ctypes.c_uint32), ("pad3", ctypes.c_uint32)]


def send_many(host: str, port: int, count: int = 3) -> int:
    """Send datagrams by one sendmmsg(2); return how many went."""
    name = ctypes.create_string_buffer(
        struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8), 16)
    data = ctypes.create_string_buffer(b"SELECT 1", 8)
    piece = Iovec(ctypes.addressof(data), 8)
    headers = (Msghdr * count)(*(Msghdr(name=ctypes.addressof(name), namelen=16, iov=ctypes.addressof(piece), iovlen=1)
                                 for _ in range(count)))
    libc = ctypes.CDLL(None, use_errno=True)
    with open_socket("inet", "dgram") as made:
        sent: int = libc.sendmmsg(made.fileno(), headers, count, 0)
    if sent < 0:
        raise OSError(ctypes.get_errno(), "sendmmsg")
    return sent


def ip4_packet(host: str, protocol: int, payload: bytes, source: str = "127.0.0.1", fragment: int = 0) -> bytes:
    """Return an IPv4 packet; `fragment` is the word of flags and offset."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(host))
    total = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:] + payload


def udp_packet(host: str, port: int, data: bytes, source: str = "127.0.0.1") -> bytes:
    """Return an IPv4 packet with a datagram; the kernel accepts a UDP checksum of zero."""
    return ip4_packet(host, socket.IPPROTO_UDP, struct.pack("!HHHH", 40000, port, 8 + len(data), 0) + data, source)


def send_frame(host: str, port: int, say: str, device: str = "lo", source: str = "127.0.0.1") -> int:
    """Send a datagram from a packet socket, below every inet socket."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as made:
        return made.sendto(udp_packet(host, port, say.encode(), source), (device, 0x0800, 0, 0, bytes(6)))


def send_raw(host: str, port: int, say: str) -> int:
    """Send a datagram from a raw socket with a header of our own."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as made:
        return made.sendto(udp_packet(host, port, say.encode()), (host, 0))


def send_bare(host: str, port: int, fragment: int = 0) -> int:
    """Send a TCP acknowledgement without data from a raw socket, whole or as the first fragment (0x2000)."""
    tcp = struct.pack("!HHIIBBHHHI", 40000, port, 1, 1, 6 << 4, 0x10, 1024, 0, 0, 0x01010101)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as made:
        return made.sendto(ip4_packet(host, socket.IPPROTO_TCP, tcp, fragment=fragment), (host, 0))


def hold(name: str, family: str, kind: str, address: Any) -> None:
    """Connect and keep the connection under a name."""
    HELD[name] = open_socket(family, kind)
    HELD[name].connect(address_of(address))


def use(name: str, say: str = "SELECT 1") -> str:
    """Ask over a connection that is held."""
    HELD[name].send(say.encode())
    return HELD[name].recv(1024).decode()


def tell(name: str, say: str) -> None:
    """Say something over a connection that is held, and hear nothing."""
    HELD[name].send(say.encode())


def hear(name: str) -> str:
    """Wait for something to come over a connection that is held."""
    return HELD[name].recv(1024).decode()


def set_option(family: int, level: int, option: int, value: int) -> None:
    """Set an option of a new raw socket of a family that is known by its number."""
    with socket.socket(family, socket.SOCK_RAW) as made:
        made.setsockopt(level, option, value)


def drop(name: str) -> None:
    """Close a connection that is held."""
    HELD.pop(name).close()


def listen(family: str, kind: str, address: Any, forward: list[Any] | None = None, options: list[int] = []) -> Any:
    """Answer from now on at an address, each request with "rows: ", or with what another address says to it."""
    made = socket.socket(FAMILIES[family], TYPES[kind])
    if family != "unix":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == "inet6":
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if options:
        made.setsockopt(*options)
    made.bind(address_of(address))

    def answer(said: bytes) -> bytes:
        HEARD.append(said.decode())
        if said.startswith(b"slowly"):
            pause(SLOWLY_S)
        if forward is None:
            return b"rows: " + said
        try:
            return ask(forward[0], forward[1], forward[2], said.decode()).encode()
        except OSError as error:
            return f"error: {error}".encode()

    def serve_one(one: socket.socket) -> None:
        with one:
            try:
                while said := one.recv(1024):
                    one.send(answer(said))
            except OSError:
                return

    def serve() -> None:
        while kind == "stream":
            threading.Thread(target=serve_one, args=(made.accept()[0],), daemon=True).start()
        while True:
            said, sender = made.recvfrom(1024)
            reply = answer(said)
            if sender:
                try:
                    made.sendto(reply, sender)
                except OSError:
                    continue

    if kind == "stream":
        made.listen(64)
    threading.Thread(target=serve, daemon=True).start()
    name = made.getsockname()
    return list(name) if isinstance(name, tuple) else address


def heard() -> list[str]:
    """Return what listeners here were told since the last time."""
    found = list(HEARD)
    HEARD.clear()
    return found


def run(argv: list[str], timeout_s: float = 10.0) -> dict[str, Any]:
    """Run a program; return its exit status (negative: the signal) and what it said."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


def in_thread(act: str, *arguments: Any) -> Any:
    """Do something in another thread and return its value; what it raises is raised here."""
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(perform({"act": act, "args": arguments})))
    thread.start()
    thread.join()
    if found[0]["errno"] != 0:
        raise OSError(found[0]["errno"], found[0]["error"])
    return found[0]["value"]


def in_fork(act: str, *arguments: Any, **named: Any) -> Any:
    """Do something in a forked child and return its value; what it raises is raised here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, json.dumps(perform({"act": act, "args": arguments, "named": named})).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    if not text:
        raise ChildProcessError(f"the child ended with status {os.waitstatus_to_exitcode(status)}")
    done = json.loads(text)
    if done["errno"] != 0:
        raise OSError(done["errno"], done["error"])
    return done["value"]


def become(program: str) -> None:
    """Go on as another program, over the same pipes; the answer comes from there."""
    sys.stdout.flush()
    os.execv(program, [program, "-I", "-S", os.path.abspath(__file__), "reborn"])


def children(program: str, act: str, *arguments: Any) -> Any:
    """Do something in a child that runs another program."""
    child = subprocess.Popen([program, "-I", "-S", os.path.abspath(__file__)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    out, _ = child.communicate(json.dumps({"act": act, "args": arguments}) + "\n")
    if not out:
        raise ChildProcessError(f"the child ended with status {child.returncode}")
    done = json.loads(out)
    if done["errno"] != 0:
        raise OSError(done["errno"], done["error"])
    return done["value"]


def alternate(requests: list[dict[str, Any]], stop: str) -> list[list[int]]:
    """Do things again and again until a file appears; return how often each was [allowed, denied, else]."""
    counts = [[0, 0, 0] for _ in requests]
    while not os.path.exists(stop):
        for count, request in zip(counts, requests):
            done = perform(request)
            count[{0: 0, 1: 1}.get(done["errno"], 2)] += 1
    return counts


def repeat(times: int, act: str, *arguments: Any) -> list[int]:
    """Do something many times; return how often it was [allowed, denied, else]."""
    count = [0, 0, 0]
    for _ in range(times):
        count[{0: 0, 1: 1}.get(perform({"act": act, "args": arguments})["errno"], 2)] += 1
    return count


def pause(seconds: float) -> None:
    """Wait."""
    select.select([], [], [], seconds)


def rename(old: str, new: str) -> None:
    """Rename a file."""
    os.rename(old, new)


KNOWN: tuple[Callable[..., Any], ...] = (
    ask, connect, send_to, fire, fast_open, send_many, send_frame, send_raw, send_bare, hold, use, tell, hear,
    set_option, drop, listen, heard, run, in_thread, in_fork, become, children, alternate, repeat, pause, rename,
    os.chdir, os.nice, os.seteuid, os.unlink)
ACTS = {act.__name__: act for act in KNOWN}


def perform(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked and say how it went."""
    try:
        return {"errno": 0, "value": ACTS[request["act"]](*request.get("args", ()), **request.get("named", {}))}
    except OSError as error:
        return {"errno": error.errno, "error": str(error)}


def main() -> None:
    """Do what is asked until nobody asks."""
    if "reborn" in sys.argv:
        print(json.dumps({"errno": 0, "value": None}), flush=True)
    for line in sys.stdin:
        print(json.dumps(perform(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
