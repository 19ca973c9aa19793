"""The host's key: made once, kept, replaced only aloud."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from nbspd.errors import JournalError
from nbspd.journal import hostkey
from nbspd.journal.keys import PublicKey, keys_beside, parse_key, read_keys


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_it_is_made_once_and_is_for_root_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = hostkey.load(tmp_path)
    finally:
        os.umask(before)
    assert mode(tmp_path / "host.key") == 0o600 and made.public.id in made.news[0] and "was made" in made.news[0]
    kept = hostkey.load(tmp_path, made.public.id)
    assert kept.public == made.public and kept.news == ()
    assert kept.public.is_signature(made.sign(b"text"), b"text")
    assert not kept.public.is_signature(made.sign(b"text"), b"texts")
    assert read_keys(str(tmp_path / "host.pub")) == (made.public,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host.key", "host.pub"]


def test_the_public_key_is_what_openssl_would_write() -> None:
    key = Ed25519PrivateKey.generate().public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    import base64
    assert public.text == "ed25519:" + base64.b64encode(der).decode() and public.text.startswith("ed25519:MCowBQ")
    assert parse_key(public.text + "\n") == public


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def of_another_kind(path: Path) -> None:
    path.write_bytes(generate_private_key(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8,
                                                                     NoEncryption()))


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("harm, why", [
    (Path.unlink, "there was none"), (damage, "damaged"), (lambda path: path.write_bytes(b""), "damaged"),
    (of_another_kind, "another kind"), (link, "symbolic link"), (pipe, "no file")])
def test_what_is_lost_or_damaged_is_replaced_and_said(harm: object, why: str, tmp_path: Path) -> None:
    old = hostkey.load(tmp_path)
    harm(tmp_path / "host.key")     # type: ignore[operator]
    new = hostkey.load(tmp_path, old.public.id)
    assert new.public != old.public
    news, = new.news
    assert why in news and old.public.id in news and new.public.id in news and "is gone" in news
    assert hostkey.load(tmp_path, new.public.id).news == ()
    assert keys_beside(tmp_path) == (new.public, old.public), "what it signed can still be checked"
    assert any("damaged" in path.name for path in tmp_path.iterdir()) == (harm is not Path.unlink)


def test_a_key_that_was_lost_with_its_public_half_is_no_first_start(tmp_path: Path) -> None:
    found = hostkey.load(tmp_path, "0123456789abcdef")
    assert "0123456789abcdef is gone" in found.news[0]


def test_another_key_in_its_place_is_said(tmp_path: Path) -> None:
    old = hostkey.load(tmp_path)
    (tmp_path / "other").mkdir()
    other = hostkey.load(tmp_path / "other")
    for name in ("host.key", "host.pub"):
        (tmp_path / "other" / name).rename(tmp_path / name)
    found = hostkey.load(tmp_path, old.public.id)
    assert found.public == other.public
    assert "nobody told nbspd" in found.news[0] and old.public.id in found.news[0]


def test_another_public_key_beside_it_is_said_and_mended(tmp_path: Path) -> None:
    key = hostkey.load(tmp_path)
    (tmp_path / "other").mkdir()
    other = hostkey.load(tmp_path / "other")
    (tmp_path / "other/host.pub").rename(tmp_path / "host.pub")
    found = hostkey.load(tmp_path, key.public.id)
    assert found.public == key.public and other.public.id in found.news[0]
    assert read_keys(str(tmp_path / "host.pub")) == (key.public,)
    (tmp_path / "host.pub").write_text("nonsense")
    assert hostkey.load(tmp_path, key.public.id).public == key.public
    assert read_keys(str(tmp_path / "host.pub")) == (key.public,)


def test_a_key_that_others_could_read_is_said(tmp_path: Path) -> None:
    hostkey.load(tmp_path)
    (tmp_path / "host.key").chmod(0o644)
    assert "mode 0644" in hostkey.load(tmp_path).news[0]
    assert mode(tmp_path / "host.key") == 0o600
    assert hostkey.load(tmp_path).news == ()


def test_no_room_is_an_error_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(JournalError, match="No space left") as caught:
            hostkey.load(tmp_path)
    assert "not signed" in caught.value.remedy and not (tmp_path / "host.key").exists()
    assert "was made" in hostkey.load(tmp_path).news[0]


def test_a_disk_that_cannot_be_read_costs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = hostkey.load(tmp_path)

    def refuse(*_: object) -> int:
        raise OSError(5, "Input/output error")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(JournalError, match="Input/output"):
            hostkey.load(tmp_path)
    assert hostkey.load(tmp_path).public == old.public


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:????", "ed25519:" + "A" * 60, "rsa:MCowBQ", "MCowBQYDK2Vw"])
def test_what_is_no_public_key_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(JournalError) as caught:
        parse_key(text)
    assert caught.value.remedy
    (tmp_path / "file").write_text(text)
    with pytest.raises(JournalError):
        read_keys(str(tmp_path / "file"))
    with pytest.raises(JournalError):
        read_keys(str(tmp_path / "none"))
