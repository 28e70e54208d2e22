"""What only HTTP/2 has, on the server that speaks it without TLS as well."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from ..support.clocks import wait_until
from ..support.portal import KEY
from ..support.servers import Portal, Site
from ..support.upstream import Conn, Upstream, answering, response
from .conftest import Serve

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@pytest.fixture
def hypercorn(tmp_path: Path) -> Iterator[Portal]:
    with Portal("hypercorn", tmp_path) as running:
        yield running


class Client:
    """A connection that knows beforehand what is spoken (RFC 9113 §3.3)."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.h2 = H2Connection(H2Configuration())
        self.h2.initiate_connection()

    def flush(self) -> None:
        self._sock.sendall(self.h2.data_to_send())

    def begin(
        self, site: Site, body: bytes, method: str = "POST", length: int | None = None
    ) -> int:
        """A request with its body, but not with the end of its stream. `length`: what
        it says of its body, if that is not so long."""
        stream = self.h2.get_next_available_stream_id()
        fields = [
            (":method", method),
            (":scheme", "http"),
            (":authority", "portal.test"),
            (":path", f"{site.public}/upload"),
            ("authorization", f"Bearer {KEY}"),
            ("content-length", str(len(body) if length is None else length)),
        ]
        self.h2.send_headers(stream, fields)
        if body:
            self.h2.send_data(stream, body)
        self.flush()
        return stream

    def end(self, stream: int) -> None:
        """The end of the stream, in a frame of its own."""
        self.h2.end_stream(stream)
        self.flush()

    def answer(self, stream: int) -> tuple[bytes, bytes]:
        """Status and body."""
        status, body = b"", b""
        while data := self._sock.recv(65_536):
            for event in self.h2.receive_data(data):
                if getattr(event, "stream_id", None) != stream:
                    continue
                assert not isinstance(event, StreamReset), event
                if isinstance(event, ResponseReceived):
                    status = dict(event.headers)[b":status"]
                elif isinstance(event, DataReceived):
                    body += event.data
                elif isinstance(event, StreamEnded):
                    return status, body
            self.flush()
        raise AssertionError("the connection ended before the answer")


def arrived(upstream: Upstream, many: int) -> None:
    """Wait until the session has got so many requests."""
    wait_until(lambda: len(upstream.requests) == many)


@pytest.mark.parametrize("pause", [0.0, 0.2], ids=["at once", "after a while"])
@pytest.mark.parametrize("body", [b"hello", b""])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_an_upload_whose_stream_ends_in_a_frame_of_its_own(
    hypercorn: Portal, serve: Serve, method: str, body: bytes, pause: float
) -> None:
    """All that was announced has come, and the session has answered: the answer ends no
    sooner than the request, after which hypercorn would not know the stream any more
    and break off the connection, with all that is on it."""

    def play(conn: Conn) -> None:
        while True:
            conn.request()
            time.sleep(pause)
            conn.send(response(b"ok") if method == "POST" else HEAD)

    upstream = serve(play)
    site = hypercorn.mount(upstream)
    with socket.create_connection(hypercorn.address, 5) as sock:
        client = Client(sock)
        for number in range(1, 4):
            stream = client.begin(site, body, method)
            arrived(upstream, number)
            time.sleep(pause + 0.1)
            client.end(stream)
            answer = b"ok" if method == "POST" else b""
            assert client.answer(stream) == (b"200", answer)
    assert [each.body for each in upstream.requests] == [body] * 3


def test_a_frame_without_data_ends_no_stream(hypercorn: Portal, serve: Serve) -> None:
    upstream = serve()
    site = hypercorn.mount(upstream)
    with socket.create_connection(hypercorn.address, 5) as sock:
        client = Client(sock)
        for number in range(1, 4):
            stream = client.begin(site, b"hello")
            client.h2.send_data(stream, b"")
            client.flush()
            arrived(upstream, number)
            time.sleep(0.1)
            client.end(stream)
            assert client.answer(stream) == (b"200", b"ok")


def test_one_whose_stream_does_not_end_is_answered_all_the_same(
    hypercorn: Portal, serve: Serve
) -> None:
    site = hypercorn.mount(serve())
    with socket.create_connection(hypercorn.address, 5) as sock:
        client = Client(sock)
        assert client.answer(client.begin(site, b"hello")) == (b"200", b"ok")
    assert site.idle()


def test_an_answer_without_content_is_whole_though_the_session_ends_meanwhile(
    hypercorn: Portal, serve: Serve
) -> None:
    """A request that ends its own session, for one."""
    upstream = serve(answering(b"HTTP/1.1 204 No Content\r\n\r\n"))
    site = hypercorn.mount(upstream, via="v1")
    with socket.create_connection(hypercorn.address, 5) as sock:
        client = Client(sock)
        stream = client.begin(site, b"hello")
        arrived(upstream, 1)
        hypercorn.control("end", service=site.service, id=site.id)
        time.sleep(0.7)
        client.end(stream)
        assert client.answer(stream) == (b"204", b"")
    assert site.idle()
    assert "204 session completed" in hypercorn.log


@pytest.mark.parametrize("pause", [0.0, 0.2], ids=["at once", "after a while"])
@pytest.mark.parametrize("body", [b"hello", b""])
def test_who_leaves_before_the_end_of_an_upload_keeps_no_place(
    hypercorn: Portal, serve: Serve, body: bytes, pause: float
) -> None:
    """Though hypercorn lets an answer that nobody takes any more wait for ever."""

    def play(conn: Conn) -> None:
        conn.request(body=False)
        time.sleep(pause)
        conn.reply(b"ok")

    dead, quick = hypercorn.mount("http://127.0.0.1:9"), hypercorn.mount(serve(play))
    starting = hypercorn.mount("http://127.0.0.1:9", state="starting")
    for site in (dead, quick, starting):
        for length in (len(body), len(body) + 1):
            with socket.create_connection(hypercorn.address, 5) as sock:
                Client(sock).begin(site, body, length=length)
            assert site.idle()
