"""The generated header: right offsets on this kernel, older spellings, clear errors, and that bcc compiles it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from nbspd.kernel import fields, layout
from nbspd.kernel.btf import Btf
from nbspd.kernel.fields import FIELDS, may, need
from nbspd.kernel.layout import LayoutError

from .synthetic import Builder

PROGRAM = """
#include <linux/types.h>
#include "nbsp_kernel.h"
BPF_HASH(seen, __u32, __u64);
int probe(struct bpf_raw_tracepoint_args *ctx) {
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    __u32 uid = task->cred->uid + task->signal->live + ARG_file_open_file + ARGS_file_open;
    __u64 ino = task->mm->exe_file->f_path.dentry->d_inode->i_ino;
    seen.update(&uid, &ino);
    return 0;
}
"""
CHILD = """
import sys
from bcc import BPF
bpf = BPF(text=sys.stdin.read())
print(bpf.load_func(b"probe", BPF.RAW_TRACEPOINT).fd)
"""


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return Btf.vmlinux()


def header(b: Builder, monkeypatch: pytest.MonkeyPatch, table: dict[str, tuple[fields.Field, ...]]) -> str:
    monkeypatch.setattr(layout, "FIELDS", table)
    return layout.header_text(Btf(b.data(), "5.15.0-synthetic"))


def test_bcc_compiles_and_loads_it(tmp_path: Path, vmlinux: Btf) -> None:
    layout.write_include(tmp_path, vmlinux, [("file_open", "security_file_open")])
    child = subprocess.run(["/usr/bin/python3", "-c", CHILD], input=PROGRAM, capture_output=True, text=True,
                           env={**os.environ, "BCC_KERNEL_SOURCE": str(tmp_path)}, timeout=120)
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) > 0


def test_every_table_row_is_there(vmlinux: Btf) -> None:
    text = layout.header_text(vmlinux)
    for struct, row in FIELDS.items():
        body = re.search(rf"^struct {struct} {{\n(.*?)^}};", text, re.MULTILINE | re.DOTALL)
        assert body, struct
        for field in row:
            if field.is_required:
                assert re.search(rf"\b{field.name}(\[\d+\])?;", body[1]), f"{struct}.{field.name}"
    assert "packed" not in text


def test_own_structs_are_typed_and_others_are_not(vmlinux: Btf) -> None:
    text = layout.header_text(vmlinux)
    assert "\tstruct cred *cred;" in text and "\tstruct file **fd;" in text
    assert "\tstruct path f_path;" in text and "\tstruct qstr d_name;" in text
    assert "\tvoid *ops;" in text and "\t__u32 i_uid;" in text and "\tint live;" in text


def test_writing_twice_is_the_same(tmp_path: Path, vmlinux: Btf) -> None:
    layout.write_include(tmp_path, vmlinux)
    first = (tmp_path / "include" / layout.HEADER).read_bytes()
    layout.write_include(tmp_path, vmlinux)
    assert (tmp_path / "include" / layout.HEADER).read_bytes() == first


def test_hooks(vmlinux: Btf) -> None:
    text = layout.header_text(vmlinux, [("file_open", "security_file_open"), ("none", "security_no_such_hook")])
    assert "#define HAS_HOOK_file_open 1\n#define ARGS_file_open 1\n#define ARG_file_open_file 0\n" in text
    assert "HAS_HOOK_none" not in text
    assert layout.hook_arguments(vmlinux, "security_no_such_hook") is None


@pytest.mark.parametrize("spelling", ["mnt_userns", "mnt_idmap", "idmap", "idmap__nullable"])
def test_parameters_have_one_name(spelling: str) -> None:
    b = Builder()
    pointer = b.pointer(0)
    b.function("security_inode_setattr", [(spelling, pointer), ("dentry", pointer), ("attr", pointer)])
    assert layout.hook_arguments(Btf(b.data()), "security_inode_setattr") == {"idmap": 0, "dentry": 1, "attr": 2}


def test_struct_by_value_moves_the_rest() -> None:
    b = Builder()
    pair = b.record("pair", 16, [("a", b.pointer(0), 0), ("b", b.pointer(0), 64)])
    b.function("hook", [("pair", pair), ("last", b.pointer(0))])
    types = Btf(b.data())
    assert layout.hook_arguments(types, "hook") == {"pair": 0, "last": 2}
    assert "#define ARGS_h 3\n" in layout.hook_text(types, [("h", "hook")])


@pytest.mark.parametrize("spelling", ["parent", "__parent"])
def test_older_spelling(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    b.record("kernfs_node", 16, [(spelling, b.pointer(0), 64)])
    text = header(b, monkeypatch, {"kernfs_node": (need("parent", "__parent", "parent"),)})
    assert "\tchar pad0[8];\n" in text and "parent;" in text and "__parent" not in text


def test_old_capabilities_are_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    caps = b.typedef("kernel_cap_t", b.record("kernel_cap_struct", 8, [("cap", b.array(b.integer("u32", 4), 2), 0)]))
    b.record("aligned", 16, [("cap", caps, 64)])
    b.record("halfway", 12, [("cap", caps, 32)])
    cap = need("cap", c_type="__u64")
    text = header(b, monkeypatch, {"aligned": (cap,), "halfway": (cap,)})
    assert "\t__u64 cap;" in text
    assert "\tchar pad0[4];\n\tnbsp_u64_aligned_4 cap;" in text      # as in 6.1: a plain __u64 would move


def test_optional_members(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    b.record("task_struct", 8, [("loginuid", b.integer("unsigned int", 4), 0)])
    text = header(b, monkeypatch, {"task_struct": (may("loginuid"), may("sessionid")), "absent": (may("x"),)})
    assert "#define HAS_task_struct_loginuid 1" in text and "HAS_task_struct_sessionid" not in text
    assert "struct absent {" not in text


def test_missing_member_names_member_and_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    b.record("file", 8, [("f_other", b.integer("int", 4), 0)])
    with pytest.raises(LayoutError, match=r"kernel 5\.15\.0-synthetic has no member f_inode or f_i in struct file"):
        header(b, monkeypatch, {"file": (need("f_inode", "f_inode", "f_i"),)})


def test_missing_struct_names_struct_and_kernel() -> None:
    with pytest.raises(LayoutError, match=r"kernel 5\.0 has no struct task_struct"):
        layout.header_text(Btf(Builder().data(), "5.0"))


def test_bitfields_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    b.record("sock", 4, [("sk_type", b.integer("int", 4), 3 << 24)], bitfields=1)
    with pytest.raises(LayoutError, match="sock.sk_type is a bitfield"):
        header(b, monkeypatch, {"sock": (need("sk_type"),)})
