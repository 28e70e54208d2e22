"""Time runs out: for the session, for the client, for the whole request."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal
from ..support.upstream import Conn, Play
from ..support.wire import chunked
from .conftest import Serve
from .test_endings import LENGTH, STREAM, send_what_is_taken, silent, streaming

QUICK = ["quick", "httpx-quick"]
CONNECT, RESPONSE, IDLE = 0.3, 0.5, 0.6


@pytest.fixture
def full() -> Iterator[str]:
    """An address whose backlog is full: the network drops what comes."""
    with ExitStack() as stack:
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        stack.enter_context(listener)
        address = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


@pytest.mark.parametrize("via", [*QUICK, "brief", "strict"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_session_that_cannot_be_connected_to_in_time(
    portal: Portal, full: str, via: str, method: str
) -> None:
    site = portal.mount(full, via=via)
    started = time.monotonic()
    answer = site.request(method, "/x", body=b"{}" if method == "POST" else None)
    took = time.monotonic() - started
    row = contract.TIMEOUT
    check(answer, row.strictly if via == "strict" else row, to=method)
    assert CONNECT - 0.1 < took < CONNECT + 1.0
    assert site.idle()


@pytest.mark.everywhere
@pytest.mark.parametrize("via", QUICK)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_session_that_does_not_answer_in_time(
    portal: Portal, serve: Serve, via: str, method: str
) -> None:
    upstream = serve(silent)
    site = portal.mount(upstream, via=via)
    started = time.monotonic()
    answer = site.request(method, "/slow", body=b"{}" if method == "POST" else None)
    took = time.monotonic() - started
    check(answer, contract.TIMEOUT, to=method)
    assert RESPONSE - 0.1 < took < RESPONSE + 1.0
    assert upstream.all_gone(1.0)
    assert len(upstream.connections) == 1
    assert site.idle()


@pytest.mark.parametrize("pause", [0.1, 0.005])
def test_half_a_head_is_no_answer_in_time(
    portal: Portal, serve: Serve, pause: float
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nX-A: ")
        for _ in range(int(2 / pause)):
            conn.send(b"b")
            time.sleep(pause)

    upstream = serve(play)
    site = portal.mount(upstream, via="quick")
    started = time.monotonic()
    check(site.request(), contract.TIMEOUT)
    assert time.monotonic() - started < RESPONSE + 1.0


def test_interim_responses_do_not_put_the_answer_off(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        for _ in range(20):
            conn.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            time.sleep(0.1)

    site = portal.mount(serve(play), via="quick")
    started = time.monotonic()
    check(site.request(), contract.TIMEOUT)
    assert time.monotonic() - started < RESPONSE + 1.0


def test_the_time_to_answer_is_counted_from_the_last_byte_of_the_request(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        time.sleep(0.3)
        conn.reply(b"done")

    site = portal.mount(serve(play), via="quick")
    with site.open("POST", "/up", [(b"Content-Length", b"280000")]) as client:
        for _ in range(4):  # Longer in all than the response may take.
            client.send(bytes(70_000))
            time.sleep(0.2)
        assert client.answer().body == b"done"


@pytest.mark.everywhere
@pytest.mark.parametrize("via", QUICK)
@pytest.mark.parametrize("head", [LENGTH, STREAM], ids=["length", "chunked"])
def test_a_stream_that_idles_too_long_is_broken_off(
    portal: Portal, serve: Serve, via: str, head: bytes
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(head)

    upstream = serve(play)
    site = portal.mount(upstream, via=via)
    started = time.monotonic()
    answer = site.request()
    took = time.monotonic() - started
    assert (answer.status, answer.end) == (200, "broken")
    assert IDLE - 0.1 < took < IDLE + 1.0
    assert upstream.all_gone(1.0)
    assert site.idle()


@pytest.mark.parametrize("via", QUICK)
def test_a_stream_may_last_longer_than_every_timeout_while_bytes_come(
    portal: Portal, serve: Serve, via: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM)
        for _ in range(6):
            time.sleep(0.25)
            conn.send(chunked(b"x", last=False))
        conn.send(b"0\r\n\r\n")

    answer = portal.mount(serve(play), via=via).request()
    assert (answer.body, answer.end) == (b"xxxxxx", "whole")


@pytest.mark.everywhere
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("sent", [0, 70_000])
def test_a_client_that_stalls_its_upload(
    portal: Portal, serve: Serve, framing: str, sent: int
) -> None:
    upstream = serve(silent)
    site = portal.mount(upstream, via="quick")
    field = (b"Content-Length", b"1000000")
    if framing == "chunked":
        field = (b"Transfer-Encoding", b"chunked")
    with site.open("POST", "/up", [field]) as client:
        if sent:
            body = bytes(sent)
            client.send(body if framing == "length" else chunked(body, last=False))
        started = time.monotonic()
        check(client.answer(), contract.STALLED)
        assert time.monotonic() - started < IDLE + 1.0
    assert upstream.all_gone(1.0)
    assert site.idle()


def test_a_slow_upload_may_last_longer_than_every_timeout(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="quick")
    with site.open("POST", "/up", [(b"Content-Length", b"350000")]) as client:
        for _ in range(5):
            time.sleep(0.3)
            client.send(bytes(70_000))
        assert client.answer().status == 200
    assert len(upstream.last.body) == 350_000


def test_a_session_that_does_not_take_the_upload(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        conn.request(body=False)
        time.sleep(IDLE + 1.5)

    site = portal.mount(serve(play, receive_buffer=65_536), via="quick")
    size = 32 << 20
    with site.open("POST", "/up", [(b"Content-Length", b"%d" % size)]) as client:
        sender = threading.Thread(target=send_what_is_taken, args=(client, size))
        sender.start()
        answer = client.response_head()
        with contextlib.suppress(OSError):  # Some servers have closed it.
            client.sock.shutdown(2)
        sender.join()
    assert answer.status == 504
    assert answer.one("x-session-proxy-error") == b"upstream_timeout"


@pytest.mark.parametrize("play", [silent, streaming], ids=["head", "body"])
def test_the_total_time_ends_a_request(
    portal: Portal, serve: Serve, play: Play
) -> None:
    upstream = serve(play)
    site = portal.mount(upstream, via="brief")
    started = time.monotonic()
    answer = site.request()
    assert 0.5 < time.monotonic() - started < 1.6
    if play is silent:
        check(answer, contract.TIMEOUT)
    else:
        assert (answer.body, answer.end) == (b"first", "broken")
    assert upstream.all_gone(1.0)


@pytest.mark.parametrize("pause", [0.05, 0.005])
def test_the_total_time_ends_a_busy_stream(
    portal: Portal, serve: Serve, pause: float
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM)
        for _ in range(int(2 / pause)):
            conn.send(chunked(b"x", last=False))
            time.sleep(pause)
        conn.send(b"0\r\n\r\n")

    upstream = serve(play)
    site = portal.mount(upstream, via="brief")
    started = time.monotonic()
    answer = site.request()
    assert answer.end == "broken"
    assert 0.5 < time.monotonic() - started < 1.6


def nonsense(conn: Conn) -> None:
    conn.request()
    conn.send(b"nonsense")


def test_the_strict_contract_says_500_for_what_it_does_not_know(
    portal: Portal, serve: Serve
) -> None:
    dead = portal.mount("http://127.0.0.1:9", via="strict")
    slow = portal.mount(serve(silent), via="strict")
    broken = portal.mount(serve(nonsense), via="strict")
    down = portal.mount(serve(), via="strict", service="svc-down")
    for method in ("GET", "HEAD"):
        for site, row in [
            (dead, contract.UNREACHABLE),
            (slow, contract.TIMEOUT),
            (broken, contract.PROTOCOL),
            (down, contract.STORE),
        ]:
            check(site.request(method), row.strictly, to=method)
    check(dead.request("GET", "/bot"), contract.RESERVED_PATH)
    check(dead.request(key=None), contract.NO_CREDENTIAL)
