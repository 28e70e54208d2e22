"""DESIGN.md section 5: which request fields reach the session, and which are added."""

from __future__ import annotations

import re

import pytest

from ..support.servers import Portal, Site
from ..support.upstream import Upstream
from ..support.wire import Fields, Message
from .conftest import Serve

ADDED = {
    b"host",
    b"via",
    b"x-daily-session-id",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
    b"x-request-id",
}


def sent(
    site: Site, upstream: Upstream, headers: Fields, method: str = "GET"
) -> Message:
    """What the session got of these."""
    answer = site.request(method, "/x", headers)
    assert answer.status == 200, answer
    return upstream.last


@pytest.mark.everywhere
def test_nothing_is_invented(site: Site, upstream: Upstream) -> None:
    got = sent(site, upstream, [])
    assert set(got.names) == ADDED
    assert len(got.names) == len(ADDED)


@pytest.mark.everywhere
def test_what_is_added_says_what_it_should(site: Site, upstream: Upstream) -> None:
    got = sent(site, upstream, [])
    assert got.start == b"GET /x HTTP/1.1"
    assert got.one("host") == b"127.0.0.1:%d" % upstream.port
    assert got.one("via") == b"1.1 session-proxy"
    assert got.one("x-daily-session-id") == site.id.encode()
    assert got.one("x-forwarded-for") == b"127.0.0.1"
    assert got.one("x-forwarded-host") == b"portal.test"
    assert got.one("x-forwarded-prefix") == site.public.encode()
    assert got.one("x-forwarded-proto") == b"http"
    assert re.fullmatch(rb"[0-9a-f]{32}", got.one("x-request-id"))


@pytest.mark.everywhere
def test_end_to_end_fields_are_kept(site: Site, upstream: Upstream) -> None:
    kept = [
        (b"User-Agent", b"curl/8.5"),
        (b"Accept", b"text/event-stream, */*;q=0.1"),
        (b"Accept-Encoding", b"gzip, br;q=0.9"),
        (b"Accept-Language", b"de"),
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"Cache-Control", b"no-cache"),
        (b"If-None-Match", b'"abc"'),
        (b"Range", b"bytes=0-9"),
        (b"Origin", b"https://example.org"),
        (b"Referer", b"https://example.org/?a=b"),
        (b"Last-Event-ID", b"42"),
        (b"X-Hub-Signature-256", b"sha256=00ff"),
        (b"X-Empty", b""),
        (b"X-Api-Key", b"the session's own"),
        (b"X-Latin", b"caf\xe9"),
        (b"Priority", b"u=1"),
    ]
    got = sent(site, upstream, kept)
    theirs = [(name, value) for name, value in got.headers if name.lower() not in ADDED]
    expected = [(name.lower(), value) for name, value in kept]
    if site.portal.asgi:
        assert theirs == expected
    else:  # An environ has no order of its own, and content-type apart.
        assert sorted(theirs) == sorted(expected)


@pytest.mark.everywhere
def test_repeated_fields_are_kept(site: Site, upstream: Upstream) -> None:
    fields = [(b"X-A", b"1"), (b"X-B", b"2"), (b"X-A", b"3"), (b"x-a", b"4, 5")]
    got = sent(site, upstream, fields)
    if site.portal.asgi:
        theirs = [pair for pair in got.headers if pair[0] in (b"x-a", b"x-b")]
        assert theirs == [(name.lower(), value) for name, value in fields]
    else:  # Joined by the server, in order (PEP 3333).
        assert got.one("x-a") == site.portal.expected.joins.join([b"1", b"3", b"4, 5"])
        assert got.one("x-b") == b"2"


