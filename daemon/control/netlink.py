"""News of network interfaces and addresses, from the kernel's routing socket.

Only the type of a message and the index of its interface are needed, which stand at fixed places; a netlink library
would cost the resident daemon 21 MB (measured: pyroute2 0.7.2 on Debian 12), half of its budget.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from typing import Iterator

RTMGRP_LINK, RTMGRP_TC, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x8, 0x10, 0x100      # linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
RTM_DELQDISC, RTM_NEWTFILTER, RTM_DELTFILTER = 37, 44, 45
HEADER = struct.Struct("=IHHII")
INDEX = struct.Struct("=i")
TCMSG = struct.Struct("=BxxxiIII")              # linux/rtnetlink.h: family, interface, handle, parent, info
ATTRIBUTE = struct.Struct("=HH")
CLSACT, EGRESS = 0xFFFFFFF1, 0xFFFFFFF3         # parent of the qdisc, and of what hangs on its egress
TCA_OPTIONS, TCA_BPF_ID, TYPE_MASK = 2, 11, 0x3FFF                                  # linux/pkt_cls.h
PRIORITY = 0xB59D                               # of our filter, see programs/interfaces.py
INDEX_OFFSET = {RTM_NEWLINK: 4, RTM_DELLINK: 4, RTM_NEWADDR: 4, RTM_DELADDR: 4}   # ifinfomsg, ifaddrmsg
RECEIVE_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class News:
    """What changed: interfaces that are there now, whether addresses changed, whether some news was lost."""

    appeared: tuple[tuple[int, str], ...] = ()
    addresses: bool = False
    lost: bool = False
    filters: tuple[tuple[int, int], ...] = ()   # interface, id of the bpf program in our filter's place (0: none)


class NetworkNews:
    """Subscribed to links, addresses and egress filters of this network namespace.

    An interface is news once in its life.
    """

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                                    socket.NETLINK_ROUTE)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.socket.bind((0, RTMGRP_LINK | RTMGRP_TC | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.socket.fileno()

    def read(self) -> News:
        """Return everything that waits. After lost news every interface counts as new."""
        indices: set[int] = set()
        addresses = lost = False
        filters: list[tuple[int, int]] = []
        while True:
            try:
                data, sender = self.socket.recvfrom(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:      # the kernel dropped messages
                    raise
                lost = True
                continue
            if sender[0] != 0:              # only the kernel is believed
                continue
            filters += filter_changes(data)
            for kind, index in messages(data):
                if kind == RTM_NEWLINK:
                    indices.add(index)
                elif kind == RTM_DELLINK:
                    indices.discard(index)
                    self.known.discard(index)
                elif kind in (RTM_NEWADDR, RTM_DELADDR):
                    addresses = True
        appeared: tuple[tuple[int, str], ...] = ()
        if lost:
            appeared = tuple(socket.if_nameindex())
        elif indices - self.known:
            appeared = tuple((i, name) for i, name in socket.if_nameindex() if i in indices - self.known)
        self.known.update(i for i, _ in appeared)
        return News(appeared, addresses or lost, lost, tuple(filters))

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()


def messages(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (message type, interface index) of every message in a datagram; what is cut short is left out."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        place = INDEX_OFFSET.get(kind)
        if place is not None and length >= HEADER.size + place + INDEX.size:
            yield kind, INDEX.unpack_from(data, offset + HEADER.size + place)[0]
        offset += (length + 3) & ~3


def filter_changes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (interface, program id) for each change of what is in our filter's place; 0: it is gone."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        body = data[offset + HEADER.size:offset + length]
        offset += (length + 3) & ~3
        if kind not in (RTM_DELQDISC, RTM_NEWTFILTER, RTM_DELTFILTER) or len(body) < TCMSG.size:
            continue
        _, index, _, parent, info = TCMSG.unpack_from(body)
        if kind == RTM_DELQDISC and parent == CLSACT:
            yield index, 0
        elif kind != RTM_DELQDISC and parent == EGRESS and info >> 16 in (0, PRIORITY):     # 0: all of them
            options = attribute(body[TCMSG.size:], TCA_OPTIONS) if kind == RTM_NEWTFILTER else b""
            yield index, int.from_bytes(attribute(options, TCA_BPF_ID)[:4], "little")


def attribute(data: bytes, wanted: int) -> bytes:
    """Return the content of a netlink attribute, empty when it is not there."""
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size or offset + length > len(data):
            break
        if kind & TYPE_MASK == wanted:
            return data[offset + ATTRIBUTE.size:offset + length]
        offset += (length + 3) & ~3
    return b""
