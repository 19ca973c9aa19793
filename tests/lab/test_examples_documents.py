"""rules/50: a document tree is reached only through one agent program."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import Guest
from .cache import HERE
from .example import Applied, as_alice, assert_refused, assert_told, perform

RULE = "documents-through-agent"
AGENT = "/usr/local/bin/payroll-agent"
TREE = "/srv/payroll"
DEEP = f"{TREE}/2026/november/salaries.csv"
PREPARE = f"""set -e
gcc -O1 -o {AGENT} /root/payroll_agent.c
rm -rf {TREE} /srv/outside-*
mkdir -p {TREE}/2026/november {TREE}/empty
echo 'alice 4711' > {DEEP}
echo plan > {TREE}/plan.txt
setfattr -n user.kept -v 1 {TREE}/plan.txt
cp /usr/bin/true {TREE}/tool
ln {TREE}/plan.txt {TREE}/second
"""


@pytest.fixture(scope="module")
def applied(guest: Guest) -> Iterator[Applied]:
    """The agent is compiled here; the tree is there before the rules come."""
    guest.put("/root/payroll_agent.c", (HERE / "payroll_agent.c").read_text(encoding="utf-8"))
    guest.run(PREPARE, 120, check=True)
    try:
        with Applied.shipped(guest, "50-document-tree-through-agent.yaml") as applied:
            yield applied
    finally:
        guest.run(f"rm -rf {TREE} {AGENT} /srv/outside-* /root/payroll_agent.c")


def agent(guest: Guest, script: str) -> list[str]:
    """Run the agent once for each line of the script; return the last line that each printed."""
    line = "while read -r words; do /usr/local/bin/payroll-agent $words 2>&1 | tail -n 1; done"
    return guest.run(line, 60, stdin=f"{script}\n", check=True).output.splitlines()


def test_agent_may_do_everything(guest: Guest, applied: Applied) -> None:
    assert guest.run([AGENT, "read", DEEP]).output == "alice 4711\ndone\n"
    acts = f"""list {TREE}
list {TREE}/2026/november
write {TREE}/made first
create {TREE}/empty/created
mkdir {TREE}/empty/folder
rename {TREE}/made {TREE}/empty/folder/moved
link {TREE}/empty/folder/moved {TREE}/empty/linked
symlink {TREE}/empty/pointer
chmod {TREE}/empty/linked
setxattr {TREE}/empty/linked
truncate {TREE}/empty/linked
rename {TREE}/empty/linked /srv/outside-moved
rename /srv/outside-moved {TREE}/empty/returned
unlink {TREE}/empty/returned
unlink {TREE}/empty/pointer
unlink {TREE}/empty/created
unlink {TREE}/empty/folder/moved
rmdir {TREE}/empty/folder"""
    assert agent(guest, acts) == ["done"] * len(acts.splitlines())


def test_cat_is_refused_and_told(guest: Guest, applied: Applied) -> None:
    done = guest.run(as_alice(["cat", DEEP]), 30)
    if guest.tier == "socket":
        assert done.output == "alice 4711\n"
        return
    assert_refused(done)
    record = applied.violations(RULE, object=DEEP, comm="cat")[-1]
    assert_told(record, RULE, ["payroll-agent"])
    assert (record["action"], record["channel"]) == ("read", "file_open")


def test_every_act_of_others_is_refused(guest: Guest, applied: Applied) -> None:
    plan, new = f"{TREE}/plan.txt", f"{TREE}/new"
    acts = [
        ["read", DEEP], ["write", DEEP], ["append", DEEP], ["truncate", DEEP], ["list", TREE], ["list", f"{TREE}/2026"],
        ["create", new], ["mkdir", new], ["mknod", new], ["symlink", new], ["unlink", plan], ["rmdir", f"{TREE}/empty"],
        ["rename", plan, "/srv/outside-stolen"], ["rename", plan, new], ["rename", TREE, "/srv/outside-tree"],
        ["move-in", "/srv/outside-mine", new], ["move-in", "/srv/outside-mine", plan],
        ["symlink-over", "/srv/outside-mine", plan], ["exchange", "/srv/outside-mine", plan],
        ["link", plan, "/srv/outside-link"], ["link-in", "/srv/outside-mine", new],
        ["chmod", plan], ["chown", plan], ["utime", plan], ["setxattr", plan], ["removexattr", plan],
        ["execute", f"{TREE}/tool"],
        ["through-symlink", DEEP, "/srv/outside-symlink"], ["through-root", DEEP], ["through-o-path", DEEP],
        ["bind-mount", f"{TREE}/2026", "november/salaries.csv"]]
    if guest.tier == "socket":
        assert perform(guest, acts[:1]) == ["allowed"]
        return
    assert dict(zip(map(str, acts), perform(guest, acts))) == {str(act): "EPERM" for act in acts}
    assert_refused(guest.run(f"setfacl -m u:alice:r {plan}"))
    channels = {record["channel"] for record in applied.violations(RULE)}
    assert channels >= {"file_open", "exec", "create", "mkdir", "mknod", "symlink", "link", "unlink", "rmdir",
                        "rename", "setattr", "xattr"}
    assert guest.run([AGENT, "read", plan]).output == "plan\ndone\n"
    assert guest.run([AGENT, "list", TREE]).output.splitlines()[-1] == "done"


def test_tree_that_is_made_anew_is_protected_at_once(guest: Guest, applied: Applied) -> None:
    before = agent(guest, f"rename {TREE} /srv/outside-old\nmkdir {TREE}\nwrite {TREE}/fresh secret")
    assert before == ["done"] * 3
    outcomes = perform(guest, [["read", f"{TREE}/fresh"], ["list", TREE], ["create", f"{TREE}/mine"]])
    assert outcomes == (["allowed"] * 3 if guest.tier == "socket" else ["EPERM"] * 3)


def test_coverage_says_what_is_enforced(guest: Guest, applied: Applied) -> None:
    coverage, state = applied.coverage(RULE), applied.state(RULE)
    if guest.tier == "socket":
        assert coverage["open"] == coverage["rename"] == coverage["create"] == "open"
        assert not state.startswith("enforced")
    else:
        assert coverage["open"] == coverage["rename"] == coverage["create"] == "enforced"
        assert state.startswith("enforced")
