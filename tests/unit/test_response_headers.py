"""What of a session's response reaches the client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.models import Headers
from tests.unit.crossing import passed_on, values
from tests.unit.test_request_headers import FIELDS, HOP_BY_HOP, NAMES

LENGTH = (b"content-length", b"5")
PRIVATE = (b"cache-control", b"private")


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
    cookies.append((b"cache-control", b"no-cache"))
    reply = passed_on(200, cookies, cookies="forward", isolation="off")
    assert reply.headers == [*cookies, (b"x-request-id", b"r-1")]


def test_only_the_proxy_says_that_an_answer_is_its_own() -> None:
    fields = [(b"x-session-proxy-error", b"forged"), (b"x-session-proxy-x", b"1")]
    headers = passed_on(404, [*fields, LENGTH], isolation="off").headers
    assert headers == [LENGTH, (b"x-request-id", b"r-1"), PRIVATE]


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


@pytest.mark.parametrize("status", [200, 204, 206, 301, 302, 404, 500])
def test_what_says_nothing_of_caches_is_its_callers_alone(status: int) -> None:
    """CVE-2023-30861 (Flask): a cache that many share kept one user's cookie."""
    for fields in ([], [(b"expires", b"0")], [(b"set-cookie", b"a=b")]):
        reply = passed_on(status, fields)
        assert values(reply.headers, b"cache-control") == [b"private"]


@pytest.mark.parametrize("said", [b"public, max-age=60", b"no-store", b""])
def test_what_a_session_says_of_caches_is_left_alone(said: bytes) -> None:
    reply = passed_on(200, [(b"cache-control", said)])
    assert values(reply.headers, b"cache-control") == [said]
    hop = [(b"cache-control", said), (b"connection", b"cache-control")]
    assert values(passed_on(200, hop).headers, b"cache-control") == [b"private"]
    assert values(passed_on(304, []).headers, b"cache-control") == []


@pytest.mark.parametrize("status", [100, 101, 199, 600, 999, 0])
def test_a_status_that_is_not_final_is_no_response(status: int) -> None:
    assert passed_on(status, []).status == 502


@pytest.mark.parametrize("status", [200, 299, 404, 500, 599])
def test_every_final_status_is_the_sessions_own(status: int) -> None:
    assert passed_on(status, []).status == status
