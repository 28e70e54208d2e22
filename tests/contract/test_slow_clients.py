"""Clients that are slow, odd, or hold on to what they have."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from ..support.servers import Portal
from ..support.upstream import Conn, Upstream, answering, response
from ..support.wire import Broken, chunked
from .conftest import Serve
from .test_access_records import ended
from .test_endings import STREAM
from .test_timeouts import IDLE


def test_a_client_that_stops_reading_is_let_go_when_it_idles_too_long(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM)
        while True:
            conn.send(chunked(bytes(65_536), last=False))

    upstream = serve(play)
    site = portal.mount(upstream, via="quick")
    with portal.connect(receive_buffer=4096) as client:
        client.send(site.raw())
        head = client.response_head()
        # Both the session's connection and the place are given back.
        assert upstream.connection().gone.wait(IDLE + 1.5)
        assert site.idle(1.5)
        # And the truncation shows.
        assert client.body(head).end == "broken"


@pytest.mark.parametrize("size", [3_150_000, 3_400_000, 3_600_000])
def test_a_client_that_leaves_the_rest_unread_does_not_keep_its_place(
    portal: Portal, serve: Serve, size: int
) -> None:
    # The session has said all, so nothing of it is left to time out; but a little is
    # more than the kernel's buffers take (about 3 MB on loopback).
    site = portal.mount(serve(answering(response(bytes(size)))), via="quick")
    with portal.connect(receive_buffer=4096) as client:
        client.send(site.raw())
        assert client.response_head().status == 200
        assert site.idle(IDLE + 1.5)


@pytest.mark.engine
@pytest.mark.parametrize("size", [3_150_000, 3_400_000, 3_600_000])
def test_nor_does_one_that_has_not_sent_all_itself(
    portal: Portal, serve: Serve, size: int
) -> None:
    def play(conn: Conn) -> None:
        conn.request(body=False)
        conn.send(response(bytes(size)))

    site = portal.mount(serve(play), via="quick")
    with portal.connect(receive_buffer=4096) as client:
        client.send(site.raw("POST", "/up", [(b"Content-Length", b"100000")]))
        client.send(bytes(1000))
        # Under WSGI nobody looks for an answer as long as the upload is waited for.
        assert client.response_head().status == (200 if portal.asgi else 408)
        assert site.idle(IDLE + 1.5)


def test_nor_does_one_that_asks_again_and_again_and_takes_no_answer(
    portal: Portal, serve: Serve
) -> None:
    # Each answer is there at once, and small; together they are more than the kernel's
    # buffers take.
    size, many = 60_000, 150
    site = portal.mount(serve(answering(response(bytes(size)))), via="quick")
    with portal.connect(receive_buffer=4096) as client:
        client.sock.settimeout(1.0)
        with contextlib.suppress(OSError):  # Its requests are not taken any more.
            for _ in range(many):
                client.send(site.raw())
        # cheroot shows nobody the socket, but has a time of its own: 10 s.
        assert site.idle(IDLE + (1.5 if portal.expected.sees_departure else 11.0))


@pytest.mark.engine
def test_one_that_is_still_sending_has_not_stopped(
    portal: Portal, serve: Serve
) -> None:
    """It reads nothing meanwhile of an answer that has begun."""
    size, pieces = 6_000_000, 10

    def play(conn: Conn) -> None:
        conn.request(body=False)
        conn.send(response(bytes(size)))
        conn.drain()

    site = portal.mount(serve(play), via="quick")
    with portal.connect(receive_buffer=4096) as client:
        client.send(site.raw("POST", "/up", [(b"Content-Length", b"%d" % pieces)]))
        for _ in range(pieces):
            client.send(b"x")
            time.sleep(2.5 * IDLE / pieces)
        answer = client.answer()
    assert (answer.end, len(answer.body)) == ("whole", size)


@pytest.mark.engine
def test_who_leaves_an_upload_that_its_session_does_not_take_keeps_no_place(
    portal: Portal, serve: Serve
) -> None:
    """Though the session answers on and on."""
    gone = threading.Event()

    def play(conn: Conn) -> None:
        conn.request(body=False)
        conn.send(STREAM)
        while not gone.wait(IDLE / 4):
            conn.send(chunked(b"tick", last=False))

    site = portal.mount(serve(play), via="quick")
    try:
        with site.open("POST", "/up", [(b"Content-Length", b"100000000")]) as client:
            client.sock.settimeout(0.5)
            with contextlib.suppress(OSError):
                while True:
                    client.send(bytes(100_000))
        assert site.idle(IDLE + 1.5)
    finally:
        gone.set()


SLOW, STEP = 8_000_000, 100_000


@pytest.mark.engine
@pytest.mark.parametrize("pause", [0.0, 2.5 * IDLE], ids=["steady", "paused"])
def test_a_session_that_takes_an_upload_slowly_while_it_answers(
    portal: Portal, serve: Serve, pause: float
) -> None:
    """Steadily, all of it arrives. After too long a pause no more does, and neither
    side is left to wait for the other."""
    taken = 0

    def play(conn: Conn) -> None:
        nonlocal taken
        conn.request(body=False)
        conn.sock.settimeout(IDLE / 4)
        conn.send(STREAM)
        until = time.monotonic() + pause
        while time.monotonic() < until:
            conn.send(chunked(b"tick", last=False))
            time.sleep(IDLE / 4)
        taken = len(conn.buffer)
        while taken < SLOW and time.monotonic() < until + 12:
            with contextlib.suppress(TimeoutError):
                some = conn.sock.recv(STEP)
                if not some:
                    return
                taken += len(some)
                time.sleep(5.0 * len(some) / SLOW)
            conn.send(chunked(b"tick", last=False))
        conn.send(chunked())

    site = portal.mount(serve(play, receive_buffer=65_536), via="quick")
    with site.open("POST", "/up", [(b"Content-Length", b"%d" % SLOW)]) as client:
        answer: list[str] = []

        def read() -> None:
            try:
                answer.append(client.answer().end)
            except TimeoutError:
                answer.append("never")
            except OSError:
                answer.append("broken")

        reading = threading.Thread(target=read)
        reading.start()
        with contextlib.suppress(OSError):
            client.send(bytes(SLOW))
        reading.join()
        if pause and portal.asgi:
            assert answer == ["broken"]
            assert taken < SLOW
            assert ended(site) == (200, "session", "upstream_idle")
        else:
            assert (answer, taken) == (["whole"], SLOW)
    assert site.idle()


@pytest.mark.everywhere
def test_a_slow_reader_gets_everything(portal: Portal, serve: Serve) -> None:
    body = b"".join(b"%07d\n" % number for number in range(500_000))
    site = portal.mount(serve(lambda conn: (conn.request(), conn.reply(body))))
    with portal.connect(receive_buffer=32_768) as client:
        client.send(site.raw())
        head = client.response_head()
        got = bytearray()
        for piece in client.pieces(head):
            got += piece
            if len(got) < 400_000:
                time.sleep(0.002)
        assert bytes(got) == body
        assert head.end == "whole"


def test_a_connection_is_kept_through_uploads_and_pauses(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="quick")
    with portal.connect() as client:
        for _ in range(2):
            client.send(site.raw("POST", "/up", body=bytes(200_000)))
            assert client.answer().status == 200
            time.sleep(IDLE + 0.3)  # The server's own patience with an idle client.
            client.send(site.raw("GET", "/x"))
            assert client.answer().status == 200


def test_the_request_after_an_early_answer_is_answered(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        while True:
            message = conn.request(body=False)
            if message.method == b"POST":
                conn.send(response(b"early", status="403 No"))
                conn.finish()
                return
            conn.reply(b"ok")

    upstream = serve(play)
    site = portal.mount(upstream)
    with site.open("POST", "/up", [(b"Content-Length", b"300000")]) as client:
        client.send(bytes(100_000))
        time.sleep(0.1)
        try:
            client.send(bytes(100_000))
            if not portal.asgi:
                client.send(bytes(100_000))
            assert client.answer().body == b"early"
            if portal.asgi:
                client.send(bytes(100_000))
            client.send(site.raw("GET", "/next"))
            assert client.answer().body == b"ok"
        except (Broken, OSError):
            # Others drain no more than a little of what was not read.
            assert not portal.expected.drains
    assert site.idle()


@pytest.mark.everywhere
def test_a_request_byte_by_byte(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    raw = site.raw("POST", "/x", body=b"hello")
    with portal.connect() as client:
        for at in range(len(raw)):
            client.send(raw[at : at + 1])
        assert client.answer().status == 200
    assert upstream.last.body == b"hello"


def test_a_session_that_answers_byte_by_byte(portal: Portal, serve: Serve) -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\n" + STREAM + chunked(b"hello", b"world")

    def play(conn: Conn) -> None:
        conn.request()
        for at in range(len(raw)):
            conn.send(raw[at : at + 1])

    answer = portal.mount(serve(play)).request()
    assert (answer.status, answer.body, answer.end) == (200, b"helloworld", "whole")


def test_a_session_on_ipv6(portal: Portal) -> None:
    with Upstream(lambda conn: forever(conn), family=socket.AF_INET6) as upstream:
        site = portal.mount(upstream)
        assert site.request().body == b"six"
        assert upstream.last.one("host") == b"[::1]:%d" % upstream.port


def forever(conn: Conn) -> None:
    while True:
        conn.request()
        conn.reply(b"six")


def test_a_query_and_a_credential_are_never_in_the_log(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    dead = portal.mount("http://127.0.0.1:9")
    before = len(portal.log)
    for each in (site, dead):
        each.request("GET", "/logged?token=hunter2", [(b"Cookie", b"c=hunter3")])
        each.request("GET", "/logged?token=hunter2", key="pk_hunter4")
    log = portal.log[before:]
    assert "/logged" in log
    assert not [word for word in ("hunter", "pk_test") if word in log]


@pytest.mark.everywhere
def test_every_request_leaves_one_line_that_says_how_it_ended(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        while (target := conn.request().target) == b"/ok":
            conn.reply(b"ok")
        if target == b"/cut":
            conn.send(STREAM)
            conn.finish()

    site = portal.mount(serve(play))
    for path in ("/ok", "/cut", "/bot"):
        site.request("GET", path)
    with site.open("GET", "/slow"):
        time.sleep(0.15)
    assert site.idle()
    lines = [line for line in portal.log.splitlines() if site.id in line]
    ends = [line.rsplit(site.id, 1)[1] for line in lines if ".access:" in line]
    assert ends == [
        "/ok 200 session completed",
        "/cut 200 session upstream_closed",
        "/bot 404 proxy reserved_path",
        "/slow 499 nobody client_disconnected",
    ]
