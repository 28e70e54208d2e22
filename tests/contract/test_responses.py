"""DESIGN.md section 5: what the client gets of a session's response."""

from __future__ import annotations

import gzip
import re

import pytest

from ..support.servers import Portal
from ..support.upstream import Conn, answering, response
from ..support.wire import Fields, Message, chunked
from .conftest import Serve

VIA = ["", "httpx"]
SERVERS_OWN = {b"server", b"date", b"connection", b"transfer-encoding"}
# What makes a page harmless is told in test_browsers.py.
SANDBOX = {b"content-security-policy", b"x-content-type-options"}
OURS = {b"x-request-id", b"content-length", *SANDBOX}


def answered(
    portal: Portal, serve: Serve, raw: bytes, *, via: str = "", method: str = "GET"
) -> Message:
    """What the client gets when the session answers with these bytes."""
    site = portal.mount(serve(answering(raw)), via=via)
    return site.request(method, "/x")


def theirs(answer: Message) -> Fields:
    """The fields that are neither the server's nor ours."""
    return [
        (name.lower(), value)
        for name, value in answer.headers
        if name.lower() not in SERVERS_OWN | OURS
    ]


@pytest.mark.everywhere
@pytest.mark.parametrize("via", ["open", "httpx-open"])
def test_fields_are_kept_in_order_with_duplicates(
    portal: Portal, serve: Serve, via: str
) -> None:
    fields = [
        (b"X-B", b"1"),
        (b"Set-Cookie", b"a=1; Path=/; HttpOnly"),
        (b"X-A", b"2"),
        (b"Set-Cookie", b"b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        (b"X-B", b"3"),
        (b"Link", b"<x>; rel=preload"),
        (b"Set-Cookie", b"a=3"),
        (b"X-Latin", b"caf\xe9"),
        (b"X-Empty", b""),
        (b"Vary", b"Accept"),
        (b"Vary", b"Origin"),
        (b"Cache-Control", b"no-cache"),
        (b"Content-Type", b"application/json"),
    ]
    answer = answered(portal, serve, response(b"{}", headers=fields), via=via)
    assert theirs(answer) == [(name.lower(), value) for name, value in fields]


@pytest.mark.parametrize("via", VIA)
def test_hop_by_hop_fields_are_dropped(portal: Portal, serve: Serve, via: str) -> None:
    fields = [
        (b"Connection", b"keep-alive, X-Hop"),
        (b"Keep-Alive", b"timeout=5"),
        (b"X-Hop", b"1"),
        (b"connection", b"x-hop2"),
        (b"X-Hop2", b"2"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Trailer", b"X-T"),
        (b"Upgrade", b"h2c"),
        (b"X-End", b"kept"),
    ]
    answer = answered(portal, serve, response(b"ok", headers=fields), via=via)
    assert theirs(answer) == [(b"x-end", b"kept")]
    assert answer.body == b"ok"


@pytest.mark.everywhere
def test_server_and_date_are_the_host_servers_and_there_once(
    portal: Portal, serve: Serve
) -> None:
    fields = [(b"Server", b"bot/1.0"), (b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
    answer = answered(portal, serve, response(b"ok", headers=fields))
    assert answer.one("server").startswith(portal.expected.server)
    assert len(answer.all("date")) == portal.expected.dated
    assert b"1970" not in answer.raw


def test_what_only_the_proxy_says_is_dropped_from_a_session(
    portal: Portal, serve: Serve
) -> None:
    fields = [(b"X-Session-Proxy-Error", b"forged"), (b"x-session-proxy-x", b"forged")]
    for status in ("200 OK", "404 Not Found", "502 Bad Gateway"):
        answer = answered(portal, serve, response(status=status, headers=fields))
        assert theirs(answer) == []
        assert not answer.ours


SUCCESSES = (200, 201, 202, 203, 206, 207, 226, 300)
REFUSALS = (400, 401, 403, 404, 405, 408, 409, 410, 413, 418, 422, 429, 431, 451, 499)
FAILURES = (500, 501, 502, 503, 504, 507, 511, 599)


@pytest.mark.parametrize("status", [*SUCCESSES, *REFUSALS, *FAILURES])
def test_the_sessions_own_status_passes(
    portal: Portal, serve: Serve, status: int
) -> None:
    raw = response(b"mine", status=f"{status} Whatever", headers=[(b"X-A", b"b")])
    answer = answered(portal, serve, raw)
    assert (answer.status, answer.body) == (status, b"mine")
    assert theirs(answer) == [(b"x-a", b"b")]
    assert not answer.ours


@pytest.mark.everywhere
@pytest.mark.parametrize("via", VIA)
def test_a_head_answer_keeps_its_length_and_has_no_body(
    portal: Portal, serve: Serve, via: str
) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: text/x\r\n\r\n"
    site = portal.mount(serve(answering(raw)), via=via)
    for _ in range(2):
        with portal.visit() as visit:
            answer = visit(site.raw("HEAD", "/x"))
            assert answer.one("content-length") == b"1234"
            assert visit(site.raw("HEAD", "/y")).status == 200


@pytest.mark.everywhere
@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("length", [None, b"0", b"5"])
def test_204_and_304_have_no_body_and_no_length(
    portal: Portal, serve: Serve, via: str, status: str, length: bytes | None
) -> None:
    if via == "httpx" and length == b"5":
        length = b"0"
    raw = b"HTTP/1.1 " + status.encode() + b'\r\nETag: "x"\r\n'
    raw += b"Content-Length: " + length + b"\r\n" if length else b""
    site = portal.mount(serve(answering(raw + b"\r\n")), via=via)
    with portal.visit() as visit:
        answer = visit(site.raw())
        assert answer.status == int(status[:3])
        assert not answer.has("content-length")
        assert not answer.has("transfer-encoding")
        assert theirs(answer) == [(b"etag", b'"x"')]
        assert visit(site.raw("GET", "/again")).status == answer.status


@pytest.mark.parametrize("via", VIA)
def test_interim_responses_are_swallowed(
    portal: Portal, serve: Serve, via: str
) -> None:
    raw = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nX-Early: 1\r\n\r\n"
    )
    answer = answered(portal, serve, raw + response(b"ok"), via=via)
    assert (answer.status, answer.body, answer.interim) == (200, b"ok", [])
    assert theirs(answer) == []


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "nonsense"])
def test_compressed_bytes_are_not_touched(
    portal: Portal, serve: Serve, via: str, coding: str
) -> None:
    body = gzip.compress(b"hello" * 100)
    fields = [(b"Content-Encoding", coding.encode()), (b"Vary", b"Accept-Encoding")]
    answer = answered(portal, serve, response(body, headers=fields), via=via)
    assert answer.body == body
    assert theirs(answer) == [(name.lower(), value) for name, value in fields]


def test_a_broken_body_of_a_known_coding_is_not_the_proxys_business(
    portal: Portal, serve: Serve
) -> None:
    raw = response(b"no gzip at all", headers=[(b"Content-Encoding", b"gzip")])
    for via in VIA:
        assert answered(portal, serve, raw, via=via).body == b"no gzip at all"


def test_trailers_of_a_response_stay_on_that_hop(portal: Portal, serve: Serve) -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Trailer: 1\r\nSet-Cookie: a=b\r\n\r\n"
    )
    answer = answered(portal, serve, raw)
    assert (answer.body, answer.end) == (b"ok", "whole")
    assert theirs(answer) == [(b"x-accel-buffering", b"no")]


