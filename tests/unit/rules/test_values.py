"""Endpoints, paths, sockets and names: what is read, and what each mistake is told."""

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbspd.rules import values
from nbspd.rules.model import Endpoint


@pytest.mark.parametrize("text, network, port", [
    ("127.0.0.1:5432", "127.0.0.1/32", 5432),
    ("[::1]:5432", "::1/128", 5432),
    ("10.0.0.0/8:5432", "10.0.0.0/8", 5432),
    ("[2001:db8::/32]:443", "2001:db8::/32", 443),
    ("[::/0]:443", "::/0", 443),
    ("0.0.0.0/0:80", "0.0.0.0/0", 80),
    ("0.0.0.0:1", "0.0.0.0/32", 1),
    ("[::]:65535", "::/128", 65535),
    ("[::ffff:127.0.0.1]:5432", "127.0.0.1/32", 5432),
    ("[::ffff:7f00:1]:5432", "127.0.0.1/32", 5432),
    ("[::ffff:10.0.0.0/104]:5432", "10.0.0.0/8", 5432),
    ("[::ffff:0:0/96]:5432", "0.0.0.0/0", 5432),
    ("10.0.0.0/255.0.0.0:7", "10.0.0.0/8", 7),
])
def test_endpoints(text: str, network: str, port: int) -> None:
    assert values.read_endpoint(text) == Endpoint(ip_network(network), port)


@pytest.mark.parametrize("text, what, right", [
    ("10.0.0.1/8:5432", "host bits", "write 10.0.0.0/8:5432, or 10.0.0.1:5432 for the one address"),
    ("[2001:db8::1/32]:443", "host bits", "write [2001:db8::/32]:443, or [2001:db8::1]:443 for the one address"),
    ("127.0.0.1:70000", "port 70000", "a port is 1 to 65535"),
    ("127.0.0.1:0", "port 0", "a port is 1 to 65535"),
    ("127.0.0.1:99999999999999999999", "does not exist", "a port is 1 to 65535"),
    ("127.0.0.1:-1", "not a number", "a port is 1 to 65535"),
    ("127.0.0.1:http", "not a number", "write 127.0.0.1:PORT"),
    ("127.0.0.1:٥٤", "not a number", "write 127.0.0.1:PORT"),
    ("127.0.0.1", "no port", "write 127.0.0.1:PORT"),
    ("10.0.0.0/8", "no port", "write 10.0.0.0/8:PORT"),
    ("[::1]", "no port", "write [::1]:PORT"),
    ("::1:5432", "stands in brackets", "write [ADDRESS]:PORT"),
    ("[127.0.0.1]:5432", "brackets are for IPv6", "write 127.0.0.1:5432"),
    ("db.example.org:5432", "names a host", "write its address"),
    ("[db]:5432", "names a host", "write its address"),
    ("localhost:1", "names a host", "write its address"),
    ("1.2.3:80", "not an address", "write it like"),
    ("256.0.0.1:80", "not an address", "write it like"),
    ("010.0.0.1:80", "not an address", "write it like"),
    ("10.0.0.0/33:80", "not an address", "write it like"),
    ("[fe80::1%eth0]:80", "zone", "leave out %"),
    (":80", "not an address", "write it like"),
    ("", "not an endpoint", "write ADDRESS:PORT"),
    ("*:80", "not an address", "write it like"),
])
def test_wrong_endpoints(text: str, what: str, right: str) -> None:
    with pytest.raises(values.Wrong) as caught:
        values.read_endpoint(text)
    assert what in caught.value.what and right in caught.value.right


def networks(kind: type[IPv4Network] | type[IPv6Network], bits: int) -> st.SearchStrategy[IPv4Network | IPv6Network]:
    return st.builds(lambda address, length: kind((address, length), strict=False),
                     st.integers(0, 2**bits - 1), st.integers(0, bits))


@given(networks(IPv4Network, 32) | networks(IPv6Network, 128), st.integers(1, 65535))
def test_a_network_survives_spelling(network: IPv4Network | IPv6Network, port: int) -> None:
    read = values.read_endpoint(f"{values.spell_network(network)}:{port}")
    assert read.port == port
    assert read.network == network or network.version == 6 and read.network.version == 4


@given(st.text())
def test_any_text_is_an_endpoint_or_wrong(text: str) -> None:
    try:
        assert 1 <= values.read_endpoint(text).port <= 65535
    except values.Wrong as wrong:
        assert wrong.what and wrong.right


@pytest.mark.parametrize("text", [
    "/", "/srv/payroll", "/srv/with space/ä/日本", "/a/...", "/a/..b", "/a/.b", "/run/x@1.sock", "/" + "a" * 255])
def test_paths(text: str) -> None:
    assert values.read_path(text) == text


@pytest.mark.parametrize("text, what, right", [
    ("srv", "relative", "starting with /"), ("", "relative", "starting with /"), ("~/x", "relative", "starting with /"),
    ("./x", "relative", "starting with /"),
    ("/srv//x", "not normalised", "write /srv/x"), ("/srv/x/", "not normalised", "write /srv/x"),
    ("//", "not normalised", "write /"), ("/./x", "not normalised", "write /x"), ("/x/.", "not normalised", "write /x"),
    ("/srv/../x", "'..'", "where it leads"), ("/..", "'..'", "where it leads"),
    ("/srv/*.key", "'*'", "trees"), ("/srv/\0x", "NUL", "take it out"),
    ("/" + "a" * 256, "too long", "255"), ("/" + "ä" * 128, "too long", "255"), ("/aaaaaaa" * 512, "too long", "4095"),
])
def test_wrong_paths(text: str, what: str, right: str) -> None:
    with pytest.raises(values.Wrong) as caught:
        values.read_path(text)
    assert what in caught.value.what and right in caught.value.right


@given(st.lists(st.sampled_from(["", ".", "..", "a", "b c", "*", "é", "a" * 255, "a" * 256]), max_size=6)
       .map("/".join))
def test_the_fast_way_and_the_slow_way_agree(text: str) -> None:
    parts = text.split("/")
    is_right = text == "/" or parts[0] == "" and len(parts) > 1 and all(
        0 < len(part.encode()) < 256 and part not in (".", "..", "*") for part in parts[1:])
    try:
        assert values.read_path(text) == text and is_right
    except values.Wrong:
        assert not is_right


@pytest.mark.parametrize("text", ["@a", "@" + "a" * 107, "/run/x.sock"])
def test_sockets(text: str) -> None:
    assert values.read_socket(text) == text


@pytest.mark.parametrize("text, what", [("@", "0 bytes"), ("@" + "a" * 108, "108 bytes"), ("run/x", "relative")])
def test_wrong_sockets(text: str, what: str) -> None:
    with pytest.raises(values.Wrong, match=what):
        values.read_socket(text)


@pytest.mark.parametrize("text", ["a", "0", "a.b-c_d", "a" * 63])
def test_names(text: str) -> None:
    assert values.read_name(text) == text


@pytest.mark.parametrize("text", ["", "A", "-a", ".a", "a b", "a/b", "ä", "a" * 64, "a\n"])
def test_wrong_names(text: str) -> None:
    with pytest.raises(values.Wrong, match="is not a name"):
        values.read_name(text)


@pytest.mark.parametrize("text", ["x.service", "user@1000.service", "a-b.slice", r"dev-\x2d.scope"])
def test_units(text: str) -> None:
    assert values.read_unit(text) == text


@pytest.mark.parametrize("text", ["root", "_apt", "1000", "svc$", "a.b@realm"])
def test_users(text: str) -> None:
    assert values.read_user(text) == text
