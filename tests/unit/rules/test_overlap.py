"""Which rules meet on which object, against the plain definition of it."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from nbspd.rules.model import Endpoint, Network, Resource, Rule
from nbspd.rules.overlap import Overlap
from nbspd.rules.plan import is_local

PATHS = st.lists(st.sampled_from("abc"), max_size=4).map(lambda parts: "/" + "/".join(parts))
NETWORKS = st.sampled_from([ip_network(text) for text in (
    "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.1.2.4", "127.0.0.0/8", "127.0.0.1", "127.0.0.2",
    "0.0.0.0", "::/0", "::1", "::", "2001:db8::/32", "2001:db8::1", "::/64")])


def rules_on(resources: list[Resource]) -> tuple[list[Rule], dict[str, Resource]]:
    return ([Rule(f"r{index}", resource.name, ()) for index, resource in enumerate(resources)],
            {resource.name: resource for resource in resources})


def encloses(tree: str, path: str) -> bool:
    return tree == path or tree == "/" or path.startswith(tree + "/")


@given(st.lists(st.tuples(st.lists(PATHS, max_size=3, unique=True), st.lists(PATHS, max_size=3, unique=True)),
                max_size=6))
def test_trees(declared: list[tuple[list[str], list[str]]]) -> None:
    resources = [Resource(f"x{index}", files=tuple(files), trees=tuple(trees))
                 for index, (files, trees) in enumerate(declared)]
    overlap = Overlap(*rules_on(resources))
    found = {(path, kind): set(demands) for path, kind, demands in overlap.paths()}
    expected = {}
    for files, trees in declared:
        for kind, paths in (("file", files), ("tree", trees)):
            for path in paths:
                expected[path, kind] = {index for index, (others, outer) in enumerate(declared)
                                        if any(encloses(tree, path) for tree in outer)
                                        or kind == "file" and path in others}
    assert found == expected
    assert [one[:2] for one in overlap.paths()] == sorted(expected)


def covers(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network) and isinstance(inner, IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(outer, IPv6Network):
        six = inner if isinstance(inner, IPv6Network) else IPv6Network(
            (int(inner.network_address) | 0xFFFF << 32, inner.prefixlen + 96))
        return six.subnet_of(outer)
    return False


@given(st.lists(st.lists(st.builds(Endpoint, NETWORKS, st.sampled_from([80, 443])), max_size=4, unique=True),
                max_size=6))
def test_networks(declared: list[list[Endpoint]]) -> None:
    resources = [Resource(f"x{index}", tcp=tuple(endpoints)) for index, endpoints in enumerate(declared)]
    found = {(network, port): (set(demands), set(own))
             for _, network, port, demands, own in Overlap(*rules_on(resources)).endpoints()}
    expected = {}
    for one in (endpoint for endpoints in declared for endpoint in endpoints):
        expected[one.network, one.port] = (
            {index for index, others in enumerate(declared) if any(
                other.port == one.port and (covers(other.network, one.network)
                                            or is_local(other.network) and is_local(one.network)) for other in others)},
            {index for index, others in enumerate(declared) if one in others})
    assert found == expected


def test_local_networks() -> None:
    local = ["127.0.0.1", "127.0.0.0/8", "127.1.0.0/16", "::1", "0.0.0.0", "::"]
    other = ["10.0.0.1", "0.0.0.0/0", "126.0.0.0/7", "::/0", "::/127", "::2", "128.0.0.1", "7f00:1::", "::7f00:1"]
    assert [text for text in local + other if is_local(ip_network(text))] == local


def test_a_limit_keeps_crowds_cheap() -> None:
    resources = [Resource(f"x{index}", trees=("/srv",), files=(f"/srv/{index}",)) for index in range(3000)]
    overlap = Overlap(*rules_on(resources), limit=4)
    assert max(len(demands) for path, _, demands in overlap.paths() if path != "/srv") == 5


def test_protocols_and_ports_are_apart() -> None:
    endpoint = Endpoint(ip_network("10.0.0.0/8"), 80)
    inner = Endpoint(ip_network("10.0.0.1"), 80)
    overlap = Overlap(*rules_on([Resource("a", tcp=(endpoint,)), Resource("b", udp=(inner,)),
                                 Resource("c", tcp=(Endpoint(inner.network, 81),))]))
    assert [len(demands) for *_, demands, _ in overlap.endpoints()] == [1, 1, 1]


def test_a_very_deep_path() -> None:
    deep = "/a" * 2000
    overlap = Overlap(*rules_on([Resource("a", trees=("/a",)), Resource("b", files=(deep,))]))
    assert {path: set(demands) for path, _, demands in overlap.paths()}[deep] == {0, 1}
