"""H4, and H2 and H3 on sockets: TCP, UDP and unix sockets by every address, call and layer."""

from __future__ import annotations

from typing import Iterator

from .attempt import Attempt, row

TCP, UDP = "port={tcp}", "port={udp}"
LO4, LO6 = "address=127.0.0.1", "address=::1"
OTHER_TCP, OTHER_UDP = "other={open_tcp}", "other={open_udp}"

# every spelling of the same endpoint: variant, address
SPELLINGS = (("v4", "127.0.0.1"), ("v4-alias", "127.9.8.7"), ("v4-any", "0.0.0.0"), ("v4-last", "127.255.255.254"),
             ("v6", "::1"), ("v6-any", "::"), ("v6-mapped", "::ffff:127.0.0.1"), ("v6-mapped-alias",
                                                                                  "::ffff:127.6.6.6"),
             ("v6-mapped-any", "::ffff:0.0.0.0"))
MPTCP, SCTP = 262, 132


def net(technique: str, goal: str, title: str, *words: str, who: str = "user", variant: str = "", needs: str = "",
        is_silent: bool = True, channel: str = "H4", family: str = "", timeout_s: float = 15.0) -> Attempt:
    """Return a row on an endpoint. Packets are dropped without a word, so each may be silent."""
    return row(channel, family or ("udp" if goal == "send" else "tcp"), technique, goal, title, *words, who=who,
               variant=variant, needs=needs, target="", is_silent=is_silent, timeout_s=timeout_s)


def streams() -> Iterator[Attempt]:
    """Yield TCP by ordinary sockets."""
    for variant, address in SPELLINGS:
        yield net("tcp", "connect", f"connect to {address}", f"address={address}", TCP, variant=variant, who="both"
                  if variant in ("v4", "v6") else "user")
        yield net("tcp", "connect", f"MPTCP to {address}", f"address={address}", TCP, f"protocol={MPTCP}",
                  variant=f"mptcp-{variant}", needs="MPTCP")
    for address in (LO4, LO6):
        six = "6" if address == LO6 else "4"
        yield net("tcp-later", "connect", "connect without waiting", address, TCP, variant=f"v{six}")
        yield net("tcp-again", "connect", "a socket that was connected elsewhere, and dissolved", address, TCP,
                  OTHER_TCP,
                  variant=f"v{six}")
        for how in ("sendto", "sendmsg", "connect"):
            yield net("fast-open", "connect", f"TCP Fast Open by {how}", address, TCP, f"how={how}",
                      variant=f"{how}-v{six}", needs="TCP Fast Open")
        yield net("fast-open", "connect", "MPTCP with Fast Open", address, TCP, "how=sendto", f"protocol={MPTCP}",
                  variant=f"mptcp-v{six}", needs="MPTCP with Fast Open")
        yield net("tcp", "connect", "SCTP", address, TCP, f"protocol={SCTP}", variant=f"sctp-v{six}", needs="SCTP")
        yield net("sctp-many", "send", "SCTP without connect", address, TCP, variant=f"v{six}", needs="SCTP")
        yield net("dccp", "connect", "DCCP", address, TCP, variant=f"v{six}", needs="DCCP")
        yield net("smc", "connect", "SMC", address, TCP, variant=f"v{six}", needs="SMC")
    for option, who in (("device", "root"), ("mark", "root"), ("priority", "user"), ("ip-options", "user"),
                        ("transparent", "root"), ("interface", "user"), ("deferred", "user")):
        yield net("tcp-option", "connect", f"with a socket option: {option}", LO4, TCP, f"option={option}",
                  who=who, variant=option)
    yield net("other-family-socket", "connect", "an IPv6 socket told an IPv4 address", LO4, TCP, "how=tcp",
              variant="tcp",
              needs="IPv6 sockets that take IPv4 addresses")
    yield net("socket-from-elsewhere", "connect", "a socket of another network namespace", LO4, TCP, who="root",
              needs="a server there")


