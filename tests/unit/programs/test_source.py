"""The joined text and its digests."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nbspd import abi
from nbspd.errors import LoadError
from nbspd.paths import bpf_sources
from nbspd.programs import source

BPF = Path(__file__).parents[3] / "bpf"


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return source.read_sources(BPF)


def test_every_file_is_joined(sources: dict[str, str]) -> None:
    assert bpf_sources() == BPF
    there = {path.name for path in BPF.iterdir() if path.suffix in (".c", ".h")}
    assert there - {"lint.h"} == set(sources) == set(source.ORDER)


def test_messages_point_at_the_file(sources: dict[str, str]) -> None:
    text = source.join(sources, "fmod_ret", Path("/sys/fs/bpf/x/maps-1"))
    lines = text.split("\n")
    assert lines[:2] == ["#define NBSP_TIER_FMOD_RET 1", '#define NBSP_MAPS "/sys/fs/bpf/x/maps-1"']
    for name in source.ORDER:
        at = lines.index(f'#line 1 "{name}"') + 1
        content = sources[name].split("\n")[:-1]
        assert lines[at:at + len(content)] == content
    assert text.index("#line 1 \"abi.h\"") < text.index(abi.static_assertions()) < text.index("#line 1 \"hooks.h\"")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cannot read the BPF source .*abi.h: No such file") as caught:
        source.read_sources(tmp_path)
    assert caught.value.remedy


def test_a_digest_knows_where_one_part_ends() -> None:
    found = {source.digest(parts) for parts in ([], [""], ["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"])}
    assert len(found) == 6 and all(len(one) == 16 for one in found)


def test_everything_that_makes_the_programs_changes_their_digest(
        sources: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def of(changed: dict[str, str] | None = None, tier: str = "auto", cgroup: str = "/sys/fs/cgroup") -> str:
        return source.programs_digest({**sources, **(changed or {})}, tier, Path(cgroup))
    found = [of(), of(tier="lsm"), of(cgroup="/sys/fs/cgroup/x")]
    found += [of({name: text + "\n"}) for name, text in sources.items()]
    host = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*host[:2], "9.9.9", *host[3:])))
    found.append(of())
    monkeypatch.setattr(abi, "static_assertions", lambda: "")
    found.append(of())
    assert len(set(found)) == len(found)


def test_tables_are_shared_as_long_as_they_look_alike(sources: dict[str, str]) -> None:
    same = source.maps_digest(sources)
    assert source.maps_digest({**sources, "file.c": "x"}) == same
    assert source.maps_digest({**sources, "maps.h": "x"}) != same != source.maps_digest({**sources, "abi.h": "x"})


def test_inode_of_a_hooks_dentry_is_checked_by_a_copy(sources: dict[str, str]) -> None:
    """`if (dentry->d_inode)` is thrown away by verifiers that believe it is never NULL: objects.h says more."""
    direct = re.compile(r"\b(?:dentry|from|to|old_dentry|new_dentry)->d_inode")
    found = [f"{name}: {line.strip()}" for name, text in sources.items() for line in text.split("\n")
             if direct.search(line)]
    # an opened or mapped file has one, and where it is opened it is compared and not followed
    assert found == ["objects.h: return raw ? dentry->d_inode : 0;",
                     "file.c: if (!q.policy && file->f_path.dentry->d_inode != file->f_inode)",
                     "file.c: inode = path->dentry->d_inode;", "task.c: inode = dentry->d_inode;",
                     "task.c: set_key(&q.object, dentry->d_inode, dentry->d_sb->s_dev);"]
