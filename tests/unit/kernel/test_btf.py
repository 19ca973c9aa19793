"""The BTF reader: this kernel's types, hand-made types, and damage."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbspd.errors import HostError
from nbspd.kernel import btf
from nbspd.kernel.btf import Btf, BtfError

from .synthetic import Builder


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return Btf.vmlinux()


def sample() -> Builder:
    """A kernel with one of each thing that matters."""
    b = Builder()
    u32, u64 = b.integer("unsigned int", 4), b.integer("unsigned long", 8)
    kuid = b.typedef("kuid_t", b.record("", 4, [("val", u32, 0)]))
    point = b.record("point", 8, [("x", u32, 0), ("y", u32, 32)])
    inner = b.record("", 16, [("first", b.const(u64), 0), ("second", point, 64)], btf.UNION)
    outer = b.record("outer", 40, [("id", u32, 0), ("", inner, 64), ("owner", kuid, 192),
                                   ("names", b.array(u64, 1), 256)])
    flags = b.record("flags", 4, [("low", u32, 3 << 24), ("high", u32, 5 << 24 | 3)], bitfields=1)
    b.function("do_thing", [("outer", b.pointer(b.const(outer))), ("by_value", inner), ("", kuid),
                            ("list", b.pointer(b.pointer(flags))), ("data", b.pointer(0))])
    b.forward("elsewhere")
    return b


def test_vmlinux_members(vmlinux: Btf) -> None:
    dentry = vmlinux.member("path", "dentry")
    assert dentry is not None and (dentry.offset, dentry.size) == (8, 8)
    assert dentry.shape.name == "struct dentry *"
    comm = vmlinux.member("task_struct", "comm")
    assert comm is not None and comm.size == 16 and comm.shape.count == 16
    family = vmlinux.member("sock", "__sk_common.skc_family")
    assert family is not None and family.offset == 16
    assert vmlinux.struct_size("path") == 16
    assert vmlinux.struct_size("no_such_struct") is None
    assert vmlinux.member("path", "no_such_member") is None


def test_vmlinux_functions(vmlinux: Btf) -> None:
    assert vmlinux.function_parameters("security_file_open") == (("file", "struct file *"),)
    assert vmlinux.function_parameters("no_such_function") is None
    assert vmlinux.function_slots("no_such_function") is None
    assert vmlinux.function_id("no_such_function") is None
    assert vmlinux.function_id("security_file_open")


def test_members_through_anonymous_unions() -> None:
    types = Btf(sample().data(), "synthetic")
    second = types.member("outer", "second.y")
    assert second is not None and second.offset_bits == 64 + 64 + 32
    first = types.member("outer", "first")
    assert first is not None and first.shape == btf.Shape(btf.INT, "unsigned long", 8)


def test_single_member_struct_is_known() -> None:
    owner = Btf(sample().data(), "synthetic").member("outer", "owner")
    assert owner is not None and owner.shape.only is not None and owner.shape.only.name == "unsigned int"


def test_bitfields_are_told_apart() -> None:
    high = Btf(sample().data(), "synthetic").member("flags", "high")
    assert high is not None and (high.offset_bits, high.bitfield_bits) == (3, 5)


def test_parameters_and_their_slots() -> None:
    types = Btf(sample().data(), "synthetic")
    assert types.function_parameters("do_thing") == (
        ("outer", "struct outer *"), ("by_value", "union "), ("", "kuid_t"), ("list", "struct flags **"),
        ("data", "void *"))
    assert types.function_slots("do_thing") == (1, 2, 1, 1, 1)


@pytest.mark.parametrize("length", [0, 10, 24, 40, 200])
def test_truncated(length: int) -> None:
    with pytest.raises(BtfError, match="cut short|less than its header"):
        Btf(sample().data()[:length])


def test_truncated_type_section() -> None:
    data = bytearray(sample().data())
    types_size = int.from_bytes(data[12:16], "little")
    data[12:16] = (types_size - 4).to_bytes(4, "little")
    with pytest.raises(BtfError, match="cut short in type"):
        Btf(bytes(data))


def test_truncated_vmlinux() -> None:
    with pytest.raises(BtfError, match="cut short"):
        Btf(btf.VMLINUX.read_bytes()[:-1])


def test_not_btf_at_all() -> None:
    with pytest.raises(BtfError, match="starts with"):
        Btf(b"\x7fELF" + bytes(100))


def test_unknown_kind_is_named() -> None:
    b = sample()
    b.raw(25)
    with pytest.raises(BtfError, match="unknown kind 25"):
        Btf(b.data())


def test_unknown_kind_is_passed_over_where_the_data_say_how_long_it_is() -> None:
    b = Builder()
    b.raw(25, [7, 1, 2, 3, 4], vlen=2)
    b.record("after", 8, [("x", b.integer("int", 4, True), 32)])
    rows = [struct.pack("=BBH", 4, 8, 0) if kind == 25 else bytes(4) for kind in range(26)]
    after = Btf(b.data(b"".join(rows)), "7.1").member("after", "x")
    assert after is not None and after.offset == 4 and after.shape.is_signed


def test_more_elements_than_16_bits_count() -> None:
    b = Builder()
    b.raw(btf.ENUM, [0, 0] * 70000, vlen=70000)
    b.record("after", 8, [])
    assert Btf(b.data()).struct_size("after") == 8


def test_type_that_defines_itself() -> None:
    b = Builder()
    b.typedef("loop", 1)
    b.record("holder", 8, [("member", 1, 0)])
    with pytest.raises(BtfError, match="defined by itself"):
        Btf(b.data()).member("holder", "member")


def test_reference_past_the_end() -> None:
    b = Builder()
    b.record("holder", 8, [("member", 77, 0)])
    with pytest.raises(BtfError, match="refers to type 77"):
        Btf(b.data()).member("holder", "member")


def test_missing_file_has_a_remedy() -> None:
    with pytest.raises(HostError) as caught:
        Btf.vmlinux(btf.Path("/nowhere/vmlinux"))
    assert "cannot read /nowhere/vmlinux" in caught.value.cause and "CONFIG_DEBUG_INFO_BTF" in caught.value.remedy


SAMPLE = sample().data()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_is_an_error_or_harmless(damage: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLE)
    for at, value in damage:
        data[at] = value
    try:
        types = Btf(bytes(data))
        for path in ("id", "first", "second.x", "owner", "names"):
            types.member("outer", path)
        types.function_parameters("do_thing")
        types.function_slots("do_thing")
    except BtfError as error:
        assert "BTF data" in error.cause
