"""Records: their JSON and their words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbspd.errors import JournalError
from nbspd.journal.record import KINDS, Ancestor, GapRow, Record

from .records import violation


def test_json_round_trip_is_canonical() -> None:
    record = violation()
    text = record.to_json()
    assert Record.from_json(text) == record
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert text.isascii()


def test_defaults_are_left_out() -> None:
    assert Record("note", 5, text="x").to_json() == '{"kind":"note","text":"x","time_ns":5}'


@given(st.builds(
    Record, st.sampled_from(sorted(KINDS)), st.integers(-2**63, 2**63 - 1), object=st.text(), comm=st.text(),
    argv=st.lists(st.text()).map(tuple), uid=st.integers(-1, 2**32), of=st.integers(0), count=st.integers(0),
    ancestry=st.lists(st.builds(Ancestor, st.integers(), st.text(), st.integers(), st.text())).map(tuple),
    gaps=st.lists(st.builds(GapRow, st.text(), *[st.integers()] * 4)).map(tuple)))
def test_any_record_comes_back_and_prints_on_one_line(record: Record) -> None:
    assert Record.from_json(record.to_json()) == record
    assert record.line().isprintable()
    record.story()


@pytest.mark.parametrize("text, word", [
    ("nonsense", "not JSON"), ("[]", "not a JSON object"), ('{"kind":"note"}', "time_ns"),
    ('{"kind":"party","time_ns":1}', "party"), ('{"kind":"note","time_ns":1,"colour":2}', "colour"),
    ('{"kind":"note","time_ns":"1"}', "time_ns"), ('{"kind":"note","time_ns":true}', "time_ns"),
    ('{"kind":"note","time_ns":1,"argv":"ls"}', "argv"), ('{"kind":"note","time_ns":1,"ancestry":[7]}', "ancestry"),
    ('{"kind":"gap","time_ns":1,"gaps":[{"rule":"r"}]}', "gaps")])
def test_malformed_json_is_refused_with_a_reason(text: str, word: str) -> None:
    with pytest.raises(JournalError, match=word) as caught:
        Record.from_json(text)
    assert caught.value.remedy


def test_line_names_rule_program_operator_object_and_checkpoint() -> None:
    line = violation(seq=17).line()
    for part in ("17", "DENIED", "db-through-pooler", "psql[4000]", "alice, session 7", "connect to tcp 127.0.0.1:5432",
                 "only through pooler"):
        assert part in line


def test_line_cannot_steer_the_terminal() -> None:
    line = violation(comm="a\x1b[2Jb", object="/srv/\u202eevil\n").line()
    assert line.isprintable()
    assert "\\x1b" in line


def test_story_tells_what_to_do() -> None:
    story = violation(seq=17, missing=("pooler", "bastion")).story()
    for part in ("systemd[1] → bash[812] → psql[4000]", "do it through pooler or bastion", "dba@example.org",
                 "with the rights of root (0)", "EPERM", "PCI 8.2", "nbsp lineage 4000", "/usr/bin/psql"):
        assert part in story
    assert "nobody may" in violation(missing=()).story()
    assert "audit mode" in violation(verdict="audited").story()


def test_story_of_a_gap_says_what_was_lost() -> None:
    record = Record("gap", 2, cause="the daemon was not running", from_ns=1, to_ns=2,
                    gaps=(GapRow("r", 1500, 1490, 10),))
    assert "1,500 hits, 1,490 with details in the journal, 10 lost" in record.story()
    assert "of 10 there are no details" in record.story()
    assert "1,500 hits" in record.line()


@pytest.mark.parametrize("text", [
    "nothing was enforced", "programs of another version enforced; what they counted since is not known"])
def test_a_gap_of_which_nobody_knows_is_not_said_to_be_in_the_journal(text: str) -> None:
    record = Record("gap", 2, text=text, cause="the daemon was stopped", from_ns=1, to_ns=2)
    story = record.story()
    assert "nothing of it is in the journal" in story and "all of them" not in story and text in story
    assert "the daemon was stopped" in story and record.line().endswith(text)


def test_a_gap_without_losses_needs_nothing() -> None:
    story = Record("gap", 2, cause="x", from_ns=1, to_ns=2, gaps=(GapRow("r", 5, 5, 0),)).story()
    assert "nothing to do: all of them are in the journal" in story
    assert "of 3 there are no details" in Record("gap", 2, gaps=(GapRow("r", 5, 2, 0, 3),)).story()


def test_repeat_says_how_often() -> None:
    record = violation(kind="repeat", of=17, count=1203, first_ns=1)
    assert "1,203 times more, as record 17" in record.line()
    assert "the first is record 17" in record.story()


def test_what_a_voucher_allowed_is_told_as_allowed() -> None:
    record = violation(seq=9, verdict="vouched", voucher="v-7", stamps=("pooler",), missing=())
    assert "VOUCHED" in record.line() and record.line().endswith("by voucher v-7")
    story = record.story()
    assert "was allowed to connect to" in story and "v-7" in story and "nobody may" not in story
    assert "refused" not in story and "not what the rule asks for" not in story


def test_why_a_voucher_did_not_do_is_told() -> None:
    story = violation(voucher="v-7", evidence=("it expired 3 s before",)).story()
    assert "it expired 3 s before" in story and "v-7" in story