def datagrams() -> Iterator[Attempt]:
    """Yield UDP by ordinary sockets."""
    for variant, address in SPELLINGS:
        yield net("udp-sendto", "send", f"sendto {address}", f"address={address}", UDP, variant=variant,
                  who="both" if variant in ("v4", "v6") else "user")
        yield net("udp-connect", "send", f"connect to {address} and send", f"address={address}", UDP, "how=send",
                  OTHER_UDP, variant=f"send-{variant}")
    for address in (LO4, LO6):
        six = "v6" if address == LO6 else "v4"
        yield net("udp-sendmsg", "send", "sendmsg", address, UDP, variant=six)
        yield net("udp-sendmmsg", "send", "the second of two in sendmmsg", address, UDP, OTHER_UDP, variant=six)
        yield net("udplite", "send", "UDP-Lite", address, UDP, variant=six, needs="UDP-Lite")
        for how in ("write", "writev", "splice", "sendfile", "again", "switch"):
            yield net("udp-connect", "send", f"connected, then {how}", address, UDP, OTHER_UDP, f"how={how}",
                      variant=f"{how}-{six}")
        yield net("udp-elsewhere", "send", "connected to another server, sent here", address, UDP, OTHER_UDP,
                  variant=six)
        for how in ("more", "cork"):
            yield net("udp-cork", "send", f"collected with {how}", address, UDP, f"how={how}", variant=f"{how}-{six}")
        yield net("udp-segments", "send", "cut into packets by the kernel", address, UDP, variant=six)
        yield net("udp-zerocopy", "send", "without copying", address, UDP, variant=six, needs="zero-copy UDP")
    yield net("udp-sendmsg", "send", "with a chosen source address", LO4, UDP, "pktinfo=1", variant="pktinfo")
    yield net("udp-unspecified-family", "send", "an address of family AF_UNSPEC", LO4, UDP)
    for how in ("sendto", "connect"):
        yield net("other-family-socket", "send", f"an IPv6 socket told an IPv4 address, {how}", LO4, UDP, f"how={how}",
                  variant=how)
    for option, who in (("device", "root"), ("ip-options", "user"), ("confirm", "user"), ("dontroute", "user"),
                        ("no-checksum", "user")):
        yield net("udp-option", "send", f"with an option: {option}", LO4, UDP, f"option={option}", who=who,
                  variant=option)
    yield net("udp-extension-headers", "send", "behind extension headers that the kernel writes", LO6, UDP, who="root")


def by_hand() -> Iterator[Attempt]:
    """Yield packets and frames made by hand, and addresses that lead here only by routing; all need root."""
    for how in ("header", "options", "udp", "fragments"):
        yield net("raw", "send", f"raw IPv4 socket: {how}", LO4, UDP, f"how={how}", who="root", variant=how,
                  family="raw")
    yield net("raw", "send", "raw IPv6 socket", LO6, UDP, "how=udp6", who="root", variant="udp6", family="raw")
    for extensions in (0, 1, 8, 9, 20):
        yield net("raw", "send", f"raw IPv6 packet with {extensions} extension headers", LO6, UDP, "how=headers6",
                  f"extensions={extensions}", who="root", variant=f"headers-{extensions}", family="raw")
    yield net("raw", "send", "raw IPv6 packet that is the only fragment", LO6, UDP, "how=fragment6", "extensions=1",
              who="root", variant="fragment6", family="raw")
    for how in ("raw", "datagram", "bypass", "ring", "mislabelled", "vlan"):
        yield net("packet", "send", f"AF_PACKET on the loopback device: {how}", LO6, UDP, f"how={how}", who="root",
                  variant=how, family="frames")
    yield net("packet", "send", "AF_PACKET below the queue, asked for by int 0x80", LO6, UDP, "how=bypass-32",
              who="root", variant="bypass-32", channel="H3", family="int80", needs="32-bit system calls")
    yield row("H5", "older", "packet", "send", "a packet socket that left out the queue before the rules", LO6, UDP,
              "how=bypass-older", who="root", variant="older", target="", is_silent=True, starts="before")
    yield net("xdp-socket", "send", "AF_XDP on the loopback device", LO6, UDP, who="root", family="frames",
              needs="AF_XDP")
    for kind in ("tun", "tap"):
        yield net("tun", "send", f"a frame written to a {kind} device", "address=fd77:7::1", UDP, f"kind={kind}",
                  who="root", variant=kind, family="frames", needs="tun devices")
    yield net("tun-localnet", "send", "a packet for 127.0.0.1 written to a tun device", LO4, UDP, who="root",
              family="frames", needs="tun devices")
    for over, goal, port in (("tcp", "connect", TCP), ("udp", "send", UDP)):
        for six, address, network in (("v4", "198.18.77.7", "198.18.77.0/24"), ("v6", "fd77:9::7", "fd77:9::/64")):
            yield net("new-address", goal, f"{over} to an address added after the rules", f"address={address}", port,
                      f"over={over}", who="root", variant=f"{over}-{six}", family="routes")
            yield net("any-address", goal, f"{over} to an address that only a route makes local", f"address={address}",
                      f"network={network}", port, f"over={over}", who="root", variant=f"{over}-{six}", family="routes")
        yield net("link-local", goal, f"{over} to a link-local address with its scope", "address=fe80::77", port,
                  f"over={over}", who="root", variant=over, family="routes")
        yield net("other-namespace", goal, f"{over} from another network namespace", "address=fd77:8::1", port,
                  f"over={over}", who="root", variant=over, family="routes", needs="veth")
        yield net("dnat", goal, f"{over} to an address that NAT turns into it", LO4, port, "from=198.18.78.8",
                  f"over={over}", who="root", variant=over, family="routes", needs="nf_tables with NAT")
        yield net("foreign-rewrite", goal, f"{over}, turned here by a program in a cgroup below", LO4, port,
                  f"over={over}", "cgroup={cgroup}", who="root", variant=over, channel="H13", family="programs",
                  needs="cgroup v2, bpf")
    yield net("other-namespace", "send", "a frame made by hand in another network namespace", "address=fd77:8::1", UDP,
              "over=frame", who="root", variant="frame", family="frames", needs="veth")
    yield net("encapsulated", "send", "a frame made by hand in the headers of a tunnel", "address=fd77:7::1", UDP,
              who="root", family="frames", needs="VXLAN")
    yield net("vsock", "connect", "AF_VSOCK to ourselves", "port={vsock}", family="vsock", needs="vsock_loopback")


