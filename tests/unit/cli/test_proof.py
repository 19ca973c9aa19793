"""journal verify, anchor and key over files: copies, cut ones, locked ones, keys and anchors from elsewhere."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from ..journal.history import History
from .running import Runner


@pytest.fixture
def state(tmp_path: Path) -> Path:
    history = History(tmp_path / "state", 3)
    history.live(12)
    history.sign()
    history.journal.close()
    return tmp_path / "state"


def test_the_hosts_own_journal(nbsp: Runner, state: Path, tmp_path: Path) -> None:
    done = nbsp("journal", "verify", "--state", state, "--runtime", tmp_path)
    assert done.code == 0 and "signed by the host key" in done.out and "not compared with the kernel" in done.out
    assert nbsp("journal", "verify", "--state", state, "--runtime", tmp_path, "--json").json["is_checked"]


def test_a_copy_with_key_and_anchor_from_elsewhere(nbsp: Runner, state: Path, tmp_path: Path) -> None:
    key = nbsp("journal", "key", "--state", state).out.strip()
    anchor = nbsp("journal", "anchor", "--state", state, "--runtime", tmp_path).out.strip()
    copy = tmp_path / "copy.db"
    shutil.copy(state / "journal.db", copy)
    (tmp_path / "kept").write_text(f"a line\nNov 25 host nbsp: {anchor}\n")
    done = nbsp("journal", "verify", copy, "--key", key, "--anchor", tmp_path / "kept")
    assert done.code == 0 and "compared with 1 anchors" in done.out
    assert "NOT checked" in nbsp("journal", "verify", copy).out
    other = History(tmp_path / "other").key.public.text
    done = nbsp("journal", "verify", copy, "--key", other)
    assert done.code == 1 and "another host's journal" in done.err
    with sqlite3.connect(copy) as database:
        database.execute("DELETE FROM records WHERE seq = (SELECT max(seq) FROM records)")
    database.close()
    done = nbsp("journal", "verify", copy, "--key", key, "--anchor", anchor)
    assert done.code == 1 and "cut off the end" in done.err


@pytest.mark.parametrize("harm, words", [
    (lambda path: path.write_bytes(path.read_bytes()[:20_000]), "is cut off: it has 20,000 of"),
    (lambda path: path.write_bytes(b"some text" * 999), "is not a journal of nbspd"),
    (lambda path: path.unlink(), "cannot be read: No such file")])
def test_a_file_in_trouble(harm: object, words: str, nbsp: Runner, state: Path) -> None:
    harm(state / "journal.db")      # type: ignore[operator]
    done = nbsp("journal", "verify", state / "journal.db")
    assert done.code == 1 and words in done.err and "remedy" in done.err


def test_a_locked_journal(nbsp: Runner, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbspd.journal.copies.TIMEOUT_S", 0.1)
    database = sqlite3.connect(state / "journal.db", isolation_level=None)
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("BEGIN EXCLUSIVE")
    database.execute("UPDATE accounts SET gone = gone")
    try:
        done = nbsp("journal", "verify", state / "journal.db")
    finally:
        database.close()
    assert done.code == 1 and "is locked by another program" in done.err


def test_what_is_no_anchor(nbsp: Runner, state: Path) -> None:
    done = nbsp("journal", "verify", state / "journal.db", "--anchor", "nonsense")
    assert done.code == 1 and "is not an anchor" in done.err
