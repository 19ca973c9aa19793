"""The packet filter at every network device: a clsact qdisc with our program on egress."""

from __future__ import annotations

import errno
from typing import Iterable

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

EGRESS = "ffff:fff3"        # TC_H_CLSACT, TC_H_MIN_EGRESS (include/uapi/linux/pkt_sched.h)
PRIORITY = 0xB59D
HANDLE = 1
ETH_P_ALL = 3
NAME = "nbspd"


def interfaces() -> dict[int, str]:
    """Return the devices of this network namespace by index."""
    with IPRoute() as route:
        return {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}


def attach(indices: Iterable[int], program_fd: int) -> dict[int, str]:
    """Put the program on each device, in place of an older one of ours; return the refused with the reason."""
    refused = {}
    with IPRoute() as route:
        for index in indices:
            try:
                _add_qdisc(route, index)
                route.tc("replace-filter", "bpf", index, HANDLE, fd=program_fd, name=NAME, parent=EGRESS, prio=PRIORITY,
                         protocol=ETH_P_ALL, direct_action=True, classid=1)
            except NetlinkError as error:
                if error.code != errno.ENODEV:
                    refused[index] = str(error)
    return refused


def _add_qdisc(route: IPRoute, index: int) -> None:
    try:
        route.tc("add", "clsact", index)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def detach(indices: Iterable[int]) -> None:
    """Take our filter off each device; the qdisc stays if anybody else's filter is on it."""
    with IPRoute() as route:
        for index in indices:
            try:
                route.tc("del-filter", "bpf", index, HANDLE, parent=EGRESS, prio=PRIORITY, protocol=ETH_P_ALL)
                if not route.get_filters(index=index, parent=0xFFFFFFF3) and not \
                        route.get_filters(index=index, parent=0xFFFFFFF2):
                    route.tc("del", "clsact", index)
            except NetlinkError as error:
                if error.code not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                    raise
