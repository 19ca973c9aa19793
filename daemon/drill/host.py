"""H10 to H14: time, capacity, the monitor, the kernel, races."""

from __future__ import annotations

from typing import Iterator

from .attempt import Attempt, row
from .network import LO4, OTHER_TCP, OTHER_UDP, TCP, UDP

CHECKPOINT, MONITOR, PINS = "checkpoint={checkpoint}", "monitor={monitor}", "pins={pins}"
MARK = "mark={mark}"
SIGURG, SIGKILL, SIGTERM, SIGSTOP = 23, 9, 15, 19
# enum bpf_prog_type and a fitting enum bpf_attach_type
PROGRAMS = (("socket-filter", 1, 0), ("kprobe", 2, 0), ("classifier", 3, 0), ("tracepoint", 5, 0), ("xdp", 6, 0),
            ("cgroup-packet", 8, 1), ("raw-tracepoint", 17, 0), ("cgroup-address", 18, 10))


def time() -> Iterator[Attempt]:
    """Yield H10: again and again while the daemon reloads, dies, comes back."""
    tries: tuple[tuple[str, tuple[str, ...], str | None], ...] = (
        ("read", (), None), ("write", (), None), ("exec", (), None), ("connect", (LO4, TCP), ""),
        ("send", (LO4, UDP, "over=udp"), ""), ("connect", (), "{stream}"))
    for meanwhile in ("reload", "kill", "restart"):
        for goal, words, target in tries:
            kind = "net-" if target == "" else "unix-" if target else ""
            yield row("H10", meanwhile, "persistent", goal, f"{goal} again and again during {meanwhile}", *words,
                      variant=f"{kind}{meanwhile}", target=target, meanwhile=meanwhile, is_silent=bool(words),
                      lab_only=meanwhile != "reload", timeout_s=20.0)
    yield row("H10", "folders", "missing-folder", "read", "a file whose folder appears after the rules",
              "secret={secret}", who="both", target="{later}")


def capacity() -> Iterator[Attempt]:
    """Yield H11: crowds, floods, depth."""
    for kind, count in (("attempts", 5000), ("checkpoints", 300), ("forks", 500), ("executions", 200), ("files", 3000),
                        ("descriptors", 900)):
        yield row("H11", "crowds", "crowd", "read", f"read a file after {count} {kind}", f"kind={kind}",
                  f"count={count}", CHECKPOINT, variant=kind, timeout_s=60.0)
    yield row("H11", "crowds", "crowd", "connect", "connect after 500 refusals", "kind=connections", "count=500", LO4,
              TCP, variant="connections", target="", is_silent=True, timeout_s=60.0)
    yield row("H11", "crowds", "crowd", "send", "send after 3,000 refusals", "kind=datagrams", "count=3000", "over=udp",
              LO4, UDP, variant="datagrams", target="", is_silent=True, timeout_s=60.0)
    for depth in (100, 127, 128, 129, 200, 600):
        yield row("H11", "depth", "deep", "read", f"a file {depth} directories down in a tree", f"depth={depth}",
                  "secret={secret}", variant=str(depth), target="{tree}", starts="before")
    yield row("H11", "depth", "deep", "read", "the same, from a directory that is held", "depth=600", "by=held",
              "secret={secret}", variant="held", target="{tree}", starts="before")


