"""The sockets of a network namespace as the kernel lists them (sock_diag(7)), and the ending of one of them.

pyroute2's DiagSocket (0.7.2) takes a refusal for an empty list, cuts abstract names at their first NUL, and knows
neither SOCK_DESTROY nor the storage of BPF programs, in which the stamps of a socket are kept; so the messages are read
here. Formats: include/uapi/linux/inet_diag.h, unix_diag.h. Everything the kernel refuses is an OSError with its errno.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Iterator, Union

Address = Union[IPv4Address, IPv6Address]

TCP, UDP, UDPLITE, MPTCP = socket.IPPROTO_TCP, socket.IPPROTO_UDP, 136, 262
PROTOCOLS = {TCP: "tcp", UDP: "udp", UDPLITE: "udplite", MPTCP: "mptcp"}
ESTABLISHED, TIME_WAIT, CLOSE, LISTEN, NEW_SYN_RECV = 1, 6, 7, 10, 12
# what is connected, or becomes so: neither a name that is listened at, nor what is only remembered of a dead connection
CONNECTED = 0xFFF & ~(1 << TIME_WAIT | 1 << CLOSE | 1 << LISTEN)

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
REQ_SK_BPF_STORAGES, REQ_PROTOCOL, REQ_MAP_FD = 2, 3, 1
SK_BPF_STORAGES, STORAGE, STORAGE_VALUE = 20, 1, 3
UNIX_NAME, UNIX_VFS, UNIX_PEER = 0, 1, 2
UNIX_SHOW = 0x1 | 0x2 | 0x4
UNIX_ALL_STATES = 0xFFFFFFFF
NLA_TYPE_MASK, NLA_F_NESTED = 0x3FFF, 0x8000
CLONE_NEWNET = 0x40000000
ANSWER_TIMEOUT_S = 10
BUFFER_BYTES = 1 << 18

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
REQUEST = struct.Struct("=BBBBI")
PORTS = struct.Struct("!HH16s16s")
REST = struct.Struct("=IQ")
INET = struct.Struct("=IIIII")          # expires, rqueue, wqueue, uid, inode
UNIX_REQUEST = struct.Struct("=BBHIIIQ")
UNIX = struct.Struct("=BBBBIQ")
INET_BYTES = 4 + PORTS.size + REST.size + INET.size

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class InetSocket:
    """A TCP, UDP or MPTCP socket; `cookie` names it as long as this kernel runs."""

    family: int
    protocol: int
    state: int
    local: tuple[Address, int]
    remote: tuple[Address, int]
    interface: int
    cookie: int
    inode: int          # of the file by which processes hold it; 0: nobody does any more
    uid: int
    storage: bytes | None = None        # what a BPF program keeps with it, where it was asked for


@dataclass(frozen=True)
class UnixSocket:
    """A unix socket; an abstract name begins with a NUL byte."""

    inode: int
    kind: int
    state: int
    name: bytes
    peer: int                           # its inode, 0 for none
    file: tuple[int, int] | None        # device (kernel's encoding) and the number of the inode it is bound to


class Diagnosis:
    """A sock_diag socket in one network namespace."""

    def __init__(self, namespace: int | None = None) -> None:
        """`namespace` is a descriptor of another network namespace than that of this process. Raises OSError."""
        self._socket = _open() if namespace is None else _open_within(namespace)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._sequence = 0

    def __enter__(self) -> Diagnosis:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go."""
        self._socket.close()

    def inet(self, family: int, protocol: int, states: int = CONNECTED,
             storages: int | None = None) -> Iterator[InetSocket]:
        """Yield the sockets of a family and protocol; `storages` is a map of which to tell each socket's value.

        Raises OSError, ENOENT for a protocol that this kernel cannot list.
        """
        body = REQUEST.pack(family, min(protocol, 255), 0, 0, states) + bytes(PORTS.size + REST.size)
        if protocol > 255:
            body += _attribute(REQ_PROTOCOL, protocol.to_bytes(4, "little"))
        if storages is not None:
            table = _attribute(REQ_MAP_FD, storages.to_bytes(4, "little"))
            body += _attribute(REQ_SK_BPF_STORAGES | NLA_F_NESTED, table)
        for message in self._ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body):
            yield _inet(message, protocol)

    def unix(self) -> Iterator[UnixSocket]:
        """Yield the unix sockets that were made in the namespace. Raises OSError."""
        body = UNIX_REQUEST.pack(socket.AF_UNIX, 0, 0, UNIX_ALL_STATES, 0, UNIX_SHOW, 0)
        for message in self._ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body):
            yield _unix(message)

    def destroy(self, one: InetSocket) -> None:
        """End exactly this socket: its cookie must be the same; whoever holds it gets ECONNABORTED.

        Raises OSError: EOPNOTSUPP where the kernel has no CONFIG_INET_DIAG_DESTROY, ENOENT when it is gone, ESTALE when
        another one has its addresses.
        """
        body = REQUEST.pack(one.family, min(one.protocol, 255), 0, 0, CONNECTED) + PORTS.pack(
            one.local[1], one.remote[1], _packed(one.local[0]), _packed(one.remote[0])) + REST.pack(
                one.interface, one.cookie)
        if one.protocol > 255:
            body += _attribute(REQ_PROTOCOL, one.protocol.to_bytes(4, "little"))
        for _ in self._ask(SOCK_DESTROY, NLM_F_ACK, body):
            pass

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        """Yield the bodies of the answer, up to its end. Raises OSError."""
        self._sequence += 1
        self._socket.send(HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0) + body)
        while True:
            data, sender = self._socket.recvfrom(BUFFER_BYTES)
            if sender[0] != 0:              # only the kernel is believed
                continue
            offset = 0
            while offset + HEADER.size <= len(data):
                length, type_, _, sequence, _ = HEADER.unpack_from(data, offset)
                if length < HEADER.size or offset + length > len(data):
                    raise OSError(errno.EBADMSG, "the kernel's answer is cut short")
                message = data[offset + HEADER.size:offset + length]
                offset += (length + 3) & ~3
                if sequence != self._sequence:
                    continue        # of an answer that was not read to its end
                if type_ in (NLMSG_ERROR, NLMSG_DONE):
                    code = -int.from_bytes(message[:4], "little", signed=True) if len(message) >= 4 else 0
                    if code > 0:
                        raise OSError(code, os.strerror(code))
                    return
                yield message


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 4)       # NETLINK_SOCK_DIAG


