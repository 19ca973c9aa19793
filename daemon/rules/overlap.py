"""Which rules meet on which object: by enclosing trees, enclosing networks and local aliases; never quadratic."""

from __future__ import annotations

from typing import Mapping, Sequence

from ..abi import Access
from .model import Endpoint, Network, Resource, Rule
from .plan import BITS, is_local, network_bits

Demands = Mapping[int, int]         # rule index -> access bits
Service = tuple[int, int]           # protocol, port
NONE: Demands = {}

TCP = 6
UDP = 17
_KINDS = ("file", "exec", "unix", "device")     # when a path is declared as several, the last one names it


class Overlap:
    """The objects of some rules, and the rules on each.

    `limit`: stop adding rules to an object above so many (lint only wants to know that there are too many).
    """

    def __init__(self, rules: Sequence[Rule], resources: Mapping[str, Resource], limit: int | None = None) -> None:
        self._limit = limit
        self.kinds: dict[str, str] = {}
        self._paths: dict[str, dict[int, int]] = {}
        self._trees: dict[str, dict[int, int]] = {}
        self._abstracts: dict[bytes, dict[int, int]] = {}
        self._services: dict[Service, dict[int, dict[int, tuple[Network, dict[int, int]]]]] = {}
        self._enclosing: dict[str, Demands] = {"": NONE}
        for index, rule in enumerate(rules):
            self._add(index, resources[rule.protect])

    def _add(self, index: int, resource: Resource) -> None:
        access = (int(Access.READ | Access.EXEC) if "read" in resource.access else 0) | (
            int(Access.WRITE) if "write" in resource.access else 0)
        for path in resource.trees:
            self._demand(self._trees.setdefault(path, {}), index, access)
        for path in resource.files:
            self._add_path(path, "file", index, access)
        for path in resource.exec:
            self._add_path(path, "exec", index, int(Access.READ | Access.WRITE | Access.EXEC))
        for path in resource.devices:
            self._add_path(path, "device", index, access)
        for name in resource.unix:
            if name.startswith("@"):
                self._demand(self._abstracts.setdefault(name[1:].encode(), {}), index, int(Access.CONNECT))
            else:
                self._add_path(name, "unix", index, int(Access.CONNECT))
        for proto, endpoints in ((TCP, resource.tcp), (UDP, resource.udp)):
            for endpoint in endpoints:
                self._add_endpoint(proto, endpoint, index)

    def _add_path(self, path: str, kind: str, index: int, access: int) -> None:
        self._demand(self._paths.setdefault(path, {}), index, access)
        if _KINDS.index(kind) >= _KINDS.index(self.kinds.get(path, "file")):
            self.kinds[path] = kind

    def _add_endpoint(self, proto: int, endpoint: Endpoint, index: int) -> None:
        length, bits = network_bits(endpoint.network)
        lengths = self._services.setdefault((proto, endpoint.port), {})
        _, demands = lengths.setdefault(length, {}).setdefault(bits, (endpoint.network, {}))
        self._demand(demands, index, int(Access.CONNECT))

    def paths(self) -> list[tuple[str, str, Demands]]:
        """Return path, kind and demands of every declared path, sorted; trees beside the rest."""
        found = [(path, self.kinds[path], self._merge(own, self.enclosing(path))) for path, own in self._paths.items()]
        found += [(path, "tree", self.enclosing(path)) for path in self._trees]
        return sorted(found, key=lambda one: one[:2])

    def declared(self, path: str, kind: str) -> Demands:
        """Return the demands of the rules that name a path themselves."""
        return self._trees[path] if kind == "tree" else self._paths[path]

    def at(self, path: str) -> Demands:
        """Return all demands on any path."""
        return self._merge(self._paths.get(path, NONE), self.enclosing(path)) if path.startswith("/") else NONE

    def enclosing(self, path: str) -> Demands:
        """Return the demands of the trees at a path and above it."""
        if not self._trees:
            return NONE
        unknown = []
        while path not in self._enclosing:
            unknown.append(path)
            path = "" if path == "/" else path.rpartition("/")[0] or "/"
        demands = self._enclosing[path]
        for below in reversed(unknown):
            demands = self._enclosing[below] = self._merge(self._trees.get(below, NONE), demands)
        return demands

    def endpoints(self) -> list[tuple[int, Network, int, Demands, Demands]]:
        """Return protocol, network, port, all demands and the network's own, of every declared endpoint, sorted."""
        found: list[tuple[int, Network, int, Demands, Demands]] = []
        for (proto, port), lengths in sorted(self._services.items()):
            local: Demands = NONE
            for networks in lengths.values():
                for network, own in networks.values():
                    if is_local(network):
                        local = self._merge(local, own)
            for length in sorted(lengths):
                shorter = [(BITS - other, lengths[other]) for other in sorted(lengths) if other < length]
                for bits, (network, own) in sorted(lengths[length].items()):
                    demands: Demands = own
                    for shift, networks in shorter:
                        outer = networks.get(bits >> shift << shift)
                        if outer is not None:
                            demands = self._merge(demands, outer[1])
                    if local and is_local(network):
                        demands = self._merge(demands, local)
                    found.append((proto, network, port, demands, own))
        return found

    def abstracts(self) -> list[tuple[bytes, Demands]]:
        """Return name and demands of every abstract socket, sorted."""
        return sorted(self._abstracts.items())

    def _demand(self, demands: dict[int, int], index: int, access: int) -> None:
        if index in demands or self._limit is None or len(demands) <= self._limit:
            demands[index] = demands.get(index, 0) | access

    def _merge(self, one: Demands, other: Demands) -> Demands:
        if not one or one is other:
            return other
        if not other:
            return one
        merged = dict(one)
        for index, access in other.items():
            if index in merged:
                merged[index] |= access
            elif self._limit is None or len(merged) <= self._limit:
                merged[index] = access
        return merged
