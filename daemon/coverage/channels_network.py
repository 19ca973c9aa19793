"""H4, and H10 and H13 on the network: connect and send are asked for addresses, packets for where they really go."""

from __future__ import annotations

from .channel import ARRIVAL, CONNECT, DEVICE, NET, PACKET, SEND, TCP, UDP, UNIX, Channel

LOOPBACK_ONLY = "interfaces of other network namespaces carry no program"

NETWORK: tuple[Channel, ...] = (
    Channel("connect", "H4", "connect, also v4-mapped and unspecified addresses", NET, CONNECT, CONNECT,
            is_front_door=True,
            why="the kernel asks with its own copy of the address, for every socket made in the cgroup, whatever its "
                "network namespace; what is rewritten later is for the packet"),
    Channel("send", "H4", "datagrams without connect: sendto, sendmsg, sendmmsg", UDP, SEND, SEND, is_front_door=True,
            why="asked for each datagram whose address the caller names; a connected socket was asked at its connect"),
    Channel("fast-open", "H4", "TCP Fast Open", TCP, CONNECT + PACKET, CONNECT + PACKET, since="net.ipv4.tcp_fastopen",
            why="the connect inside a send asks as any other, and the first packet must come from a stamped socket"),
    Channel("mptcp", "H4", "MPTCP and its subflows", TCP, CONNECT + PACKET, CONNECT + PACKET, since="net.mptcp.enabled",
            why="each subflow connects by TCP, and its packets must come from a stamped socket; subflows that the "
                "kernel opens by itself for a checkpoint are denied, too"),
    Channel("nat", "H4", "an address that NAT turns into the endpoint", NET, PACKET, PACKET,
            why="asked after this host's NAT has rewritten the address; translation on another machine is not seen"),
    Channel("new-address", "H4", "an address of this host that is newer than the rules, or local by a route only", NET,
            PACKET, PACKET,
            why="a packet on the loopback device is for this host, whatever its address; before the daemon knows the "
                "address, connect itself is let through and the packet is not"),
    Channel("raw-socket", "H4", "packets made by hand on a raw socket, with data or to open a connection", NET, PACKET,
            PACKET,
            why="the packet itself is read, and a raw socket has no stamp; what is inside a tunnel's or IPsec's "
                "headers is not seen"),
    Channel("packet-socket", "H4", "the same by AF_PACKET or tunnels through a device's queue", NET, DEVICE, DEVICE,
            why="every frame in the device's egress queue is read as what it is and as what it is called; what goes "
                "around the queue is not seen"),
    Channel("bare-packet", "H4", "TCP packets without data made by hand, such as a reset", TCP,
            reason="they look like the kernel's own",
            no_attempt="such a packet carries nothing that a server could have heard"),
    Channel("new-interface", "H10", "frames sent by an interface just after it appears, or while no daemon runs",
            NET, reason="the daemon attaches the program of an interface",
            no_attempt="the daemon is faster than a program that would have to prove that it was not"),
    Channel("foreign-rewrite", "H13", "a foreign program in a cgroup below that rewrites the address of a connect",
            NET, PACKET, PACKET,
            why="the packet is read after all rewriting, and must come from a socket that was stamped at its connect"),
    Channel("other-protocol", "H4", "SCTP, DCCP and UDP-Lite to the same address and port", NET, PACKET, PACKET,
            why="their packets have their ports where those of TCP have them, and no socket of theirs is ever stamped; "
                "checkpoints are refused as well"),
    Channel("packet-bypass", "H4", "AF_PACKET with PACKET_QDISC_BYPASS, and AF_XDP", NET, ("socket_setsockopt",),
            ("cgroup_setsockopt",),
            why="both begin with a socket option, asked for while any endpoint is protected; a socket that has it "
                "already is not asked again"),
    Channel("packet-bypass-32", "H3", "the same, asked for by a 32-bit system call", NET, ("socket_setsockopt",),
            reason="the kernel leaves out the hook of tier socket for 32-bit system calls",
            why="the hook of the tiers with trampolines is asked whatever the system call's ABI"),
    Channel("older-bypass", "H5", "packet and AF_XDP sockets that bypassed the queue before the rules", NET,
            reason="they are asked when they begin to, and not at each frame"),
    Channel("tun-loopback", "H4", "a frame for 127.0.0.0/8 or ::1 from another interface, such as TUN", NET, ARRIVAL,
            ARRIVAL,
            why="what is for a loopback address and comes in by another interface than lo is heard by nobody"),
    Channel("tun", "H4", "a frame written to a TUN or TAP device, for another address of this host", NET,
            reason="it arrives like one from another host, and what other hosts send is not judged"),
    Channel("encapsulated", "H4",
            "packets made by hand in tunnel or IPsec headers", NET, reason="only the outer addresses are looked at"),
    Channel("xdp", "H4", "frames redirected by an XDP program", NET,
            reason="they leave below the egress program of the interface",
            no_attempt="it takes a program in the kernel, and those are attempted under H13"),
    Channel("other-netns", "H4", "frames made in another network namespace that leave by an interface of its own", NET,
            reason=LOOPBACK_ONLY),
    Channel("vsock", "H4", "AF_VSOCK, of a service that listens there too", NET,
            reason="that is another endpoint of the service, and rules have no name for it"),
    Channel("overheard", "H4", "listening in on the checkpoint's own packets, with CAP_NET_RAW", NET,
            reason="nothing is sent to the endpoint, and receiving copies of packets is not judged", has_stamps=True,
            no_attempt="it is open on every host with CAP_NET_RAW, and shows nothing that the checkpoint did not send"),
    Channel("unix-connect", "H4", "connecting a stream or seqpacket socket", UNIX, ("unix_stream_connect",),
            ("cgroup_connect_unix",), is_front_door=True,
            why="asked with the socket at the other end, before anything is queued to it; tier socket sees the name "
                "that was asked for"),
    Channel("unix-send", "H4", "sending to a datagram socket", UNIX, ("unix_may_send",), ("cgroup_sendmsg_unix",),
            is_front_door=True,
            why="asked for every datagram and for connect of a datagram socket; tier socket sees the name that was "
                "asked for"),
    Channel("unix-connected-datagram", "H4", "a datagram socket connected before the rules", UNIX, ("unix_may_send",),
            why="each datagram asks, also on a connected socket"),
)
