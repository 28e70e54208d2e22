"""What of a session's response reaches the client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import Principal, Request
from session_proxy_middleware.models import Headers
from session_proxy_middleware.rules.forwarding import HeaderPolicy, inbound
from tests.unit.crossing import passed_on, values
from tests.unit.test_request_headers import FIELDS, HOP_BY_HOP, NAMES
from tests.unit.values import a_request, a_session, keyed

LENGTH = (b"content-length", b"5")


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


@pytest.mark.parametrize("fields", [[], [LENGTH], [LENGTH, (b"x-a", b"b")]])
@pytest.mark.parametrize(
    ("method", "status"), [("GET", 204), ("GET", 304), ("HEAD", 200), ("HEAD", 404)]
)
def test_where_no_body_may_be_none_is_passed_on(
    method: str, status: int, fields: Headers
) -> None:
    """Whatever the transport has for it, and whatever is remembered of the fields."""
    policy = HeaderPolicy()
    request = a_request(b"/chat", method=method, headers=keyed())
    for _ in range(2):
        reply = inbound(status, tuple(fields), request, a_session(), policy)
        assert reply.body == b""
    other = a_request(b"/chat", headers=keyed())
    assert inbound(200, tuple(fields), other, a_session(), policy).body is None


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


def by_cookie(request: Request) -> Principal:
    return Principal(id="ada")


@pytest.mark.parametrize("status", [200, 204, 206, 302, 404, 500])
def test_an_answer_to_a_caller_that_a_hook_knows_is_for_no_shared_cache(
    status: int,
) -> None:
    """CVE-2023-30861 (Flask): a cache that many share kept one user's answer."""
    fields = [LENGTH, (b"content-type", b"text/plain")]
    for _ in range(2):  # The second takes the short way.
        reply = passed_on(status, fields, authenticate=by_cookie)
        assert values(reply.headers, b"cache-control") == [b"private"]
    said = [*fields, (b"cache-control", b"public, max-age=60")]
    reply = passed_on(status, said, authenticate=by_cookie)
    assert values(reply.headers, b"cache-control") == [b"public, max-age=60"]
    assert values(passed_on(status, fields).headers, b"cache-control") == []


def test_a_304_does_not_change_what_is_stored() -> None:
    reply = passed_on(304, [], authenticate=by_cookie)
    assert values(reply.headers, b"cache-control") == []
