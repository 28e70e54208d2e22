"""What of a session's response reaches the client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.models import Headers
from session_proxy_middleware.rules.location import rewritten
from tests.unit.crossing import passed_on, values
from tests.unit.test_request_headers import FIELDS, HOP_BY_HOP, NAMES
from tests.unit.values import ID, a_session

LENGTH = (b"content-length", b"5")
PUBLIC = b"/v1/bot/sessions/" + ID.encode()


@given(FIELDS, st.lists(NAMES, max_size=3))
def test_no_field_of_the_upstream_hop_survives(
    fields: Headers, named: list[bytes]
) -> None:
    reply = passed_on(200, [*fields, (b"connection", b", ".join(named))])
    names = {name for name, _ in reply.headers}
    assert not names & {*HOP_BY_HOP, b"transfer-encoding", b"server", b"date"}
    assert not names & (set(named) - {b"x-request-id"})


@given(FIELDS)
def test_every_other_field_keeps_its_place(fields: Headers) -> None:
    plain = [(b"z-" + name, value) for name, value in fields]
    cookies = [(b"set-cookie", b"a=1"), *plain, (b"content-length", b"0")]
    reply = passed_on(200, cookies, cookies="forward", isolation="off")
    assert reply.headers == [*cookies, (b"x-request-id", b"r-1")]


def test_only_the_proxy_says_that_an_answer_is_its_own() -> None:
    fields = [(b"x-session-proxy-error", b"forged"), (b"x-session-proxy-x", b"1")]
    headers = passed_on(404, [*fields, LENGTH], isolation="off").headers
    assert headers == [LENGTH, (b"x-request-id", b"r-1")]


@pytest.mark.parametrize(
    ("status", "kept"),
    [(200, True), (206, True), (204, False), (304, False)],
)
def test_a_length_is_passed_on_where_there_may_be_one(status: int, kept: bool) -> None:
    reply = passed_on(status, [(b"content-length", b"5")])
    assert bool(values(reply.headers, b"content-length")) is kept


@pytest.mark.parametrize("fields", [[], [LENGTH], [(b"transfer-encoding", b"chunked")]])
def test_a_205_has_no_content_whatever_came(fields: Headers) -> None:
    reply = passed_on(205, fields)
    assert values(reply.headers, b"content-length") == [b"0"]
    assert reply.body == b""


@pytest.mark.parametrize(
    ("status", "fields", "said"),
    [
        (200, [], [b"no"]),
        (404, [(b"transfer-encoding", b"chunked")], [b"no"]),
        (200, [LENGTH], []),
        (204, [], []),
        (205, [], []),
        (304, [], []),
        (200, [(b"x-accel-buffering", b"yes")], [b"yes"]),
    ],
)
def test_a_stream_without_a_length_asks_nginx_not_to_collect_it(
    status: int, fields: Headers, said: list[bytes]
) -> None:
    reply = passed_on(status, fields)
    assert values(reply.headers, b"x-accel-buffering") == said


def test_a_request_id_of_the_sessions_own_is_not_doubled() -> None:
    reply = passed_on(200, [(b"x-request-id", b"theirs")])
    assert values(reply.headers, b"x-request-id") == [b"theirs"]


def test_a_request_id_that_belongs_to_the_hop_is_replaced() -> None:
    fields = [(b"x-request-id", b"theirs"), (b"connection", b"X-Request-Id")]
    assert values(passed_on(200, fields).headers, b"x-request-id") == [b"r-1"]


@pytest.mark.parametrize("status", [100, 101, 199, 600, 999, 0])
def test_a_status_that_is_not_final_is_no_response(status: int) -> None:
    assert passed_on(status, []).status == 502


@pytest.mark.parametrize("status", [200, 299, 404, 500, 599])
def test_every_final_status_is_the_sessions_own(status: int) -> None:
    assert passed_on(status, []).status == status


@pytest.mark.parametrize(
    ("upstream", "value", "expected"),
    [
        ("http://10.0.3.7:8080", b"/x?a=1#f", PUBLIC + b"/x?a=1#f"),
        ("http://10.0.3.7:8080", b"/", PUBLIC + b"/"),
        ("http://10.0.3.7:8080", b"x", b"x"),
        ("http://10.0.3.7:8080", b"../x", b"../x"),
        ("http://10.0.3.7:8080", b"?a=1", b"?a=1"),
        ("http://10.0.3.7:8080", b"", b""),
        ("http://10.0.3.7:8080", b"http:10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7:8080/x", PUBLIC + b"/x"),
        # What browsers take for the same.
        ("http://10.0.3.7:8080", b"///10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"\\\\10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http:/\\10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7:8080\\x", PUBLIC + b"/\\x"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7:8080", PUBLIC + b"/"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7:8080?a", PUBLIC + b"/?a"),
        ("http://10.0.3.7:8080", b"HTTP://10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"https://10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"//10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http://u:p@10.0.3.7:8080/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", b"http://10.0.3.7/x", b"http://10.0.3.7/x"),
        (
            "http://10.0.3.7:8080",
            b"http://10.0.3.7:80801/x",
            b"http://10.0.3.7:80801/x",
        ),
        ("http://10.0.3.7:8080", b"//other.example/x", b"//other.example/x"),
        ("http://10.0.3.7:8080", b"https://other.example/", b"https://other.example/"),
        ("http://10.0.3.7:8080", b"http://x:123456/", b"http://x:123456/"),
        ("http://10.0.3.7:8080", b"ftp://10.0.3.7:8080/", b"ftp://10.0.3.7:8080/"),
        ("http://10.0.3.7:8080", PUBLIC + b"/x", PUBLIC + b"/x"),
        ("http://10.0.3.7:8080", PUBLIC, PUBLIC),
        ("http://10.0.3.7:8080", PUBLIC + b"2/x", PUBLIC + PUBLIC + b"2/x"),
        ("http://10.0.3.7", b"http://10.0.3.7:80/x", PUBLIC + b"/x"),
        ("http://Bot.Local", b"http://bot.LOCAL/x", PUBLIC + b"/x"),
        ("http://Bot.Local:80", b"//bot.local:80/x", PUBLIC + b"/x"),
        ("http://[2001:db8::1]:8080", b"http://[2001:DB8::1]:8080/x", PUBLIC + b"/x"),
        ("https://bot.local", b"https://bot.local:443/x", PUBLIC + b"/x"),
        ("https://bot.local", b"//bot.local/x", PUBLIC + b"/x"),
        ("https://bot.local", b"http://bot.local/x", PUBLIC + b"/x"),
        ("unix:///run/bot.sock", b"http://localhost/x", PUBLIC + b"/x"),
        ("unix:///run/bot.sock", b"http://other/x", b"http://other/x"),
        ("http://10.0.3.7/base", b"/base/x", PUBLIC + b"/x"),
        ("http://10.0.3.7/base", b"/base", PUBLIC + b"/"),
        ("http://10.0.3.7/base", b"/base?a", PUBLIC + b"/?a"),
        ("http://10.0.3.7/base", b"/basement", PUBLIC + b"/basement"),
        ("http://10.0.3.7/base", b"/other", PUBLIC + b"/other"),
    ],
)
def test_a_location_inside_the_session_is_public_and_others_are_left_alone(
    upstream: str, value: bytes, expected: bytes
) -> None:
    assert rewritten(value, a_session(upstream), PUBLIC) == expected


@pytest.mark.parametrize("name", [b"location", b"content-location"])
def test_both_location_fields_are_rewritten(name: bytes) -> None:
    reply = passed_on(302, [(name, b"http://10.0.3.7:8080/next")])
    public = b"/bot/sessions/" + ID.encode() + b"/next"
    assert values(reply.headers, name) == [public]


@given(st.binary(max_size=40))
def test_any_location_can_be_rewritten(value: bytes) -> None:
    result = rewritten(value, a_session(), PUBLIC)
    assert result == value or result.startswith(PUBLIC)
