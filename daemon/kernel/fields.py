"""The kernel members that bpf/ uses, with the older spellings beside the newer.  Adding a case is adding a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A member as bpf/ names it."""

    name: str
    spellings: tuple[str, ...]      # dotted names in the kernel, tried in order
    is_required: bool = True
    c_type: str = ""                # "": from the kernel's type; "T [N]" for an array


def need(name: str, *spellings: str, c_type: str = "") -> Field:
    """Return a member without which nothing can be loaded."""
    return Field(name, spellings or (name,), True, c_type)


def may(name: str, *spellings: str, c_type: str = "") -> Field:
    """Return a member that a kernel may lack; where it is there, HAS_<struct>_<member> is defined."""
    return Field(name, spellings or (name,), False, c_type)


def needs(*names: str) -> tuple[Field, ...]:
    """Return required members that are spelled the same everywhere."""
    return tuple(need(name) for name in names)


FIELDS: dict[str, tuple[Field, ...]] = {
    # tasks
    "task_struct": (
        *needs("tgid", "pid", "group_leader", "real_parent", "mm", "files", "fs", "cred", "real_cred", "comm", "signal",
               "cgroups", "flags", "nsproxy", "ptrace"),
        need("start_boottime", "start_boottime", "real_start_time"),
        may("loginuid"),            # CONFIG_AUDIT
        may("sessionid")),
    "k_sigaction": (need("sa_handler", "sa.sa_handler"),),
    "signal_struct": (need("live", c_type="int"),),
    "cred": (
        *needs("uid", "euid", "gid", "fsuid", "user_ns"),
        need("cap_effective", c_type="__u64")),     # two words before 6.3
    "mm_struct": needs("exe_file", "arg_start", "arg_end"),
    "user_namespace": needs("level"),
    "nsproxy": needs("net_ns"),
    "net": (may("ns_inum", "ns.inum"),),
    "css_set": needs("dfl_cgrp"),
    "cgroup": needs("kn", "root", "level"),
    "cgroup_root": needs("hierarchy_id"),
    "kernfs_node": (
        *needs("name", "id"),
        need("parent", "__parent", "parent")),      # __parent since 6.15
    # files
    "files_struct": needs("fdt"),
    "fdtable": needs("max_fds", "fd", "open_fds", "close_on_exec"),
    "fs_struct": needs("pwd", "root"),
    "file": needs("f_inode", "f_path", "f_mode", "f_flags", "private_data"),
    "path": needs("mnt", "dentry"),
    "vfsmount": needs("mnt_root", "mnt_sb"),
    "mount": needs("mnt", "mnt_parent", "mnt_group_id"),
    "dentry": (
        *needs("d_parent", "d_name", "d_inode", "d_sb", "d_flags"),
        need("d_alias", "d_u.d_alias", "d_alias", c_type="__u64 [2]")),
    "qstr": needs("name", "len", "hash"),
    "inode": (
        *needs("i_mode", "i_ino", "i_sb", "i_generation", "i_rdev", "i_flags", "i_uid", "i_nlink", "i_opflags"),
        need("i_dentry_first", "i_dentry.first", c_type="__u64")),
    "fs_context": needs("fs_type"),
    "fs_parameter": needs("key"),
    "file_system_type": needs("name"),
    "super_block": needs("s_dev", "s_flags", "s_magic", "s_root", "s_type"),
    "linux_binprm": (
        *needs("file", "mm", "cred"),
        may("executable"),
        may("interpreter")),
    "iattr": (
        *needs("ia_valid", "ia_size"),
        may("ia_mode"),
        may("ia_file")),
    "vm_area_struct": (
        *needs("vm_file", "anon_vma"),
        need("vm_flags", "vm_flags", "__vm_flags")),
    # sockets
    "sock": (
        need("skc_family", "__sk_common.skc_family"),
        need("skc_dport", "__sk_common.skc_dport"),
        need("skc_num", "__sk_common.skc_num"),
        need("skc_daddr", "__sk_common.skc_daddr"),
        need("skc_rcv_saddr", "__sk_common.skc_rcv_saddr"),
        may("skc_v6_daddr", "__sk_common.skc_v6_daddr", c_type="__u8 [16]"),           # CONFIG_IPV6
        may("skc_v6_rcv_saddr", "__sk_common.skc_v6_rcv_saddr", c_type="__u8 [16]"),
        *needs("sk_type", "sk_protocol", "sk_socket")),
    "socket": needs("sk", "type", "ops", "file"),
    "unix_sock": needs("path", "addr", "peer"),
    "unix_address": needs("len", "name"),
    "sockaddr_un": needs("sun_family", "sun_path"),
    "bpf_sock_addr_kern": (
        may("sk"),                  # CONFIG_NET
        may("uaddr"),
        may("uaddrlen")),
    "net_device": needs("ifindex"),
    # bpf
    "bpf_map": (need("name", c_type="__u64 [2]"),),
    "bpf_prog": needs("aux"),
    "bpf_prog_aux": (need("name", c_type="__u64 [2]"),),
    "bpf_link": needs("id"),
}

# A parameter's canonical name, where kernels or the two prototypes of a hook spell it differently.
PARAMETERS: dict[str, str] = {
    "mnt_userns": "idmap",          # before 6.3
    "mnt_idmap": "idmap",
    "iattr": "attr",
}
PARAMETER_SUFFIX = "__nullable"     # marks what may be NULL, for the verifier; since 7.x on mmap_file's file


def parameter(name: str) -> str:
    """Return the canonical name of a hook's parameter."""
    plain = name.removesuffix(PARAMETER_SUFFIX)
    return PARAMETERS.get(plain, plain)
