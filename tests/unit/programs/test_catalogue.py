"""The catalogue and bpf/ say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nbspd.abi import Channel
from nbspd.programs import source
from nbspd.programs.catalogue import ALL_TIERS, HOOKS, TRAMPOLINE_TIERS, Hook, hooks_of

TEXTS = source.read_sources(Path(__file__).parents[3] / "bpf")
MACRO = re.compile(r"^HOOK\((\w+), (\w+)\)", re.MULTILINE)
RENAMED = {"bprm_check_security": "bprm_check"}      # a function that is not called as its hook
FUNCTION = re.compile(r"^FUNCTION_HOOK\((\w+)\)", re.MULTILINE)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_each_row_has_its_function(hook: Hook) -> None:
    text = TEXTS[hook.file]
    if hook.kind in ("lsm", "resolver"):
        assert (hook.name, hook.security_function) in MACRO.findall(text)
        plain = hook.name.removesuffix("_again")
        assert hook.program("lsm") == f"lsm__{hook.name}" and hook.btf_function("lsm") == f"bpf_lsm_{plain}"
        assert hook.program("fmod_ret") == f"kmod_ret__{hook.security_function}"
        assert hook.btf_function("fmod_ret") == hook.security_function == (
            f"security_{RENAMED.get(plain, plain)}")
    elif hook.kind == "function":
        assert hook.security_function in FUNCTION.findall(text)
        for tier in hook.tiers:
            assert hook.program(tier) == f"kmod_ret__{hook.security_function}"
            assert hook.btf_function(tier) == hook.security_function == f"security_{hook.name}"
    else:
        for tier in hook.tiers:
            assert re.search(rf"^int {hook.program(tier)}\(", text, re.MULTILINE)


def test_each_function_has_its_row() -> None:
    rows = {(hook.name, hook.security_function) for hook in HOOKS if hook.kind != "function"}
    assert {found for text in TEXTS.values() for found in MACRO.findall(text)} == {row for row in rows if row[1]}
    assert {found for text in TEXTS.values() for found in FUNCTION.findall(text)} == {
        hook.security_function for hook in HOOKS if hook.kind == "function"}
    plain = {name for text in TEXTS.values() for name in re.findall(r"^int (\w+)\(", text, re.MULTILINE)}
    assert plain == {hook.program(tier) for hook in HOOKS for tier in hook.tiers if not hook.security_function}


def test_the_macro_makes_the_names_of_the_catalogue() -> None:
    assert "int lsm__##name(" in TEXTS["hooks.h"] and "int kmod_ret__##function(" in TEXTS["hooks.h"]


def test_every_channel_is_seen_by_a_hook() -> None:
    assert {channel for hook in HOOKS for channel in hook.channels} == set(Channel)


def test_each_tier_has_its_hooks_in_order() -> None:
    assert len({hook.name for hook in HOOKS}) == len(HOOKS)
    for tier in ALL_TIERS:
        names = [hook.name for hook in hooks_of(tier)]
        assert names == [hook.name for hook in HOOKS if hook.name in names]
        assert names[0].startswith("sched_process"), "stamps are kept before anything denies"
        assert any(hook.is_required for hook in hooks_of(tier))
    assert tuple(hook for hook in hooks_of("lsm") if not hook.name.endswith("_again")) == hooks_of("fmod_ret")
    assert {hook.name for hook in hooks_of("lsm")} & {"file_open", "inode_rename"}
    assert not [hook for hook in hooks_of("socket") if hook.tiers in (TRAMPOLINE_TIERS, ("lsm",))]
