"""Which answers are sandboxed, and what no session may say for the whole origin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware import ConfigError
from session_proxy_middleware.models import Headers
from session_proxy_middleware.rules.isolation import (
    ORIGIN_WIDE,
    WEIGHTS,
    is_inert,
)
from tests.unit.crossing import passed_on, values
from tests.unit.values import a_proxy

POLICY = b"sandbox allow-scripts allow-forms allow-popups allow-downloads"
CSP = b"content-security-policy"
OPTIONS = b"x-content-type-options"
LENGTH = (b"content-length", b"1")
ACTIVE = [
    b"text/html",
    b"text/html; charset=utf-8",
    b"TEXT/HTML",
    b"Text/Html ;charset=x",
    b"application/xhtml+xml",
    b"image/svg+xml",
    b"IMAGE/SVG+XML; a=b",
    b"text/xml",
    b"application/xml",
    b"text/xsl",
    b"application/rss+xml",
    b"application/mathml+xml",
    b"video/x+xml",
    b"application/vnd.x+xml; q=1",
    b"multipart/x-mixed-replace; boundary=b",
    b"multipart/related",
    b"message/rfc822",
    b"application/something-new",
    b"text/unknown",
    # MIME Sniffing §7: looked into, as is what cannot be read.
    b"",
    b"*/*",
    b"unknown/unknown",
    b"application/unknown",
    b"html",
    b"text",
    b"text/",
    b"/html",
    b"text/html text/plain",
    b"text /plain",
    b"\xa0text/plain",
    b"text/plain\x00",
    # Fetch: the last of several counts.
    b"text/plain, text/html",
    b"application/json,text/html",
    b"application/json; a=b, text/html",
]
INERT = [
    b"application/json",
    b"Application/JSON; charset=utf-8",
    b"application/problem+json",
    b"application/x-ndjson",
    b"application/octet-stream",
    b"application/javascript",
    b"text/plain",
    b"text/plain;charset=utf-8",
    b"text/plain ; text/html",
    b"text/event-stream; charset=utf-8",
    b"text/css",
    b"text/javascript",
    b"image/png",
    b"image/x-icon",
    b"audio/mpeg",
    b"video/mp4; codecs=x",
    b"font/woff2",
]


def typed(*types: bytes) -> Headers:
    headers = [LENGTH, *((b"content-type", each) for each in types)]
    return passed_on(200, headers).headers


@pytest.mark.parametrize("content_type", ACTIVE)
def test_what_a_browser_may_show_as_a_page_is_sandboxed(content_type: bytes) -> None:
    headers = typed(content_type)
    assert values(headers, CSP) == [POLICY]
    assert values(headers, OPTIONS) == [b"nosniff"]
    assert values(headers, b"content-type") == [content_type]


@pytest.mark.parametrize("content_type", INERT)
def test_what_no_browser_makes_a_page_of_is_left_alone(content_type: bytes) -> None:
    assert typed(content_type) == [
        LENGTH,
        (b"content-type", content_type),
        (b"x-request-id", b"r-1"),
        (b"cache-control", b"private"),
    ]


def test_an_answer_without_a_type_is_sandboxed_for_browsers_look_into_it() -> None:
    assert values(typed(), CSP) == [POLICY]


@pytest.mark.parametrize(
    "types",
    [
        [b"application/json", b"text/html"],
        [b"text/html", b"application/json"],
        [b"application/json", b"application/json"],
        [b"text/html", b"text/html"],
    ],
)
def test_several_types_are_none(types: list[bytes]) -> None:
    assert values(typed(*types), CSP) == [POLICY]


def test_a_type_that_belongs_to_the_hop_is_none() -> None:
    fields = [(b"content-type", b"text/plain"), (b"connection", b"Content-Type")]
    headers = passed_on(200, fields).headers
    assert values(headers, b"content-type") == []
    assert values(headers, CSP) == [POLICY]


def test_no_connection_field_takes_the_policy_away() -> None:
    fields = [
        (b"content-type", b"text/html"),
        (b"connection", b"Content-Security-Policy, X-Content-Type-Options"),
    ]
    headers = passed_on(200, fields).headers
    assert values(headers, CSP) == [POLICY]
    assert values(headers, OPTIONS) == [b"nosniff"]


@pytest.mark.parametrize("status", [200, 201, 206, 400, 404, 500, 599])
def test_the_sessions_own_errors_are_pages_too(status: int) -> None:
    headers = passed_on(status, [(b"content-type", b"text/html")]).headers
    assert values(headers, CSP) == [POLICY]


def test_a_304_cannot_replace_the_policy_that_came_with_the_page() -> None:
    fields = [(b"content-type", b"text/plain"), (CSP, b"default-src *")]
    headers = passed_on(304, fields).headers
    assert values(headers, CSP) == [b"default-src *", POLICY]


def test_the_sessions_own_policies_stay() -> None:
    own = [b"default-src 'self'", b"sandbox allow-same-origin allow-scripts"]
    fields = [(b"content-type", b"text/html"), *((CSP, each) for each in own)]
    assert values(passed_on(200, fields).headers, CSP) == [*own, POLICY]


def test_browsers_read_the_first_nosniff_so_only_ours_is_there() -> None:
    fields = [(OPTIONS, b"sniff"), (b"content-type", b"text/html"), (OPTIONS, b"x")]
    assert values(passed_on(200, fields).headers, OPTIONS) == [b"nosniff"]


@pytest.mark.parametrize("name", sorted(ORIGIN_WIDE))
def test_a_field_that_speaks_for_the_origin_is_not_passed_on(name: bytes) -> None:
    fields = [(b"content-type", b"image/png"), (name, b"*"), (b"x-kept", b"1")]
    assert values(passed_on(200, fields).headers, name) == []
    assert values(passed_on(200, fields).headers, b"x-kept") == [b"1"]
    assert values(passed_on(200, fields, isolation="off").headers, name) == [b"*"]


def test_without_isolation_pages_are_passed_on_as_they_are() -> None:
    fields = [LENGTH, (b"content-type", b"text/html"), (OPTIONS, b"x")]
    headers = passed_on(200, fields, isolation="off").headers
    private = (b"cache-control", b"private")
    assert headers == [*fields, (b"x-request-id", b"r-1"), private]
    assert passed_on(304, [], isolation="off").headers == [(b"x-request-id", b"r-1")]


def test_the_proxys_own_errors_need_no_sandbox() -> None:
    headers = passed_on(700, [(b"content-type", b"text/html")]).headers
    assert values(headers, b"content-type") == [b"application/json"]
    assert values(headers, CSP) == []


def test_the_memo_of_types_is_bounded() -> None:
    WEIGHTS.clear()
    assert WEIGHTS[b"text/css; x=" + b"y" * 65_000] == 1
    assert not WEIGHTS
    for number in range(1100):
        assert WEIGHTS[b"text/x-%d" % number] == 2
    assert len(WEIGHTS) <= 1024
    assert WEIGHTS[b"font/after-that"] == 1


@given(st.binary(max_size=30))
def test_nothing_with_html_or_xml_in_it_is_taken_for_inert(value: bytes) -> None:
    for spelled in (b"text/html" + value, value + b"+xml"):
        assert not is_inert(spelled) or b";" in value


@pytest.mark.parametrize("value", ["", "on", None, False, ["off"]])
def test_any_other_isolation_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="isolation must be one of sandbox, off"):
        a_proxy(isolation=value)