DROPPED = [
    (b"Authorization", b"Bearer pk_test"),
    (b"Connection", b"keep-alive"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Authorization", b"Basic eDp5"),
    (b"Proxy-Authenticate", b"Basic"),
    (b"Proxy-Connection", b"keep-alive"),
    (b"TE", b"trailers"),
    (b"Trailer", b"X-Checksum"),
    (b"Upgrade", b"h2c"),
    (b"HTTP2-Settings", b"AAMAAABkAAQCAAAAAAIAAAAA"),
    (b"Forwarded", b"for=1.2.3.4"),
    (b"X-Forwarded-Port", b"1"),
    (b"X-Forwarded-Ssl", b"on"),
    (b"X-Forwarded-User", b"root"),
    (b"X-Daily-Room-Url", b"https://evil.test"),
    (b"X-Daily-Room-Token", b"evil"),
    (b"X-Daily-Anything", b"evil"),
    (b"X-Session-Proxy-Error", b"evil"),
    (b"X-Session-Proxy-Principal", b"root"),
    (b"x-SESSION-proxy-x", b"evil"),
]


@pytest.mark.parametrize("name", [name.decode() for name, _ in DROPPED])
@pytest.mark.parametrize("spelling", ["-", "_"])
def test_fields_that_never_reach_the_session(
    site: Site, upstream: Upstream, name: str, spelling: str
) -> None:
    value = dict(DROPPED)[name.encode()]
    field = (name.replace("-", spelling).encode(), value)
    if name == "Authorization":
        field = (b"X-Nothing", b"")  # It is there anyhow.
    got = sent(site, upstream, [field])
    assert name.lower().encode() not in [each.replace(b"_", b"-") for each in got.names]
    assert value not in [each for _, each in got.headers]


@pytest.mark.everywhere
@pytest.mark.parametrize(
    "name",
    [
        b"X-Daily-Session-Id",
        b"x_daily_session_id",
        b"X-Daily_Session-Id",
        b"X_DAILY-SESSION_ID",
        b"X-DAILY-SESSION-ID",
    ],
)
def test_a_forged_session_id_in_any_spelling_is_dropped(
    site: Site, upstream: Upstream, name: bytes
) -> None:
    got = sent(site, upstream, [(name, b"evil"), (name, b"evil")])
    alike = [
        each for each in got.names if each.replace(b"_", b"-") == b"x-daily-session-id"
    ]
    assert alike == [b"x-daily-session-id"]
    assert got.one("x-daily-session-id") == site.id.encode()


def test_the_name_of_the_session_id_field_can_be_chosen(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="named", id="room-7")
    got = sent(
        site, upstream, [(b"X-Which-Session", b"evil"), (b"x_which_session", b"e")]
    )
    assert got.one("x-which-session") == b"room-7"
    assert not got.has("x-daily-session-id")
    assert not got.has("x_which_session")


@pytest.mark.everywhere
@pytest.mark.parametrize(
    "connection",
    [
        [b"close, X-Daily-Session-Id, X-Forwarded-For, X-Request-Id, Via, Host"],
        [b"X-Daily-Session-Id", b"x-forwarded-for,X-REQUEST-ID , via"],
        [b"keep-alive", b"X-Daily-Session-Id,,\t x-forwarded-for,,x-request-id"],
    ],
)
@pytest.mark.parametrize("name", [b"Connection", b"cOnNeCtIoN"])
def test_connection_cannot_take_away_what_is_added(
    site: Site, upstream: Upstream, connection: list[bytes], name: bytes
) -> None:
    got = sent(site, upstream, [(name, value) for value in connection])
    assert set(got.names) == ADDED
    assert got.one("x-daily-session-id") == site.id.encode()
    assert got.one("x-forwarded-for") == b"127.0.0.1"


@pytest.mark.everywhere
def test_fields_named_by_connection_are_dropped(site: Site, upstream: Upstream) -> None:
    got = sent(
        site,
        upstream,
        [
            (b"X-Hop", b"1"),
            (b"Connection", b"x-hop, keep-alive"),
            (b"X-End", b"2"),
            (b"Connection", b" X-OTHER "),
            (b"X-Other", b"3"),
        ],
    )
    assert not got.has("x-hop")
    assert not got.has("x-other")
    assert got.one("x-end") == b"2"


@pytest.mark.parametrize(
    "id",
    [b"abc", b"0af7651916cd43dd8448eb211c80319c", b"a" * 200, b"A.b_c:d~e+f/g=@-1"],
)
def test_a_valid_request_id_is_kept(site: Site, upstream: Upstream, id: bytes) -> None:
    answer = site.request("GET", "/x", [(b"X-Request-Id", id)])
    assert upstream.last.one("x-request-id") == id
    assert answer.one("x-request-id") == id


@pytest.mark.parametrize("id", [b"", b"a b", b"a" * 201, b"<script>", b"a\xe9", b"a,b"])
def test_an_invalid_request_id_is_replaced(
    site: Site, upstream: Upstream, id: bytes
) -> None:
    answer = site.request("GET", "/x", [(b"X-Request-Id", id)])
    new = upstream.last.one("x-request-id")
    assert re.fullmatch(rb"[0-9a-f]{32}", new)
    assert answer.one("x-request-id") == new


def test_two_request_ids_are_replaced(site: Site, upstream: Upstream) -> None:
    fields = [(b"X-Request-Id", b"one"), (b"X-Request-Id", b"two")]
    got = sent(site, upstream, fields)
    assert re.fullmatch(rb"[0-9a-f]{32}", got.one("x-request-id"))


FORGED = [
    (b"X-Forwarded-For", b"1.2.3.4"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"evil.test"),
    (b"X-Forwarded-Prefix", b"/evil"),
    (b"X_Forwarded_For", b"6.6.6.6"),
    (b"Forwarded", b"for=1.2.3.4;proto=https"),
]


@pytest.mark.everywhere
def test_forwarded_set_says_only_what_the_server_says(
    site: Site, upstream: Upstream
) -> None:
    got = sent(site, upstream, FORGED)
    assert got.one("x-forwarded-for") == b"127.0.0.1"
    assert got.one("x-forwarded-proto") == b"http"
    assert got.one("x-forwarded-host") == b"portal.test"
    assert got.one("x-forwarded-prefix") == site.public.encode()
    assert not got.has("forwarded")
    assert not got.has("x_forwarded_for")


@pytest.mark.everywhere
def test_forwarded_append_extends_what_the_front_proxy_said(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="append")
    got = sent(site, upstream, [each for each in FORGED if b"_" not in each[0]])
    assert got.one("x-forwarded-for") == b"1.2.3.4, 127.0.0.1"
    assert got.one("x-forwarded-proto") == b"https"
    assert got.one("x-forwarded-host") == b"evil.test"
    assert got.one("x-forwarded-prefix") == b"/evil" + site.public.encode()
    assert got.one("forwarded") == (
        b'for=1.2.3.4;proto=https, for=127.0.0.1;proto=http;host="portal.test"'
    )
    alone = sent(site, upstream, [])
    assert alone.one("x-forwarded-for") == b"127.0.0.1"
    assert not alone.has("forwarded")


@pytest.mark.everywhere
def test_forwarded_off_says_nothing_at_all(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="off")
    got = sent(site, upstream, FORGED)
    assert not [name for name in got.names if b"forwarded" in name]


def test_a_request_without_a_host_is_forwarded_without_one(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    raw = site.raw("GET", "/x", host=None).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = portal.exchange(raw)
    assert answer.status == 200
    assert upstream.last.start == b"GET /x HTTP/1.1"
    assert not upstream.last.has("x-forwarded-host")


def test_via_is_extended(site: Site, upstream: Upstream) -> None:
    got = sent(site, upstream, [(b"Via", b"1.1 front")])
    assert got.all("via") == [b"1.1 front", b"1.1 session-proxy"]


def test_no_field_of_a_request_without_a_key_lets_it_in(
    portal: Portal, upstream: Upstream, site: Site
) -> None:
    tricks: Fields = [
        (b"User-Agent", b"kube-probe/1.27"),
        (b"User-Agent", b"GoogleHC/1.0"),
        (b"X-Session-Proxy-Principal", b"root"),
        (b"X-Middleware-Subrequest", b"middleware"),
        (b"X-Forwarded-User", b"root"),
        (b"X-Original-URL", b"/"),
        (b"X-Api-Key", b"pk_test"),
        (b"Proxy-Authorization", b"Bearer pk_test"),
        (b"X-Authorization", b"Bearer pk_test"),
        (b"Cookie", b"Authorization=Bearer pk_test; session=root"),
        (b"X-HTTP-Method-Override", b"OPTIONS"),
        (b"Connection", b"authorization"),
        (b"Origin", b"http://localhost"),
        (b"X-Forwarded-For", b"127.0.0.1"),
        (b"Referer", b"http://portal.test/"),
        (b"Sec-Fetch-Site", b"same-origin"),
        (b"X-Daily-Session-Id", site.id.encode()),
        (b"Authorization", b""),
        (b"Authorization", b"Negotiate pk_test"),
    ]
    for field in tricks:
        for method in ("GET", "OPTIONS", "POST"):
            answer = site.request(method, "/x", [field], key=None)
            assert answer.status == 401, field
            assert answer.ours
    assert upstream.connections == []


def test_an_underscore_spelling_of_authorization_is_no_credential(
    portal: Portal, site: Site, upstream: Upstream
) -> None:
    # It has only one underscore to have none: `Authorization` has no hyphen.
    for name in (b"X_Authorization", b"HTTP_AUTHORIZATION"):
        fields = [(name, b"Bearer pk_test")]
        assert site.request("GET", "/x", fields, key=None).status == 401
    assert upstream.connections == []
