"""What a server does with bodies, connections and endings, where it makes impossible
what the others promise: one test for each name of `instead.INSTEAD`."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal
from ..support.strict import requests
from ..support.upstream import Conn, answering, response
from ..support.wire import Fields, Wire, chunked
from .conftest import Serve
from .test_endings import (
    LARGE,
    LARGE_SIZE,
    LENGTH,
    STREAM,
    dying_in_an_upload,
    streaming,
)
from .test_streaming import MiB
from .test_timeouts import IDLE

UPLOAD: Fields = [(b"Content-Length", b"100000")]
EVERYTHING = 64 * MiB
instead = pytest.mark.instead


def ends(client: Wire) -> bool:
    """Whether the server closes the connection, by an end or a reset."""
    try:
        return client.closed()
    except OSError:
        return True


@instead("collects_uploads")
@pytest.mark.parametrize("key", ["pk_test", None])
def test_collects_uploads(portal: Portal, serve: Serve, key: str | None) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    with site.open("POST", "/up", UPLOAD, key=key) as client:
        client.send(bytes(99_999))
        assert client.silent(0.3)
        assert upstream.connections == []
        client.send(b"x")
        answer = client.answer()
    assert answer.status == (200 if key else 401)
    with site.open("POST", "/up", UPLOAD) as client:
        client.send(bytes(70_000))
    assert len(upstream.connections) == (1 if key else 0)
    assert site.idle()


@instead("answers_after_the_upload")
def test_answers_after_the_upload(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    with site.open("POST", "/up", UPLOAD, key=None) as client:
        client.send(bytes(99_999))
        assert client.silent(0.3)
        client.send(b"x")
        check(client.answer(), contract.NO_CREDENTIAL)
    assert upstream.connections == []


@instead("cannot_break_off")
@pytest.mark.parametrize("head", [LENGTH, STREAM], ids=["length", "chunked"])
def test_cannot_break_off(portal: Portal, serve: Serve, head: bytes) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(head)
        conn.finish()

    site = portal.mount(serve(play))
    with site.open() as client:
        assert client.response_head().status == 200
        # Neither an end, which would hide the truncation, nor a break.
        assert client.silent(0.5)
    assert site.idle()
    # The place was given back, and the record says how it ended.
    assert "200 session upstream_closed" in portal.log.rsplit(site.id, 1)[1]


@instead("waits_for_more_of_an_upload")
def test_waits_for_more_of_an_upload(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve(dying_in_an_upload, receive_buffer=65_536))
    with site.open("POST", "/up", LARGE) as client:
        client.send(bytes(LARGE_SIZE))
        head = client.response_head()
        assert next(iter(client.pieces(head))) == b"first"
        assert client.silent(0.5)
        # The place was given back, and the record says how it ended.
        assert site.idle()
        assert "200 session upstream_closed" in portal.log.rsplit(site.id, 1)[1]


@instead("ends_at_once")
def test_ends_at_once(server: str, tmp_path: Path, serve: Serve) -> None:
    with Portal(server, tmp_path, grace=10) as portal:
        upstream = serve(streaming)
        site = portal.mount(upstream, via="ending")
        with site.open() as client:
            head = client.response_head()
            pieces = iter(client.pieces(head))
            assert next(pieces) == b"first"
            portal.terminate()
            assert list(pieces) == []
            assert head.end == "broken"
        portal.ended()
        assert "session draining" not in portal.log
    assert upstream.all_gone(1.0)


@instead("takes_a_response_unread")
def test_takes_a_response_unread(portal: Portal, serve: Serve) -> None:
    accepted = 0

    def play(conn: Conn) -> None:
        nonlocal accepted
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % EVERYTHING)
        conn.sock.settimeout(0.6)
        try:
            while accepted < EVERYTHING:
                accepted += conn.sock.send(bytes(65_536))
        except TimeoutError:
            pass
        done.set()
        conn.finish()

    done = threading.Event()
    site = portal.mount(serve(play))
    with portal.connect(receive_buffer=65_536) as client:
        client.send(site.raw())
        assert client.response_head().status == 200
        assert done.wait(20)
    most = 32 * MiB if portal.server == "waitress" else EVERYTHING
    assert 16 * MiB < accepted <= most


@instead("sees_no_departure")
def test_sees_no_departure(portal: Portal, serve: Serve) -> None:
    left = threading.Event()

    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM + chunked(b"first", last=False))
        assert left.wait(5)
        assert not conn.gone.wait(0.3)
        for _ in range(200):  # The next writes show it.
            conn.send(chunked(bytes(1000), last=False))
            if conn.gone.wait(0.02):
                break

    upstream = serve(play)
    site = portal.mount(upstream)
    with site.open() as client:
        head = client.response_head()
        assert next(iter(client.pieces(head))) == b"first"
    left.set()
    conn = upstream.connection()
    reader = threading.Thread(target=conn.drain)
    reader.start()
    assert conn.gone.wait(5)
    reader.join()
    assert site.idle()
    line = portal.log.rsplit(site.id, 1)[1]
    assert "200 session client_disconnected" in line


@instead("waits_for_who_does_not_read")
def test_waits_for_who_does_not_read(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve(answering(response(bytes(4_000_000)))), via="quick")
    with portal.connect(receive_buffer=4096) as client:
        client.send(site.raw())
        assert client.response_head().status == 200
        assert not site.idle(IDLE + 0.5)
    assert site.idle()


@instead("fails_on_trailers")
def test_fails_on_trailers(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    raw = site.raw("POST", "/x", [(b"Transfer-Encoding", b"chunked")])
    trailer = b"X-Daily-Session-Id: evil\r\n"
    answer = portal.exchange(raw + b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n")
    check(answer, contract.MALFORMED_HEADERS)
    assert all(b"evil" not in conn.received for conn in upstream.connections)


@instead("takes_one_of_two_lengths")
def test_takes_one_of_two_lengths(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    lengths = [(b"Content-Length", b"0"), (b"Content-Length", b"9")]
    answer = portal.exchange(site.raw("POST", "/x", lengths) + b"abcdefghi")
    assert answer.status == 200
    # The proxy never sees two, and what it passes on has one, which is true.
    [arrived] = requests(bytes(upstream.connection().received))
    assert (arrived.all("content-length"), arrived.body) == ([b"9"], b"abcdefghi")


@instead("ends_with_a_negative_chunk")
def test_ends_with_a_negative_chunk(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    raw = site.raw("POST", "/x", [(b"Transfer-Encoding", b"chunked")])
    with portal.connect() as client:
        client.send(raw + b"4\r\nabcd\r\n-4\r\nabcd\r\n" + site.raw("GET", "/next"))
        assert client.answer().status == 200
    [arrived, *_] = requests(bytes(upstream.connection().received))
    assert arrived.body == b"abcd"


@instead("ends_head_with_a_chunk")
def test_ends_head_with_a_chunk(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve(answering(STREAM + chunked(b"dropped"))))
    with site.open("HEAD") as client:
        answer = client.response_head()
        assert answer.one("connection").lower() == b"close"
        # A client that goes by the rules never reads it.
        while client.fill():
            pass
        assert client.buffer == b"0\r\n\r\n"


@instead("closes_after_no_body")
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n"])
def test_closes_after_no_body(
    portal: Portal, serve: Serve, status: str, length: bytes
) -> None:
    raw = b"HTTP/1.1 " + status.encode() + b"\r\n" + length + b"\r\n"
    site = portal.mount(serve(answering(raw)))
    with site.open() as client:
        answer = client.answer()
        assert answer.status == int(status[:3])
        assert not answer.has("content-length")
        assert not answer.has("transfer-encoding")
        assert ends(client)


@instead("one_connection_a_request")
def test_one_connection_a_request(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve())
    for raw in (site.raw(), site.raw("POST", "/up", body=b"x")):
        with portal.connect() as client:
            client.send(raw)
            answer = client.answer()
            assert answer.status == 200
            assert answer.one("connection").lower() == b"close"
            assert ends(client)


@instead("one_at_a_time")
def test_one_at_a_time(portal: Portal, serve: Serve) -> None:
    go_on = threading.Event()

    def play(conn: Conn) -> None:
        while True:
            conn.request()
            assert go_on.wait(5)
            conn.reply(b"ok")

    upstream = serve(play)
    site = portal.mount(upstream)
    with site.open() as first:
        upstream.connection()
        with site.open() as second:
            assert second.silent(0.3)
            assert len(upstream.connections) == 1
            go_on.set()
            assert first.answer().body == b"ok"
            assert second.answer().body == b"ok"