def unix() -> Iterator[Attempt]:
    """Yield unix sockets by name; names.py has them under other names."""
    for variant, target in (("path", "{stream}"), ("abstract", "{abstract}")):
        yield row("H4", "unix", "unix-stream", "connect", f"a stream socket by its {variant} name", variant=variant,
                  target=target, who="both")
    yield row("H4", "unix", "unix-stream", "connect", "a socket of packets in order", "type=5", variant="seqpacket",
              target="{seqpacket}")
    yield row("H1", "unix", "unix-replaced", "act", "a socket of ours in the place of the protected one",
              target="{stream}")
    yield row("H4", "unix", "unix-short-size", "connect", "a name without its last zero", target="{stream}")
    for variant, target in (("path", "{dgram}"), ("abstract", "{abstract_dgram}")):
        for how in ("sendto", "sendmsg", "sendmmsg", "connect"):
            yield row("H4", "unix", "unix-datagram", "send", f"a datagram socket by its {variant} name: {how}",
                      f"how={how}", variant=f"{variant}-{how}", target=target)


def submitted() -> Iterator[Attempt]:
    """Yield H2 and H3 on sockets."""
    for mode in ("plain", "async", "poll"):
        for six, address in (("v4", LO4), ("v6", LO6)):
            yield net("uring-connect", "connect", f"io_uring connect, {mode}", address, TCP, f"mode={mode}",
                      variant=f"{mode}-{six}", channel="H2", family="io_uring", needs="io_uring")
        for how in ("sendmsg", "sendmsg_zc", "send", "send_zc"):
            yield net("uring-send", "send", f"io_uring {how}, {mode}", LO4, UDP, f"mode={mode}", f"how={how}",
                      variant=f"{how}-{mode}", channel="H2", family="io_uring",
                      needs=f"io_uring with {how} to an address")
        yield row("H2", "io_uring", "uring-connect", "connect", f"io_uring connect to a unix socket, {mode}",
                  f"mode={mode}", variant=f"unix-{mode}", needs="io_uring")
        yield row("H2", "io_uring", "uring-send", "send", f"io_uring sendmsg to a unix socket, {mode}",
                  f"mode={mode}", "how=sendmsg", variant=f"unix-{mode}", needs="io_uring")
    yield net("uring-connect", "connect", "socket and connect by the ring", LO4, TCP, "socket=ring", variant="socket",
              channel="H2", family="io_uring", needs="io_uring with sockets, 5.19")
    yield net("uring-send", "connect", "TCP Fast Open by io_uring sendmsg", LO4, TCP, "tcp=1", "how=sendmsg",
              variant="fast-open", channel="H2", family="io_uring", needs="io_uring")
    for call, goal, port in (("connect", "connect", TCP), ("socketcall-connect", "connect", TCP),
                             ("socketcall-sendto", "send", UDP), ("sendmsg", "send", UDP)):
        for six, address in (("v4", LO4), ("v6", LO6)):
            yield net("int80", goal, f"int 0x80 {call}", address, port, f"call={call}", variant=f"{call}-{six}",
                      channel="H3", family="int80", needs="32-bit system calls")
        yield row("H3", "int80", "int80", goal, f"int 0x80 {call} to a unix socket", f"call={call}",
                  variant=f"{call}-unix", needs="32-bit system calls")
    for call, goal, port in (("connect", "connect", TCP), ("sendto", "send", UDP)):
        yield net("x32", goal, f"x32 {call}", LO4, port, f"call={call}", variant=call, channel="H3", family="x32",
                  needs="x32")


def all_network() -> Iterator[Attempt]:
    """Yield all of this file."""
    for part in (streams, datagrams, by_hand, unix, submitted):
        yield from part()
