"""Bytes pass as they come, in both directions, and never pile up."""

from __future__ import annotations

import threading
import time

import pytest

from ..support.servers import Portal
from ..support.upstream import Conn, response
from ..support.wire import PATIENCE, Wire, chunked
from .conftest import Serve

EVENT = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
MiB = 1 << 20
BOUND = 16 * MiB
"""More than every kernel buffer on the way and the proxy's own; far less than what is
offered."""

VIA = ["", "httpx"]


class Step:
    """What the session waits for before it goes on."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def take(self) -> None:
        self._event.set()

    def wait(self) -> None:
        assert self._event.wait(PATIENCE)
        self._event.clear()


@pytest.mark.everywhere
@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize("length", [None, 12], ids=["chunked", "length"])
def test_an_event_arrives_before_the_session_sends_the_next(
    portal: Portal, serve: Serve, via: str, length: int | None
) -> None:
    step = Step()

    def play(conn: Conn) -> None:
        conn.request()
        framing = b"Transfer-Encoding: chunked"
        if length is not None:
            framing = b"Content-Length: %d" % length
        conn.send(EVENT + framing + b"\r\n\r\n")
        for event in (b"data", b": x\n", b"\n\n\n\n"):
            step.wait()
            conn.send(event if length else chunked(event, last=False))
        step.wait()
        if not length:
            conn.send(b"0\r\n\r\n")

    site = portal.mount(serve(play), via=via)
    with site.open("GET", "/events") as client:
        head = client.response_head()
        assert head.one("content-type") == b"text/event-stream"
        pieces = iter(client.pieces(head))
        for expected in (b"data", b": x\n", b"\n\n\n\n"):
            step.take()
            assert next(pieces) == expected
        step.take()
        assert list(pieces) == []
        assert head.end == "whole"


@pytest.mark.everywhere
@pytest.mark.parametrize("via", VIA)
def test_the_head_arrives_before_a_byte_of_the_body(
    portal: Portal, serve: Serve, via: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(EVENT + b"\r\n")

    site = portal.mount(serve(play), via=via)
    with site.open() as client:
        assert client.response_head().status == 200
        assert client.silent(0.1)


@pytest.mark.everywhere
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_arrives_while_the_client_holds_the_rest(
    portal: Portal, serve: Serve, framing: str
) -> None:
    # gunicorn's read(n) waits until there are n bytes, and 64 KiB are asked for.
    first, rest = b"a" * 70_000, b"b" * 70_000
    came = Step()

    def play(conn: Conn) -> None:
        message = conn.request(body=False)
        pieces = iter(conn.pieces(message))
        got = b""
        while len(got) < 60_000:
            got += next(pieces)
        assert set(got) == {ord("a")}
        came.take()
        for piece in pieces:
            got += piece
        assert got == first + rest
        conn.reply(b"got it")

    site = portal.mount(serve(play))
    field = (b"Content-Length", b"140000")
    pieces = [first, rest]
    if framing == "chunked":
        field = (b"Transfer-Encoding", b"chunked")
        pieces = [chunked(first, last=False), chunked(rest)]
    with site.open("POST", "/up", [field]) as client:
        client.send(pieces[0])
        came.wait()
        client.send(pieces[1])
        assert client.answer().body == b"got it"


def test_a_small_piece_of_an_upload_is_passed_on_at_once_under_asgi(
    portal: Portal, serve: Serve
) -> None:
    came = Step()

    def play(conn: Conn) -> None:
        message = conn.request(body=False)
        pieces = iter(conn.pieces(message))
        got = next(pieces)
        came.take()
        conn.reply(got + b"|" + b"".join(pieces))

    site = portal.mount(serve(play))
    with site.open("POST", "/up", [(b"Transfer-Encoding", b"chunked")]) as client:
        client.send(chunked(b"x", last=False))
        if portal.asgi:  # gunicorn's read(n) waits for n bytes or the end.
            came.wait()
        client.send(chunked(b"y"))
        answer = client.answer()
    assert answer.body == (b"x|y" if portal.asgi else b"xy|")


@pytest.mark.parametrize("via", VIA)
def test_a_client_that_does_not_read_holds_the_session_up(
    portal: Portal, serve: Serve, via: str
) -> None:
    offered = 64 * MiB
    accepted = 0

    def play(conn: Conn) -> None:
        nonlocal accepted
        conn.request()
        conn.send(EVENT + b"Content-Length: %d\r\n\r\n" % offered)
        conn.sock.settimeout(0.4)
        piece = bytes(65_536)
        try:
            while accepted < offered:
                accepted += conn.sock.send(piece)
        except TimeoutError:
            held_up.set()
        conn.finish()

    held_up = threading.Event()
    site = portal.mount(serve(play), via=via)
    with portal.connect(receive_buffer=65_536) as client:
        client.send(site.raw())
        head = client.response_head()
        assert held_up.wait(PATIENCE), f"all of {accepted} bytes were taken"
        assert accepted < BOUND
        # Nothing is lost by the wait.
        assert sum(map(len, client.pieces(head))) == accepted
        assert head.end == "broken"
        print(f"{portal.server} {via}: {accepted / MiB:.1f} MiB taken unread")


@pytest.mark.parametrize("via", VIA)
def test_a_session_that_does_not_read_holds_the_client_up(
    portal: Portal, serve: Serve, via: str
) -> None:
    offered = 64 * MiB
    go_on = threading.Event()

    def play(conn: Conn) -> None:
        message = conn.request(body=False)
        assert go_on.wait(PATIENCE)
        size = sum(map(len, conn.pieces(message)))
        conn.reply(b"%d" % size)

    upstream = serve(play, receive_buffer=65_536)
    site = portal.mount(upstream, via=via)
    field = (b"Content-Length", b"%d" % offered)
    with site.open("POST", "/up", [field]) as client:
        accepted = fill(client, offered, patience=0.4)
        assert accepted < BOUND
        go_on.set()
        client.send(bytes(offered - accepted))
        assert client.answer().body == b"%d" % offered
    print(f"{portal.server} {via}: {accepted / MiB:.1f} MiB taken unread")


def fill(client: Wire, offered: int, *, patience: float) -> int:
    """Send until nothing is taken for so long; how many bytes were."""
    accepted = 0
    piece = bytes(65_536)
    client.sock.settimeout(patience)
    try:
        while accepted < offered:
            accepted += client.sock.send(piece[: offered - accepted])
    except TimeoutError:
        return accepted
    finally:
        client.sock.settimeout(PATIENCE)
    return accepted


@pytest.mark.everywhere
def test_large_bodies_are_exact_in_both_directions(
    portal: Portal, serve: Serve
) -> None:
    body = b"".join(b"%08x" % number for number in range(1 << 20))

    def play(conn: Conn) -> None:
        conn.reply(conn.request().body)

    site = portal.mount(serve(play))
    started = time.monotonic()
    with portal.connect() as client:
        sender = threading.Thread(
            target=client.send, args=(site.raw("POST", "/echo", body=body),)
        )
        sender.start()
        answer = client.answer()
        sender.join()
    assert answer.body == body
    print(
        f"{portal.server}: 8 MiB there and back in {time.monotonic() - started:.2f} s"
    )


def test_both_directions_at_once(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        message = conn.request(body=False)
        # In the same moment as the first piece of the upload.
        conn.send(EVENT + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in conn.pieces(message):
            conn.send(chunked(piece, last=False))
        conn.send(b"0\r\n\r\n")

    site = portal.mount(serve(play))
    # Under WSGI reading the upload blocks, so nothing comes back meanwhile.
    size, ahead = (10, 1) if portal.asgi else (70_000, 3)
    sent = [b"%d" % round * size for round in range(4)]
    with site.open("POST", "/chat", [(b"Transfer-Encoding", b"chunked")]) as client:
        client.send(chunked(*sent[:ahead], last=False))
        if not portal.asgi:
            client.send(chunked(*sent[ahead:]))
        head = client.response_head()
        echoed = iter(client.pieces(head))
        if portal.asgi:
            assert next(echoed) == sent[0]
            for piece in sent[1:]:
                client.send(chunked(piece, last=False))
                assert next(echoed) == piece
            client.send(b"0\r\n\r\n")
            assert list(echoed) == []
        else:
            assert b"".join(echoed) == b"".join(sent)
        assert head.end == "whole"


def test_a_response_without_a_length_ends_with_the_connection(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\n\r\nhello ")
        conn.send(b"world")
        conn.finish()

    answer = portal.mount(serve(play)).request()
    assert answer.body == b"hello world"
    assert answer.end == "whole"


def test_an_empty_response_is_whole(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(response(b""))
        conn.request()
        conn.send(EVENT + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    site = portal.mount(serve(play))
    for _ in range(2):
        answer = site.request()
        assert (answer.status, answer.body, answer.end) == (200, b"", "whole")
