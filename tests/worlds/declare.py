"""Makes up what an operator declares: checkpoints of some programs, resources of some files and addresses, rules."""

from __future__ import annotations

import json
from ipaddress import ip_address
from random import Random
from typing import Any, Mapping, Sequence

from nbspd.abi import CLAUSES
from nbspd.errors import RulesError
from nbspd.rules.compile import compile_rules
from nbspd.rules.load import Source, parse_sources
from nbspd.rules.model import RuleSet
from nbspd.rules.plan import EndpointTable, Plan

from .layout import Layout, Node, parent

TCP_PORTS = (7400, 7401)
UDP_PORTS = (7410, 7411)
OURS = ("10.77.1.1", "10.77.2.1", "fd77::1")        # the ground has these too
NETWORKS = ("127.0.0.1", "[::1]", "127.0.0.0/8", "10.77.1.1", "10.77.0.0/16", "10.77.2.0/24", "10.0.0.0/8",
            "[fd77::1]", "[fd77::]/16", "0.0.0.0/0", "[::]/0")
MINORS = (5, 7)                                     # of /dev/zero and /dev/full, which nothing else here opens
PROGRAMS = 6
SOCKETS = 4


def network(text: str, port: int) -> str:
    """Return an endpoint as the rules spell it."""
    address, slash, length = text.partition("/")
    if address.startswith("["):
        return f"{address[:-1]}{slash}{length}]:{port}"
    return f"{text}:{port}"


class Declared:
    """One rule set: its text, and what it is about."""

    def __init__(self, random: Random, layout: Layout, prefix: str, has_files: bool) -> None:
        self.random, self.layout, self.prefix = random, layout, prefix
        self.has_files = has_files
        self.programs = [f"{layout.base}/bin/p{number}" for number in range(PROGRAMS)]
        self.abstracts = [f"@{prefix}-{number}" for number in range(SOCKETS)]
        self.content = self._content()
        self.rule_set = self._lawful()
        self.text = spelled(self.content)

    def _content(self) -> dict[str, Any]:
        self._free = self._candidates()
        self._minors = list(MINORS)
        resources = {f"x{number}": self._resource() for number in range(self.random.randint(4, 7))}
        checkpoints = {f"c{number}": self._checkpoint(number) for number in range(self.random.randint(3, 8))}
        rules = [self._rule(number, list(checkpoints), name, resource) for number, (name, resource) in enumerate(
            [*resources.items(), *self.random.sample(list(resources.items()), 2)])]
        return {"version": 1, "checkpoints": checkpoints, "resources": resources, "rules": rules}

    def _checkpoint(self, number: int) -> dict[str, Any]:
        random = self.random
        one: dict[str, Any] = {"exe": random.choice(self.programs[:-1]), "stamp": random.choice(("self", "children"))}
        if random.random() < 0.3:
            one["user"] = random.choice(("root", "nobody"))
        if number and random.random() < 0.3:
            one["after"] = sorted({f"c{random.randrange(number)}" for _ in range(random.randint(1, 2))})
        return one

    def _candidates(self) -> dict[str, list[str]]:
        """Return the paths that can be declared, by the field that they are declared under; some do not exist yet."""
        layout, random = self.layout, self.random
        folders = [path for path in layout.paths("folder") if path not in (layout.base, f"{layout.base}/bin")]
        new = [f"{random.choice(folders)}/new{number}" for number in range(4)]
        found = {"files": layout.paths("file") + new[:2], "trees": [*folders, *new[2:3]],
                 "exec": [path for path in layout.paths("program") if parent(path) != f"{layout.base}/bin"] + new[3:],
                 "devices": layout.paths("device"), "unix": layout.paths("socket") + self.abstracts}
        once: dict[Node, str] = {}          # one name of each inode: two would be merged, which no pure model knows
        for paths in found.values():
            for path in [path for path in paths if path in layout.places]:
                if once.setdefault(layout.places[path], path) != path:
                    paths.remove(path)
        if not self.has_files:
            found["files"], found["trees"], found["devices"] = [], [], []
        return found

    def _resource(self) -> dict[str, Any]:
        random = self.random
        one: dict[str, Any] = {}
        more = ("files", "trees", "devices") * 2 if self.has_files else ("unix", "tcp", "udp")
        for _ in range(random.randint(1, 3)):
            field = random.choice(("tcp", "udp", "unix", "exec", *more))
            if field in ("tcp", "udp"):
                ports = TCP_PORTS if field == "tcp" else UDP_PORTS
                entry = network(random.choice(NETWORKS), random.choice(ports))
            elif self._free[field]:
                entry = random.choice(self._free[field])
                if field == "devices":      # one name of each number, for the same reason
                    self._free[field] = [path for path in self._free[field] if self.layout.places[path].minor
                                         != self.layout.places[entry].minor]
            else:
                continue
            entries: list[str] = one.setdefault(field, [])
            if entry not in entries:
                entries.append(entry)
        if not one:
            one["tcp"] = [network(random.choice(NETWORKS), random.choice(TCP_PORTS))]
        if {"files", "trees", "devices"} & set(one) and random.random() < 0.4:
            one["access"] = random.choice((["read"], ["write"]))
        return one

    def _rule(self, number: int, checkpoints: Sequence[str], name: str, resource: Any) -> dict[str, Any]:
        random = self.random
        rule = {"id": f"{self.prefix}-r{number}", "protect": name,
                "only-through": random.sample(checkpoints, random.choice((0, 1, 1, 2, 2, 3)))}
        if random.random() < 0.25:
            rule["mode"] = "audit"
        # at a socket the daemon kills, a moment later: nobody can foretell which act that comes to
        if random.random() < 0.2 and not {"tcp", "udp", "unix"} & set(resource):
            rule["on-bypass"] = "kill"
        return rule

    def _lawful(self) -> RuleSet:
        """Return the rule set, without the rules that nbspd would refuse in this company."""
        while True:
            try:
                found = parse_sources((Source("world.yaml", json.dumps(self.content)),))
                if not is_crowded_here(compile_rules(found)):
                    return found
            except RulesError:
                if not self.content["rules"]:
                    raise
            self.content["rules"].pop(self.random.randrange(len(self.content["rules"])))


def spelled(content: Mapping[str, Any]) -> str:
    """Return a rule set as a rule file, one thing a line."""
    lines = [f"version: {content['version']}"]
    for section in ("checkpoints", "resources"):
        lines += [f"{section}:", *(f"  {name}: {json.dumps(one)}" for name, one in content[section].items())]
    return "\n".join([*lines, "rules:", *(f"  - {json.dumps(rule)}" for rule in content["rules"])]) + "\n"


def is_crowded_here(plan: Plan) -> bool:
    """Return whether too many rules meet on an address of the ground, which nbspd can only see there."""
    table = EndpointTable(plan.endpoints)
    return any(len(table.clauses(proto, ip_address(address), port, is_ours=True)) > CLAUSES
               for proto, ports in ((6, TCP_PORTS), (17, UDP_PORTS)) for port in ports
               for address in (*OURS, "127.0.0.1", "::1"))
