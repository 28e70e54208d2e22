"""Responses that are odd, partial, or lie about themselves: what the client gets of
them, and that nothing of one reaches the next."""

from __future__ import annotations

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal
from ..support.upstream import Conn, answering, response
from ..support.wire import Broken, Message, chunked
from .conftest import Serve

VIA = ["", "httpx"]
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
PARTS = (
    b"--SEP\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/6\r\n\r\nab\r\n"
    b"--SEP\r\nContent-Type: text/plain\r\nContent-Range: bytes 4-5/6\r\n\r\nef\r\n"
    b"--SEP--\r\n"
)


def two(
    portal: Portal, serve: Serve, first: bytes, *, method: str = "GET", via: str = ""
) -> tuple[Message, Message]:
    """The answer to a request that the session answers with these bytes, and the one
    after it, which is a plain one: on the same connection of the client's, where the
    server keeps it and does not end it without another byte."""

    def play(conn: Conn) -> None:
        while conn.request().target == b"/first":
            conn.send(first)
        conn.reply(b"the next")

    site = portal.mount(serve(play), via=via)
    with portal.connect() as client:
        client.send(site.raw(method, "/first"))
        answer = client.answer(to=method)
        if b"close" in b"".join(answer.all("connection")).lower():
            assert client.closed(), client.buffer
        else:
            try:
                client.send(site.raw("GET", "/second"))
                return answer, client.answer()
            except (Broken, OSError):
                assert not client.buffer
    return answer, site.request("GET", "/second")


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize(
    "content",
    [
        b"\r\n",
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 5\r\n\r\nhello",
        b"Content-Length: 5\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"0\r\n\r\n",
    ],
)
def test_a_205_has_no_content(
    portal: Portal, serve: Serve, content: bytes, via: str
) -> None:
    """RFC 9110 §15.3.6."""
    raw = b"HTTP/1.1 205 Reset Content\r\nX-A: b\r\n" + content
    answer, after = two(portal, serve, raw, via=via)
    assert (answer.status, answer.body, answer.end) == (205, b"", "whole")
    assert answer.one("content-length") == b"0"
    assert answer.one("x-a") == b"b"
    assert (after.status, after.body) == (200, b"the next")


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_what_follows_a_status_without_content_is_nobodys_answer(
    portal: Portal, serve: Serve, status: str, via: str
) -> None:
    raw = b"HTTP/1.1 " + status.encode() + b"\r\nETag: a\r\n\r\n" + response(b"forged")
    answer, after = two(portal, serve, raw, via=via)
    assert (answer.status, answer.body) == (int(status[:3]), b"")
    assert after.body == b"the next"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_line_ends_behind_a_status_without_content_prepare_no_answer(
    portal: Portal, serve: Serve, status: str
) -> None:
    """What is remembered of the first response lets no body into the next."""
    forged = response(b"forged")
    head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status.encode(), len(forged))
    for body in (b"\n" * len(forged), forged, forged):
        answer, after = two(portal, serve, head + body)
        assert (answer.status, answer.body) == (int(status[:3]), b"")
        assert after.body == b"the next"


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize(
    "content",
    [b"Content-Length: 6\r\n\r\nforged", CHUNKED + b"6\r\nforged\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
def test_a_body_sent_to_head_is_dropped(
    portal: Portal, serve: Serve, content: bytes, via: str
) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + content
    answer, after = two(portal, serve, raw, method="HEAD", via=via)
    assert (answer.status, answer.body) == (200, b"")
    assert after.body == b"the next"


@pytest.mark.parametrize("via", VIA)
def test_a_body_longer_than_its_length_ends_where_it_says(
    portal: Portal, serve: Serve, via: str
) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes" + response(b"forged")
    answer, after = two(portal, serve, raw, via=via)
    assert (answer.body, answer.end) == (b"yes", "whole")
    assert after.body == b"the next"


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize(
    ("status", "fields", "body"),
    [
        (
            "206 Partial Content",
            [(b"Content-Range", b"bytes 2-5/1000"), (b"Accept-Ranges", b"bytes")],
            b"cdef",
        ),
        (
            "206 Partial Content",
            [(b"Content-Type", b"multipart/byteranges; boundary=SEP")],
            PARTS,
        ),
        ("416 Range Not Satisfiable", [(b"Content-Range", b"bytes */1000")], b""),
        ("200 OK", [(b"Accept-Ranges", b"none")], b"abcdef"),
    ],
    ids=["one part", "several parts", "none", "ignored"],
)
def test_ranges_are_between_client_and_session(
    portal: Portal,
    serve: Serve,
    status: str,
    fields: list[tuple[bytes, bytes]],
    body: bytes,
    via: str,
) -> None:
    fields = [*fields, (b"ETag", b'"v1"')]
    upstream = serve(answering(response(body, status=status, headers=fields)))
    asked = [(b"Range", b"bytes=2-5,8-"), (b"If-Range", b'"v1"')]
    answer = portal.mount(upstream, via=via).request("GET", "/blob", asked)
    assert (answer.status, answer.body) == (int(status[:3]), body)
    assert answer.one("content-length") == b"%d" % len(body)
    for name, value in fields:
        assert answer.one(name.decode()) == value
    for name, value in asked:
        assert upstream.last.one(name.decode()) == value


@pytest.mark.parametrize("via", VIA)
def test_chunks_are_the_hops_own_and_their_content_is_exact(
    portal: Portal, serve: Serve, via: str
) -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b'3;ext=1;q="a;b"\r\na\r\n\r\n'
        b"0000A\r\n0123456789\r\n0;last\r\n"
        b"X-Session-Proxy-Error: x\r\nLocation: /x\r\nSet-Cookie: a=b\r\n\r\n"
    )
    answer, after = two(portal, serve, raw, via=via)
    assert (answer.body, answer.end) == (b"a\r\n0123456789", "whole")
    if not (portal.expected.counts and answer.has("content-length")):
        assert answer.one("transfer-encoding") == b"chunked"
    assert answer.one("x-accel-buffering") == b"no"
    assert not answer.ours
    assert not answer.has("location")
    assert not answer.has("set-cookie")
    assert after.body == b"the next"


def test_a_trailer_that_would_frame_the_body_breaks_it_off(
    portal: Portal, serve: Serve
) -> None:
    """RFC 9110 §6.5.1 forbids it: what one parser skips another believes."""
    raw = (
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n"
    )
    site = portal.mount(serve(answering(raw)))
    answer = site.request()
    assert (answer.status, answer.body, answer.end) == (200, b"ok", "broken")
    assert site.request().status == 200
    assert site.idle()


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_a_body_that_the_close_ends_is_whole(
    portal: Portal, serve: Serve, version: bytes, size: int, via: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(b"HTTP/" + version + b" 200 OK\r\nX-A: b\r\n\r\n" + b"x" * size)
        conn.finish()

    answer = portal.mount(serve(play), via=via).request()
    assert (answer.body, answer.end) == (b"x" * size, "whole")
    assert answer.one("x-a") == b"b"


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize("alive", [b"", b"Connection: keep-alive\r\n"])
def test_a_length_of_http_1_0_counts(
    portal: Portal, serve: Serve, alive: bytes, via: str
) -> None:
    raw = b"HTTP/1.0 200 OK\r\n" + alive + b"Content-Length: 2\r\n\r\nok"
    answer, after = two(portal, serve, raw, via=via)
    assert (answer.body, answer.end) == (b"ok", "whole")
    assert after.body == b"the next"


MALFORMED = {
    "a blank in a name": b"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n",
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n",
    "a bare CR": b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c=d\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\na",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a length too long for anything": b"HTTP/1.1 200 OK\r\nContent-Length: "
    + b"9" * 30
    + b"\r\n\r\n",
    "lengths in a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "HTTP/2 in clear": b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
    "an empty head": b"\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_head_is_a_protocol_error(
    portal: Portal, serve: Serve, what: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(MALFORMED[what])
        conn.finish()

    site = portal.mount(serve(play))
    check(site.request(), contract.PROTOCOL)
    assert site.idle()


def test_a_head_at_the_limits_passes(portal: Portal, serve: Serve) -> None:
    fields = [(b"X-%d" % number, b"v" * 240) for number in range(190)]
    answer = portal.mount(serve(answering(response(b"ok", headers=fields)))).request()
    assert answer.body == b"ok"
    for name, value in fields:
        assert answer.one(name.decode()) == value


def test_a_stream_of_the_sessions_own_buffering_keeps_it(
    portal: Portal, serve: Serve
) -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-Accel-Buffering: yes\r\n" + CHUNKED + chunked(b"ok")
    answer = portal.mount(serve(answering(raw))).request()
    assert answer.one("x-accel-buffering") == b"yes"
    with_length = portal.mount(serve()).request()
    assert not with_length.has("x-accel-buffering")