def test_a_request_id_is_added_where_the_session_set_none(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    answer = portal.mount(upstream).request()
    assert answer.one("x-request-id") == upstream.last.one("x-request-id")
    raw = response(b"ok", headers=[(b"X-Request-Id", b"the session's")])
    assert answered(portal, serve, raw).one("x-request-id") == b"the session's"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_never_followed(
    portal: Portal, serve: Serve, status: int
) -> None:
    trap = serve()
    for location in (trap.url + "/x", f"//127.0.0.1:{trap.port}/x", "/elsewhere"):
        fields = [(b"Location", location.encode())]
        for via in VIA:
            raw = response(status=f"{status} Moved", headers=fields)
            upstream = serve(answering(raw))
            answer = portal.mount(upstream, via=via).request("POST", "/x", body=b"{}")
            assert answer.status == status
            assert len(upstream.requests) == 1
    assert trap.connections == []


LOCATIONS = [
    ("/login", "{public}/login"),
    ("/", "{public}/"),
    ("/a?b=c#d", "{public}/a?b=c#d"),
    ("{own}/login", "{public}/login"),
    ("{own}", "{public}/"),
    ("{own}?x=1", "{public}/?x=1"),
    ("//{authority}/x", "{public}/x"),
    ("HTTP://{authority}/x", "{public}/x"),
    ("http://127.1:{port}/x", "{public}/x"),
    ("//0x7f000001:{port}/x", "{public}/x"),
    ("http://[::ffff:127.0.0.1]:{port}/x", "{public}/x"),
    ("http://localhost.:{port}/x", "{public}/x"),
    ("{public}/x", "{public}/x"),
    ("{public}", "{public}"),
    ("{public}x/y", "{public}{public}x/y"),
    ("x/y", "x/y"),
    ("../x", "../x"),
    ("?x=1", "?x=1"),
    ("#x", "#x"),
    ("https://example.org/login", "https://example.org/login"),
    ("//example.org/x", "//example.org/x"),
    ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x"),
    ("mailto:x@example.org", "mailto:x@example.org"),
    ("", ""),
]


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("via", ["", "v1", "mounted"])
def test_references_into_the_session_are_made_public(
    portal: Portal, serve: Serve, field: str, via: str
) -> None:
    current = b""
    upstream = serve(
        lambda conn: reply_forever(conn, lambda: [(field.encode(), current)])
    )
    site = portal.mount(upstream, via=via)
    values = {
        "public": site.public,
        "own": upstream.url,
        "authority": f"127.0.0.1:{upstream.port}",
        "port": str(upstream.port),
    }
    for given, expected in LOCATIONS:
        current = given.format(**values).encode()
        answer = site.request("GET", "/x")
        assert answer.one(field) == expected.format(**values).encode(), given


def reply_forever(conn: Conn, headers: object) -> None:
    assert callable(headers)
    while True:
        conn.request()
        conn.reply(status="302 Found", headers=headers())


def test_the_base_path_of_the_session_is_taken_off_a_location(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve(
        answering(
            response(status="302 Found", headers=[(b"Location", b"/base/login?x")]),
            response(status="302 Found", headers=[(b"Location", b"/based")]),
            response(status="302 Found", headers=[(b"Location", b"/base")]),
        )
    )
    site = portal.mount(upstream.url + "/base")
    locations = [site.request().one("location").decode() for _ in range(3)]
    assert locations == [
        f"{site.public}/login?x",
        f"{site.public}/based",
        f"{site.public}/",
    ]


def test_an_answer_of_http_1_0_passes(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold")
        conn.finish()

    answer = portal.mount(serve(play)).request()
    assert (answer.body, answer.end) == (b"old", "whole")


def test_a_client_of_http_1_0_gets_no_chunks(portal: Portal, serve: Serve) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ok")
    site = portal.mount(serve(answering(raw)))
    request = site.raw("GET", "/x").replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n")
    answer = portal.exchange(request)
    # Where a server does so, it is its own affair.
    assert answer.has("transfer-encoding") == portal.expected.chunks_for_1_0
    assert answer.body == b"ok"


def test_a_status_line_without_a_reason_passes(portal: Portal, serve: Serve) -> None:
    for start in (b"HTTP/1.1 200 \r\n", b"HTTP/1.1 200\r\n"):
        answer = answered(portal, serve, start + b"Content-Length: 2\r\n\r\nok")
        assert (answer.status, answer.body) == (200, b"ok")


def test_the_answer_shows_no_internal_address(portal: Portal, serve: Serve) -> None:
    for site in (portal.mount(serve()), portal.mount("http://127.0.0.1:9")):
        answer = site.request()
        assert not re.search(rb"127\.0\.0\.1|:9\b", answer.raw + answer.body)


def test_refresh_and_link_lead_to_the_public_url_too(
    portal: Portal, serve: Serve
) -> None:
    fields: list[tuple[bytes, bytes]] = []
    upstream = serve(lambda conn: reply_forever(conn, lambda: fields))
    site = portal.mount(upstream)
    public, own = site.public.encode(), upstream.url.encode()
    fields += [
        (b"Refresh", b"1; url=" + own + b"/x"),
        (b"Link", b"</a>; rel=next, <" + own + b'/b>; title="</c>", <https://x/d>'),
    ]
    answer = site.request()
    assert answer.one("refresh") == b"1; url=" + public + b"/x"
    assert answer.one("link") == (
        b'<%b/a>; rel=next, <%b/b>; title="</c>", <https://x/d>' % (public, public)
    )