def _open_within(namespace: int) -> socket.socket:
    """A socket stays in the namespace it was made in: a thread that then ends goes there, and nobody else."""
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def enter() -> None:
        try:
            if _libc.setns(namespace, CLONE_NEWNET):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            made.append(_open())
        except OSError as error:
            failed.append(error)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size:
            break
        found[kind & NLA_TYPE_MASK] = data[offset + ATTRIBUTE.size:offset + length]
        offset += (length + 3) & ~3
    return found


def _packed(address: Address) -> bytes:
    return address.packed.ljust(16, b"\0")


def _inet(message: bytes, protocol: int) -> InetSocket:
    family, state = message[0], message[1]
    sport, dport, source, destination = PORTS.unpack_from(message, 4)
    interface, cookie = REST.unpack_from(message, 4 + PORTS.size)
    _, _, _, uid, inode = INET.unpack_from(message, 4 + PORTS.size + REST.size)
    attributes = _attributes(message[INET_BYTES:])
    size = 4 if family == socket.AF_INET else 16
    values = [_attributes(value) for kind, value in
              _attributes(attributes.get(SK_BPF_STORAGES, b"")).items() if kind == STORAGE]
    storage = next((value[STORAGE_VALUE] for value in values if STORAGE_VALUE in value), None)
    local, remote = (ip_address(source[:size]), sport), (ip_address(destination[:size]), dport)
    return InetSocket(family, protocol, state, local, remote, interface, cookie, inode, uid, storage)


def _unix(message: bytes) -> UnixSocket:
    _, kind, state, _, inode, _ = UNIX.unpack_from(message)
    attributes = _attributes(message[UNIX.size:])
    name = attributes.get(UNIX_NAME, b"")
    if name[:1] != b"\0":
        name = name.partition(b"\0")[0]
    vfs = attributes.get(UNIX_VFS)
    number, device = struct.unpack("=II", vfs) if vfs is not None and len(vfs) == 8 else (0, 0)
    return UnixSocket(inode, kind, state, name, int.from_bytes(attributes.get(UNIX_PEER, b""), "little"),
                      (device, number) if vfs is not None else None)
