"""The packet filter at every network device: a clsact qdisc with our program on egress.

    python3 -m nbspd.programs.interfaces attach PIN INDEX... | detach INDEX...

pyroute2 does the talking, in a child: mapping it would cost the resident daemon a third of its memory.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Iterable

from ..kernel import bpf

if TYPE_CHECKING:
    from pyroute2 import IPRoute

EGRESS = "ffff:fff3"        # TC_H_CLSACT, TC_H_MIN_EGRESS (include/uapi/linux/pkt_sched.h)
EGRESS_NUMBER, INGRESS_NUMBER = 0xFFFFFFF3, 0xFFFFFFF2
PRIORITY = 0xB59D
HANDLE = 1
ETH_P_ALL = 3
NAME = "nbspd"
GONE = (errno.ENODEV, errno.ENOENT, errno.EINVAL)


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked and print the refused devices with the reasons as JSON."""
    verb, *rest = sys.argv[1:] if arguments is None else arguments
    refused = detach(map(int, rest)) if verb == "detach" else attach(map(int, rest[1:]), Path(rest[0]))
    json.dump(refused, sys.stdout)
    return 0


def attach(indices: Iterable[int], pin: Path) -> dict[int, str]:
    """Put the pinned program on each device, in place of an older one of ours; return the refused with the reason."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError
    refused = {}
    program = bpf.obj_get(pin)
    try:
        with IPRoute() as route:
            for index in indices:
                try:
                    _add_qdisc(route, index)
                    route.tc("replace-filter", "bpf", index, HANDLE, fd=program, name=NAME, parent=EGRESS,
                             prio=PRIORITY, protocol=ETH_P_ALL, direct_action=True, classid=1)
                except NetlinkError as error:
                    if error.code != errno.ENODEV:
                        refused[index] = str(error)
    finally:
        os.close(program)
    return refused


def _add_qdisc(route: IPRoute, index: int) -> None:
    from pyroute2.netlink.exceptions import NetlinkError
    try:
        route.tc("add", "clsact", index)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def detach(indices: Iterable[int]) -> dict[int, str]:
    """Take our filter off each device; the qdisc stays if anybody else's filter is on it."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError
    refused = {}
    with IPRoute() as route:
        for index in indices:
            try:
                route.tc("del-filter", "bpf", index, HANDLE, parent=EGRESS, prio=PRIORITY, protocol=ETH_P_ALL)
                if not route.get_filters(index=index, parent=EGRESS_NUMBER) and \
                        not route.get_filters(index=index, parent=INGRESS_NUMBER):
                    route.tc("del", "clsact", index)
            except NetlinkError as error:
                if error.code not in GONE:
                    refused[index] = str(error)
    return refused


if __name__ == "__main__":
    sys.exit(main())
