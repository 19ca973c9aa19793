"""Public keys in one line of text: "ed25519:" and the base64 of their DER, as `issuers:` in the rules has them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ..errors import JournalError

PREFIX = "ed25519:"
DER_HEAD = bytes.fromhex("302a300506032b6570032100")     # RFC 8410: what stands before the key's 32 bytes
RAW_BYTES = 32
ID_DIGITS = 16
FILE_MAX_BYTES = 65536


@dataclass(frozen=True)
class PublicKey:
    """A key by which a signature can be checked."""

    raw: bytes

    @property
    def text(self) -> str:
        """Return the key in one line."""
        return PREFIX + base64.b64encode(DER_HEAD + self.raw).decode("ascii")

    @property
    def id(self) -> str:
        """Return the short name that signatures give it."""
        return sha256(DER_HEAD + self.raw).hexdigest()[:ID_DIGITS]

    def is_signature(self, signature: bytes, message: bytes) -> bool:
        """Return whether the holder of the key has signed this message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def parse_key(text: str) -> PublicKey:
    """Return the key of a line of text. Raises JournalError."""
    try:
        der = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        der = b""
    if not text.strip().startswith(PREFIX) or der[:len(DER_HEAD)] != DER_HEAD or (
            len(der) != len(DER_HEAD) + RAW_BYTES):
        raise JournalError(f"{text.strip()[:80]!r} is not an Ed25519 public key",
                           f"it is one line, {PREFIX}MCowBQ…, as nbsp journal key prints it")
    return PublicKey(der[len(DER_HEAD):])


def read_keys(where: str) -> tuple[PublicKey, ...]:
    """Return the keys of a text, or of a file with one on each line. Raises JournalError."""
    if where.startswith(PREFIX):
        return (parse_key(where),)
    try:
        with open(where, "rb") as file:
            text = file.read(FILE_MAX_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise JournalError(f"the public key {where} cannot be read: {error.strerror}",
                           f"name a file, or the key itself: {PREFIX}MCowBQ…") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise JournalError(f"there is no public key in {where}", "take the one that nbsp journal key prints")
    return tuple(map(parse_key, lines))


def keys_beside(folder: Path) -> tuple[PublicKey, ...]:
    """Return the public keys that the daemon left in its state folder: the host's, and those that it had before.

    Raises JournalError when one of them is damaged.
    """
    paths = [path for path in (folder / "host.pub", *sorted(folder.glob("host-*.pub"))) if path.is_file()]
    return tuple(key for path in paths for key in read_keys(str(path)))
