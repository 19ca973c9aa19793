"""The servers that attempts try to reach: they greet with a secret and remember what they hear."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from pathlib import Path

BACKLOG = 512
PACKET_MAX = 65536
EXTRA_STREAMS = ((socket.AF_INET, 132), (socket.AF_INET6, 132))     # SCTP, where the kernel has it
AF_VSOCK_ANY = 0xFFFFFFFF


class Server:
    """Listens on every address of the drill in a thread of its own, until it is closed."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.heard = {True: bytearray(), False: bytearray()}    # by whether it was said to something guarded
        self.changed = threading.Condition()
        self.selector = selectors.DefaultSelector()
        self.lock = threading.Lock()
        self.wake_read, self.wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.selector.register(self.wake_read, selectors.EVENT_READ, ("wake", False))
        self.is_closing = False
        self.thread = threading.Thread(target=self.serve, name="drill-server", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self.thread.start()

    def close(self) -> None:
        """Stop and close every socket."""
        self.is_closing = True
        os.write(self.wake_write, b"!")
        if self.thread.ident is not None:
            self.thread.join()
        for key in list(self.selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self.selector.close()
        os.close(self.wake_read)
        os.close(self.wake_write)

    def greeting(self, is_guarded: bool) -> bytes:
        """Return what is said to whoever connects."""
        return f"nbspd-drill-{'guarded' if is_guarded else 'open'}-greeting-{self.key}\n".encode()

    # -- listening

    def ports(self, kind: int, is_guarded: bool) -> int:
        """Listen on a free port of all IPv4 and IPv6 addresses and return it. Raises OSError."""
        for _ in range(50):
            first = socket.socket(socket.AF_INET, kind)
            first.bind(("0.0.0.0", 0))
            port: int = first.getsockname()[1]
            try:
                second = socket.socket(socket.AF_INET6, kind)
                second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                second.bind(("::", port))
            except OSError as error:
                if error.errno in (97, 99):         # EAFNOSUPPORT, EADDRNOTAVAIL: a host without IPv6
                    self.listen(first, is_guarded)
                    return port
                first.close()
                continue
            self.listen(first, is_guarded)
            self.listen(second, is_guarded)
            if kind == socket.SOCK_STREAM:
                self.others(port, is_guarded)
            return port
        raise OSError("no free port for the drill")

    def others(self, port: int, is_guarded: bool) -> None:
        """Listen on the same port of other transports, where the kernel has them."""
        for family, protocol in EXTRA_STREAMS:
            try:
                made = socket.socket(family, socket.SOCK_STREAM, protocol)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind(("0.0.0.0" if family == socket.AF_INET else "::", port))
                self.listen(made, is_guarded)
            except OSError:
                continue        # absent; the attempts say so themselves

    def vsock(self) -> int:
        """Listen on a port of AF_VSOCK and return it, 0 when there is none."""
        try:
            made = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            made.bind((AF_VSOCK_ANY, AF_VSOCK_ANY))
            port: int = made.getsockname()[1]
            self.listen(made)
        except OSError:
            return 0
        return port

    def unix(self, name: str, kind: int, is_guarded: bool = True) -> None:
        """Listen on a unix socket; @ begins an abstract name."""
        made = socket.socket(socket.AF_UNIX, kind)
        made.bind("\0" + name[1:] if name.startswith("@") else name)
        if not name.startswith("@"):
            Path(name).chmod(0o777)
        self.listen(made, is_guarded)

    def listen(self, made: socket.socket, is_guarded: bool = True) -> None:
        """Take a bound socket into the loop."""
        made.setblocking(False)
        is_stream = made.type != socket.SOCK_DGRAM
        if is_stream:
            made.listen(BACKLOG)
        with self.lock:
            self.selector.register(made, selectors.EVENT_READ, ("listener" if is_stream else "packets", is_guarded))
        os.write(self.wake_write, b"!")

    # -- serving

    def serve(self) -> None:
        """The loop."""
        while not self.is_closing:
            for key, _ in self.selector.select():
                what, is_guarded = key.data
                if not isinstance(key.fileobj, socket.socket):
                    os.read(self.wake_read, 4096)
                elif what == "listener":
                    self.accept(key.fileobj, is_guarded)
                else:
                    self.receive(key.fileobj, what == "packets", is_guarded)

    def accept(self, listener: socket.socket, is_guarded: bool) -> None:
        """Greet whoever comes."""
        try:
            made, _ = listener.accept()
            made.setblocking(False)
            made.send(self.greeting(is_guarded))
        except OSError:
            return
        with self.lock:
            self.selector.register(made, selectors.EVENT_READ, ("stream", is_guarded))

    def receive(self, made: socket.socket, is_packets: bool, is_guarded: bool) -> None:
        """Remember what is said."""
        try:
            data = made.recv(PACKET_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            with self.changed:
                self.heard[is_guarded] += data + b"\n"
                self.changed.notify_all()
        elif not is_packets:
            with self.lock:
                self.selector.unregister(made)
            made.close()

    # -- asking

    def has_heard(self, token: str, is_guarded: bool, wait_s: float) -> bool:
        """Return whether the token came to something guarded, or to something else; waits a little for it."""
        wanted = token.encode()
        with self.changed:
            return self.changed.wait_for(lambda: wanted in self.heard[is_guarded], wait_s)
