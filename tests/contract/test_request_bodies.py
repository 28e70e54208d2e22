"""DESIGN.md section 5: bodies of requests arrive exactly, framed by us alone."""

from __future__ import annotations

import os

import pytest

from ..support.servers import Portal, Site
from ..support.upstream import Upstream
from ..support.wire import chunked

VIA = ["", "httpx"]


@pytest.fixture(params=VIA)
def site(portal: Portal, upstream: Upstream, request: pytest.FixtureRequest) -> Site:
    return portal.mount(upstream, via=request.param)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"])
@pytest.mark.parametrize("size", [1, 1000, 65_536, 65_537, 300_000])
def test_a_known_length_is_kept(
    site: Site, upstream: Upstream, method: str, size: int
) -> None:
    body = os.urandom(size)
    assert site.request(method, "/x", body=body).status == 200
    got = upstream.last
    assert got.body == body
    assert got.one("content-length") == b"%d" % size
    assert not got.has("transfer-encoding")


@pytest.mark.everywhere
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_an_unknown_length_arrives_whole_and_framed_once(
    site: Site, upstream: Upstream, method: str
) -> None:
    pieces = [os.urandom(size) for size in (1, 70_000, 5, 200_000)]
    raw = site.raw(method, "/x", [(b"Transfer-Encoding", b"chunked")])
    answer = site.portal.exchange(raw + chunked(*pieces))
    assert answer.status == 200
    got = upstream.last
    assert got.body == b"".join(pieces)
    assert got.end == "whole"
    assert got.has("transfer-encoding") != got.has("content-length")
    assert got.all("transfer-encoding") in ([], [b"chunked"])


@pytest.mark.everywhere
def test_trailers_of_a_request_stay_on_this_hop(site: Site, upstream: Upstream) -> None:
    fields = [(b"Transfer-Encoding", b"chunked"), (b"Trailer", b"X-Daily-Session-Id")]
    raw = site.raw("POST", "/x", fields)
    answer = site.portal.exchange(
        raw + b"5\r\nhello\r\n0\r\nX-Daily-Session-Id: evil\r\n\r\n"
    )
    assert answer.status == 200
    got = upstream.last
    assert got.body == b"hello"
    assert got.one("x-daily-session-id") == site.id.encode()
    assert b"evil" not in bytes(upstream.connections[-1].received)


@pytest.mark.everywhere
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("said", [True, False], ids=["length-0", "no-length"])
def test_an_empty_body_says_so(
    site: Site, upstream: Upstream, method: str, said: bool
) -> None:
    assert site.request(method, "/x", body=b"" if said else None).status == 200
    got = upstream.last
    assert got.one("content-length") == b"0"
    assert not got.has("transfer-encoding")


@pytest.mark.everywhere
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_no_body_says_nothing(site: Site, upstream: Upstream, method: str) -> None:
    assert site.request(method, "/x").status == 200
    got = upstream.last
    assert not got.has("content-length")
    assert not got.has("transfer-encoding")


def test_an_empty_chunked_body_is_an_empty_body(site: Site, upstream: Upstream) -> None:
    raw = site.raw("POST", "/x", [(b"Transfer-Encoding", b"chunked")])
    assert site.portal.exchange(raw + b"0\r\n\r\n").status == 200
    assert upstream.last.body == b""
    assert upstream.last.end == "whole"


@pytest.mark.everywhere
def test_a_body_in_many_small_pieces_arrives(site: Site, upstream: Upstream) -> None:
    body = os.urandom(500)
    with site.open("POST", "/x", [(b"Content-Length", b"500")]) as client:
        for at in range(0, 500, 10):
            client.send(body[at : at + 10])
        assert client.answer().status == 200
    assert upstream.last.body == body


def test_the_content_encoding_of_a_request_is_not_touched(
    site: Site, upstream: Upstream
) -> None:
    body = b"\x1f\x8b not really gzip"
    fields = [(b"Content-Encoding", b"gzip"), (b"Content-Type", b"application/json")]
    assert site.request("POST", "/x", fields, body).status == 200
    assert upstream.last.body == body
    assert upstream.last.one("content-encoding") == b"gzip"


def test_bytes_after_the_body_are_another_request(
    portal: Portal, upstream: Upstream
) -> None:
    site = portal.mount(upstream)
    first = site.raw("POST", "/first", body=b"hello")
    with portal.connect() as client:
        client.send(first + site.raw("GET", "/second"))
        assert client.answer().status == 200
        assert client.answer().status == 200
    assert [each.target for each in upstream.requests] == [b"/first", b"/second"]
    assert upstream.requests[0].body == b"hello"


def test_a_body_may_hold_a_request_and_stays_a_body(
    portal: Portal, upstream: Upstream
) -> None:
    site = portal.mount(upstream)
    smuggled = site.raw("POST", "/bot", body=b"{}")
    fields = [(b"Upgrade", b"foo"), (b"Connection", b"upgrade")]
    for headers in ([], fields):
        answer = site.request("POST", "/x", headers, smuggled)
        assert answer.status in (200, 400)
    assert {each.target for each in upstream.requests} == {b"/x"}
    assert all(each.body == smuggled for each in upstream.requests)


SMUGGLES = {
    "a length beside a coding": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "two lengths in one": b"Content-Length: 5, 6\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "a negative length": b"Content-Length: -5\r\n",
    "a length that is none": b"Content-Length: 5x\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n",
    "identity": b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n",
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n",
}


@pytest.mark.parametrize("how", SMUGGLES)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_framing_that_can_be_read_in_two_ways_makes_no_second_request(
    portal: Portal, upstream: Upstream, how: str, version: bytes
) -> None:
    site = portal.mount(upstream)
    raw = site.raw("POST", "/x").replace(b"HTTP/1.1\r\n", b"HTTP/" + version + b"\r\n")
    raw = raw.removesuffix(b"\r\n") + SMUGGLES[how] + b"\r\n"
    hidden = site.raw("POST", "/bot", body=b"{}")
    with portal.connect() as client:
        client.send(raw + b"0\r\n\r\n" + hidden)
        try:
            answer = client.answer()
        except Exception:
            answer = None
    if answer is not None:
        assert answer.status in (200, 400, 404, 408, 501), answer
    # Nothing but, at the most, the one request that was sent.
    assert [each.target for each in upstream.requests] in ([], [b"/x"])
    for each in upstream.requests:
        assert b"/bot" not in each.body
        assert each.has("transfer-encoding") != each.has("content-length")
