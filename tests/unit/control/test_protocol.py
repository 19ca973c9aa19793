"""Requests are typed at the border, and every mistake is said."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbspd.control.protocol import REQUEST_MAX_BYTES, Role, VERBS, bug, encode, failure, parse_request
from nbspd.errors import EXIT_BUG, EXIT_TOLD, EXIT_USAGE, ControlError, NbspdError, Problem, RulesError, UsageError


def test_a_request_and_its_fields() -> None:
    request = parse_request(b'{"verb":"journal","since":12.5,"rule":"r","after":3,"follow":true}')
    assert request.verb == "journal"
    assert (request.seconds("since"), request.text("rule"), request.number("after")) == (12.5, "r", 3)
    assert request.flag("follow") and not parse_request(b'{"verb":"journal"}').flag("follow")
    assert request.number("limit") is None
    assert parse_request(b'{"verb":"reload","confirm_within_s":60}').seconds("confirm_within_s") == 60.0


@pytest.mark.parametrize("line, cause", [
    (b"", "not JSON"), (b"\xff", "not JSON"), (b"[1]", "names no verb"), (b"{}", "names no verb"),
    (b'{"verb":1}', "names no verb"), (b'{"verb":"erase"}', "unknown verb 'erase'"),
    (b'{"verb":"status","x":1}', "status: unknown field 'x'"),
    (b'{"verb":"lineage"}', "lineage: the field pid is missing"),
    (b'{"verb":"lineage","pid":"1"}', "lineage: the field pid has the wrong type"),
    (b'{"verb":"lineage","pid":true}', "wrong type"), (b'{"verb":"lineage","pid":1.5}', "wrong type"),
    (b'{"verb":"lineage","pid":99999999999999999999}', "wrong type"),
    (b'{"verb":"journal","since":NaN}', "wrong type"), (b'{"verb":"journal","since":Infinity}', "wrong type"),
    (b'{"verb":"journal","follow":1}', "wrong type"), (b'{"verb":"detach"}', "the field reason is missing"),
    (b'{"verb":"detach","reason":null}', "wrong type"), (b"[" * 60000, "not JSON"),
    (b'{"verb":"\\u001b[2J"}', "unknown verb '[2J'"),
])
def test_mistakes_in_a_request(line: bytes, cause: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_request(line)
    assert cause in caught.value.cause and caught.value.remedy and caught.value.exit_code == EXIT_USAGE


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_harm(line: bytes) -> None:
    try:
        assert parse_request(line).verb in VERBS
    except UsageError:
        pass


def test_only_five_verbs_change_anything() -> None:
    assert {name for name, verb in VERBS.items() if verb.role is Role.CHANGER} == {
        "reload", "confirm", "rollback", "detach", "maintain", "close"}


def test_a_list_of_numbers() -> None:
    line = b'{"verb":"close","proto":"tcp","local":"a","remote":"b","holders":%s}'
    assert parse_request(line % b"[1,2]").numbers("holders") == (1, 2)
    assert parse_request(b'{"verb":"status"}').numbers("holders") == ()
    for wrong in (b"1", b'["1"]', b"[true]", b"[1.5]", b"[[1]]", b"null"):
        with pytest.raises(UsageError, match="the field holders has the wrong type"):
            parse_request(line % wrong)


def test_a_line_is_a_line_whatever_is_in_it() -> None:
    line = encode({"path": "/srv/\udcff\n"})
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and len(line) < REQUEST_MAX_BYTES
    assert json.loads(line) == {"path": "/srv/\udcff\n"}


def test_failures_as_replies() -> None:
    assert failure(ControlError("no", "do")) == {"ok": False, "cause": "no", "remedy": "do", "exit_code": EXIT_TOLD,
                                                 "problems": []}
    reply = failure(RulesError([Problem("a.yaml:1:2", "wrong", "right")]))
    assert reply["problems"] == [{"where": "a.yaml:1:2", "what": "wrong", "right": "right"}]
    assert failure(UsageError("x"))["exit_code"] == EXIT_USAGE
    assert bug(KeyError("x"))["exit_code"] == EXIT_BUG
    assert isinstance(ControlError("x"), NbspdError)
