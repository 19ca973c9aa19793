"""The small words of the grammar: names, paths, endpoints, keys; each says what would be right."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network

from ..abi import PSEUDO_NAMES
from .model import Endpoint, Network
from .pseudo import ANYWHERE, mount_point, process_name

NAME_MAX = 255
PATH_MAX = 4095
ABSTRACT_MAX = 107
ED25519_DER = bytes.fromhex("302a300506032b6570032100")     # RFC 8410: what stands before the 32 bytes of the key

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_PLAIN_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._:@%+,=~ -]{1,255})+\Z")
_PSEUDO = ("/proc/", "/sys/")
_ENDPOINT = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*)):([0-9]+)\Z", re.ASCII)
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:service|scope|slice)\Z")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?\Z")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")
_MAPPED = 0xFFFF        # what stands before the 32 bits of a mapped address


class Wrong(ValueError):
    """A value that is not what it should be."""

    def __init__(self, what: str, right: str) -> None:
        super().__init__(what)
        self.what = what
        self.right = right


def read_name(text: str) -> str:
    """Return a name, which is kept in memory once; Raises: Wrong."""
    if _NAME.match(text):
        return sys.intern(text)
    raise Wrong(f"{text[:70]!r} is not a name",
                "use a-z, 0-9, '.', '_' and '-', at most 63, starting with a letter or digit")


def read_code(text: str) -> str:
    """Return a path to code, or one of the words system and anonymous (memory). Raises ValueError."""
    return text if text in ("system", "anonymous") else read_path(text)


def read_path(text: str) -> str:
    """Return an absolute, normalised path; Raises: Wrong."""
    if _PLAIN_PATH.match(text) and len(text) <= PATH_MAX or text == "/":
        return text
    if not text.startswith("/"):
        raise Wrong(f"the path {text!r} is relative", "write it from the root, starting with /")
    if "\0" in text:
        raise Wrong(f"the path {text!r} contains a NUL", "take it out")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Wrong(f"the path {text!r} contains '..'", "write where it leads")
    normal = "/" + "/".join(parts)
    if normal != text:
        raise Wrong(f"the path {text!r} is not normalised", f"write {normal}")
    if "*" in text:
        raise Wrong(f"the path {text!r} contains '*', and patterns are not read here",
                    "name the files, or put the directory under trees:")
    size = _size(text)
    if size > PATH_MAX or any(_size(part) > NAME_MAX for part in parts):
        raise Wrong(f"the path {text[:40]!r}… is too long", f"at most {NAME_MAX} bytes a name and {PATH_MAX} in all")
    return text


def read_protected(text: str) -> str:
    """Return a path that can be protected; on a pseudo file system /** may stand for any directory. Raises: Wrong."""
    if not text.startswith(_PSEUDO):
        return read_path(text)
    point = mount_point(text)
    rest = text[len(point):] if point else ""
    if rest.startswith(f"/{ANYWHERE}/"):
        name = rest[len(ANYWHERE) + 2:]
        if not name or "/" in name:
            raise Wrong(f"in {text!r} more than one name follows {ANYWHERE}", f"write {point}/{ANYWHERE}/NAME")
        read_path(f"{point}/{name}")
        return sys.intern(text)
    path = read_path(text)
    if own := process_name(path):
        raise Wrong(f"the path {text!r} is one process's own ({own}), and gone with it",
                    f"write /proc/{ANYWHERE}/{path.rpartition('/')[2]} for that file of every process")
    if rest.count("/") > PSEUDO_NAMES:
        raise Wrong(f"the path {text[:40]!r}… has more than {PSEUDO_NAMES} names below {point}",
                    "declare a directory above it under trees:")
    return path


def read_tree(text: str) -> str:
    """Return the path of a directory with all below it; Raises: Wrong."""
    path = read_protected(text)
    if f"/{ANYWHERE}/" in path:
        raise Wrong(f"the tree {text!r} contains {ANYWHERE}, which is for files", "write it under files:")
    return path


def read_socket(text: str) -> str:
    """Return the path of a unix socket, or "@name" of an abstract one; Raises: Wrong."""
    if not text.startswith("@"):
        return read_path(text)
    if not 1 <= _size(text[1:]) <= ABSTRACT_MAX:
        raise Wrong(f"the abstract name {text[:40]!r} has {_size(text[1:])} bytes", f"it has 1 to {ABSTRACT_MAX}")
    return text


def read_endpoint(text: str) -> Endpoint:
    """Return a network and a port, IPv4 where it can be; Raises: Wrong."""
    match = _ENDPOINT.match(text)
    if match is None:
        raise _no_endpoint(text)
    bracketed, bare, digits = match.groups()
    port = int(digits) if len(digits) <= 9 else 70000
    if not 1 <= port <= 65535:
        raise Wrong(f"the port {digits[:20]} of {text[:60]!r} does not exist", "a port is 1 to 65535")
    return Endpoint(_network(text, bare) if bracketed is None else _network_v6(text, bracketed), port)


def read_unit(text: str) -> str:
    """Return the name of a systemd unit; Raises: Wrong."""
    if _UNIT.match(text):
        return text
    raise Wrong(f"{text!r} is not a systemd unit that runs programs", "write it like pgbouncer.service")


def read_user(text: str) -> str:
    """Return a user's name or number; Raises: Wrong."""
    if _USER.match(text) and len(text) <= 256:
        return text
    raise Wrong(f"{text[:40]!r} is not a user's name or number", "write it as it stands in the user database")


def read_sha256(text: str) -> str:
    """Return a SHA-256 in lower case; Raises: Wrong."""
    if _SHA256.match(text):
        return text.lower()
    raise Wrong(f"{text[:70]!r} is not a SHA-256", "write the 64 digits that sha256sum prints")


def read_key(text: str) -> bytes:
    """Return the 32 bytes of "ed25519:BASE64", raw or as SubjectPublicKeyInfo; Raises: Wrong."""
    right = "write ed25519: and the base64 of the public key (openssl pkey -pubout -outform DER | base64)"
    kind, _, encoded = text.partition(":")
    if kind != "ed25519":
        raise Wrong(f"{text[:20]!r} is not an Ed25519 key", right)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("the key is not base64", right) from None
    key = key.removeprefix(ED25519_DER)
    if len(key) != 32:
        raise Wrong(f"the key has {len(key)} bytes where an Ed25519 public key has 32", right)
    return key


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _no_endpoint(text: str) -> Wrong:
    shown = text[:60]
    host, colon, port = text.rpartition(":")
    if ":" in host and "[" not in text:
        return Wrong(f"{shown!r}: an IPv6 address stands in brackets", "write [ADDRESS]:PORT, like [::1]:5432")
    if text.endswith("]") or _is_network(text):
        return Wrong(f"{shown!r} has no port", f"write {shown}:PORT")
    if colon and host:
        return Wrong(f"{shown!r}: the port is not a number", f"write {host}:PORT, a port is 1 to 65535")
    return Wrong(f"{shown!r} is not an endpoint",
                 "write ADDRESS:PORT, like 127.0.0.1:5432, [::1]:5432 or 10.0.0.0/8:5432")


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _network(text: str, spelled: str) -> Network:
    try:
        return IPv4Network(spelled)
    except ValueError:
        raise _no_network(text, spelled) from None


def _network_v6(text: str, spelled: str) -> Network:
    if "%" in spelled:
        raise Wrong(f"{text[:60]!r} names a zone",
                    "leave out % and what follows: an endpoint counts on every interface")
    try:
        network = IPv6Network(spelled)
    except ValueError:
        raise _no_network(text, spelled) from None
    number = int(network.network_address)
    if network.prefixlen >= 96 and number >> 32 == _MAPPED:
        return IPv4Network((number & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _no_network(text: str, spelled: str) -> Wrong:
    shown = text[:60]
    try:
        network = ip_network(spelled, strict=False)
    except ValueError:
        if ":" not in spelled and re.search("[A-Za-z]", spelled):
            return Wrong(f"{shown!r} names a host", "write its address: names can change behind the rule's back")
        return Wrong(f"{shown!r}: {spelled[:50]!r} is not an address", "write it like 127.0.0.1, [::1] or 10.0.0.0/8")
    port = text.rpartition(":")[2]
    if (network.version == 6) != text.startswith("["):
        return Wrong(f"{shown!r}: brackets are for IPv6, and only for it", f"write {spell_network(network)}:{port}")
    return Wrong(f"{shown!r} has host bits set", f"write {spell_network(network)}:{port}, "
                 f"or {spell_network(ip_network(spelled.partition('/')[0]))}:{port} for the one address")


def spell_network(network: Network) -> str:
    """Return a network as it is written before a port."""
    text = str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
    return f"[{text}]" if isinstance(network.network_address, IPv6Address) else text
