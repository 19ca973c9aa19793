"""The servers that attempts try to reach: they greet with a secret and remember what they hear."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from pathlib import Path

BACKLOG = 512
PACKET_MAX = 65536
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
OTHERS: dict[int, int] = {STREAM: 132, DGRAM: 136}      # SCTP and UDP-Lite, where the kernel has them
SUBSCRIBE = b"subscribe"        # greets again and again
AGAIN_S = 0.2
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
        self.subscribers: dict[socket.socket, bool] = {}
        self.again_at = 0.0
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
            self.others(kind, port, is_guarded)
            return port
        raise OSError("no free port for the drill")

    def others(self, kind: int, port: int, is_guarded: bool) -> None:
        """Listen on the same port of other transports, where the kernel has them."""
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                made = socket.socket(family, kind, OTHERS[kind])
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
            for key, _ in self.selector.select(AGAIN_S if self.subscribers else None):
                what, is_guarded = key.data
                if not isinstance(key.fileobj, socket.socket):
                    os.read(self.wake_read, 4096)
                elif what == "listener":
                    self.accept(key.fileobj, is_guarded)
                else:
                    self.receive(key.fileobj, what == "packets", is_guarded)
            if self.subscribers and time.monotonic() >= self.again_at:
                self.greet_again()

    def greet_again(self) -> None:
        """Say the greeting to whoever subscribed."""
        self.again_at = time.monotonic() + AGAIN_S
        for made, is_guarded in list(self.subscribers.items()):
            try:
                made.send(self.greeting(is_guarded))
            except BlockingIOError:
                continue
            except OSError:
                del self.subscribers[made]

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
        if data == SUBSCRIBE:
            self.subscribers[made] = is_guarded
        elif data:
            with self.changed:
                self.heard[is_guarded] += data + b"\n"
                self.changed.notify_all()
        elif not is_packets:
            with self.lock:
                self.selector.unregister(made)
            self.subscribers.pop(made, None)
            made.close()

    # -- asking

    def has_heard(self, token: str, is_guarded: bool, wait_s: float) -> bool:
        """Return whether the token came to something guarded, or to something else; waits a little for it."""
        wanted = token.encode()
        with self.changed:
            return self.changed.wait_for(lambda: wanted in self.heard[is_guarded], wait_s)