def monitor() -> Iterator[Attempt]:
    """Yield H12: the daemon, its pins, its files. What would do harm is for the lab."""
    for way in ("kill", "tgkill", "pidfd", "queue"):
        yield row("H12", "signals", "monitor-signal", "act", f"a harmless signal to the daemon, by {way}", MONITOR,
                  f"by={way}", f"signal={SIGURG}", variant=way, who="root")
    for name, signal in (("stop", SIGSTOP), ("term", SIGTERM), ("kill", SIGKILL)):
        yield row("H12", "signals", "monitor-signal", "act", f"SIG{name.upper()} to the daemon", MONITOR, "by=kill",
                  f"signal={signal}", variant=f"sig{name}", who="root", lab_only=True)
    yield row("H12", "signals", "monitor-owner", "act", "a signal sent by the kernel for us", MONITOR, who="root",
              lab_only=True)
    for way in ("attach", "seize"):
        yield row("H12", "debugger", "monitor-debug", "act", f"debug the daemon: {way}", MONITOR, f"by={way}",
                  variant=way, who="root")
    for way in ("mem", "process_vm"):
        yield row("H12", "memory", "monitor-memory", "act", f"the daemon's memory, by {way}", MONITOR, f"by={way}",
                  variant=way, who="root")
    for way in ("pidfd", "proc"):
        yield row("H12", "descriptors", "monitor-descriptor", "act", f"the daemon's descriptors, by {way}", MONITOR,
                  f"by={way}", variant=way, who="root")
    for what in ("oom", "nice", "limit", "affinity", "scheduler"):
        yield row("H12", "settings", "monitor-setting", "act", f"the daemon's {what}", MONITOR, f"what={what}",
                  variant=what, who="root")
    for what in ("freeze", "kill", "move"):
        yield row("H12", "cgroup", "monitor-freeze", "act", f"the daemon's cgroup: {what}", MONITOR, f"what={what}",
                  "group={group}", "elsewhere={cgroup}", variant=what, who="root", lab_only=True)
    for how in ("pin", "id"):
        for then, is_harmful in (("nothing", False), ("look", False), ("write", True), ("freeze", True)):
            if how == "pin" or then == "nothing":
                yield row("H12", "tables", "monitor-map", "act", f"a table of ours, by {how}: {then}", PINS,
                          f"how={how}", f"then={then}", variant=f"{how}-{then}", who="root", lab_only=is_harmful)
    for of, then in (("programs", "nothing"), ("links", "nothing"), ("links", "detach")):
        yield row("H12", "programs", "monitor-program", "act", f"{of} of ours: {then}", PINS, f"of={of}",
                  f"then={then}",
                  variant=f"{of}-{then}", who="root", lab_only=then == "detach")
    for how in ("unlink", "rename", "cover", "unmount"):
        yield row("H12", "pins", "monitor-pin", "act", f"the pins: {how}", PINS, "bpffs={bpffs}", f"how={how}",
                  variant=how, who="root", lab_only=True)
    for what, harmful in (("rules", ("create",)), ("rule", ("open", "rename")), ("journal", ("open",)),
                          ("code", ("open",)), ("unit", ("open",)), ("state", ("create",))):
        for how in harmful:
            yield row("H12", "files", "monitor-file", "act", f"the daemon's {what}: {how}", f"file={{{what}}}",
                      f"how={how}", variant=f"{what}-{how}", who="root", lab_only=how == "rename")


def kernel() -> Iterator[Attempt]:
    """Yield H13: code and eyes in the kernel."""
    for way in ("memory", "file"):
        yield row("H13", "modules", "module", "act", f"load a module from {way}", f"by={way}", variant=way, who="root",
                  needs="modules")
        yield row("H13", "kexec", "new-kernel", "act", f"kexec by {way}", f"by={way}", variant=way, who="root",
                  lab_only=True, needs="kexec")
    for file in ("/dev/mem", "/proc/kcore", "/dev/port", "/dev/kmem", "/dev/cpu/0/msr"):
        yield row("H13", "memory", "kernel-memory", "act", f"read {file}", f"file={file}",
                  variant=file.strip("/").replace("/", "-"), who="root", lab_only=True)
    yield row("H13", "memory", "io-ports", "act", "all ports, by iopl", who="root", lab_only=True)
    yield row("H13", "programs", "kernel-probe", "act", "a kprobe by perf_event_open", who="root", needs="kprobes")
    for name, kind, attach in PROGRAMS:
        yield row("H13", "programs", "foreign-program", "act", f"load a foreign program: {name}", f"type={kind}",
                  f"attach={attach}", variant=name, who="root")


def races() -> Iterator[Attempt]:
    """Yield H14: what is asked for changes while it is looked at."""
    decoy = "decoy={decoy}"
    for what, title in (("path", "the path's letters"), ("link", "a symbolic link"), ("folder",
                                                                                      "the directory's place"),
                        ("ring", "the path, for a kernel thread"), ("names", "the names of two files")):
        yield row("H14", "files", "race", "read", f"flip {title} while opening", decoy, f"what={what}", variant=what,
                  needs="io_uring" if what == "ring" else "")
    yield row("H14", "files", "race", "exec", "flip the path's letters while executing", "decoy={decoy_tool}",
              "what=exec", MARK, variant="exec")
    yield row("H14", "network", "race", "connect", "flip the address while connecting", LO4, TCP, OTHER_TCP,
              "what=connect", variant="connect", target="", is_silent=True)
    yield row("H14", "network", "race", "send", "flip the address while sending", LO4, UDP, OTHER_UDP, "what=send",
              variant="send", target="", is_silent=True)
    yield row("H14", "processes", "race-shared", "read", "memory shared with whoever becomes the checkpoint",
              CHECKPOINT)
    yield row("H14", "processes", "pid-reuse", "read", "the number of a checkpoint that ended", CHECKPOINT, who="root",
              needs="ns_last_pid")


def all_host() -> Iterator[Attempt]:
    """Yield all of this file."""
    for part in (time, capacity, monitor, kernel, races):
        yield from part()
