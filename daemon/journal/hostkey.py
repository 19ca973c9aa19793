"""The host's own key, with which it signs its journal.

    host.key        the private key, PKCS 8 in PEM, for root alone
    host.pub        the public key, one line of text
    host-ID.pub     public keys that the host had before

It is made at the first start. A key that was lost or damaged is replaced, and never silently: `news` says so, and the
journal takes it down. What cannot be read for another reason (an I/O error) is left as it is.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (Encoding, NoEncryption, PrivateFormat, PublicFormat,
                                                          load_pem_private_key)

from ..errors import JournalError
from .keys import PublicKey, read_keys

PRIVATE, PUBLIC = "host.key", "host.pub"
SIZE_MAX_BYTES = 4096


@dataclass(frozen=True)
class HostKey:
    """The key, and what is to be said about it in the journal."""

    public: PublicKey
    sign: Callable[[bytes], bytes]
    news: tuple[str, ...] = ()


class UselessKey(Exception):
    """There is no key, or it is none; the text says which."""


def load(folder: Path, signed_by: str = "") -> HostKey:
    """Return the host's key, made anew where there is none. `signed_by` is who signed the journal last.

    Raises JournalError when the folder cannot be read or written; try again later.
    """
    try:
        try:
            return _kept(folder, signed_by)
        except UselessKey as why:
            return _replaced(folder, signed_by, str(why))
    except OSError as error:
        raise JournalError(f"the host key in {folder} cannot be read or made: {error.strerror}",
                           "free some space there, or mend the disk; until then the journal is not signed") from error


def _kept(folder: Path, signed_by: str) -> HostKey:
    key, mode = _read(folder / PRIVATE)
    public = _public_of(key)
    news = []
    if mode & 0o077:
        os.chmod(folder / PRIVATE, 0o600)
        news.append(f"the host key {public.id} could be read by others (mode {mode:04o}, now 0600): who had it can "
                    "have signed in its name; to have another one, remove host.key and restart nbspd")
    if signed_by and signed_by != public.id:
        news.append(f"the host key is {public.id} from here on; the journal was signed by {signed_by} until now, and "
                    "nobody told nbspd of a change")
    known = _known(folder)
    if known != public:
        _retire(folder, known)
        _write(folder / PUBLIC, public.text + "\n", 0o644)
        if known is not None:
            news.append(f"host.pub held another key, {known.id}; it holds {public.id} again")
    return HostKey(public, key.sign, tuple(news))


def _replaced(folder: Path, signed_by: str, why: str) -> HostKey:
    known = _known(folder)
    if os.path.lexists(folder / PRIVATE):
        os.rename(folder / PRIVATE, folder / f"{PRIVATE}.damaged-{time.time_ns()}")
    _retire(folder, known)
    key = Ed25519PrivateKey.generate()
    public = _public_of(key)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    _write(folder / PRIVATE, pem, 0o600)
    _write(folder / PUBLIC, public.text + "\n", 0o644)
    before = signed_by or (known.id if known is not None else "")
    if before:
        news = (f"the host key {before} is gone ({why}); {public.id} signs the journal from here on. Signatures of "
                f"{before} hold as before; keep the new public key elsewhere, too: nbsp journal key")
    else:
        news = (f"the host key {public.id} was made ({why}); keep its public key elsewhere, too: nbsp journal key")
    return HostKey(public, key.sign, (news,))


def _read(path: Path) -> tuple[Ed25519PrivateKey, int]:
    """Return the private key and its file's permissions. Raises UselessKey, OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UselessKey("there was none") from None
    except OSError:
        if path.is_symlink():
            raise UselessKey("a symbolic link was in its place") from None
        raise
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise UselessKey("something that is no file was in its place")
        text = file.read(SIZE_MAX_BYTES)
    try:
        key = load_pem_private_key(text, None)
    except (ValueError, TypeError):
        raise UselessKey("the file was damaged") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UselessKey("the file held a key of another kind")
    return key, stat.S_IMODE(found.st_mode)


def _known(folder: Path) -> PublicKey | None:
    """Return the key that host.pub holds, None where it is missing or damaged."""
    try:
        return read_keys(str(folder / PUBLIC))[0]
    except JournalError:
        return None


def _retire(folder: Path, known: PublicKey | None) -> None:
    """Keep a public key under its own name: what it signed can still be checked."""
    if known is not None:
        os.rename(folder / PUBLIC, folder / f"host-{known.id}.pub")


def _public_of(key: Ed25519PrivateKey) -> PublicKey:
    return PublicKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file so that a crash leaves the old one or the whole new one. Raises OSError."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
