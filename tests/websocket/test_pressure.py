"""Who reads slowly holds up who sends, and little is kept in between."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from ..support import frames
from ..support.servers import Portal
from ..support.upstream import Conn
from ..support.wire import PATIENCE, Wire
from .conftest import Serve, echo, raw, record

PIECE = 64 * 1024
MOST = 24 * 1024 * 1024
"""Bytes that two pairs of kernel buffers and the proxy may take in together."""
LITTLE = 16 * 1024 * 1024
"""Bytes that the server's process may grow by."""


def memory(portal: Portal) -> int:
    """Bytes that the server's process has."""
    found: int = portal.control("state", collect=True)["memory"]
    return found


def flood(wire: Wire, data: bytes, stop: threading.Event) -> int:
    """Send the same again and again until it is not taken for a second; how often."""
    count = 0
    wire.sock.settimeout(1.0)
    try:
        while not stop.is_set() and count * len(data) < 4 * MOST:
            wire.send(data)
            count += 1
    except TimeoutError:
        pass  # Part of it may be out: what follows is no frame any more.
    return count


def test_a_client_that_does_not_read_holds_up_the_session(
    portal: Portal, serve: Serve, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        conn.sock.settimeout(1.0)
        number = 0
        try:
            while number * PIECE < 4 * MOST:
                conn.send(frames.frame(frames.BINARY, number.to_bytes(PIECE)))
                number += 1
        except TimeoutError:
            pass
        sent.append(number)
        held.set()

    sent: list[int] = []
    held = threading.Event()
    before = memory(portal)
    site = portal.mount(serve(play))
    with raw(site) as client:
        assert held.wait(60)
        if name == "daphne":  # It keeps for its clients whatever it is given.
            return
        assert sent[0] * PIECE < MOST
        assert memory(portal) - before < LITTLE
        # What was let through comes, in order.
        for number in range(sent[0]):
            got = frames.take(client)
            assert int.from_bytes(got.data) == number
    assert site.idle()


def test_a_session_that_does_not_read_holds_up_the_client(
    portal: Portal, serve: Serve, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        go.wait(60)
        for number in range(sent):
            assert int.from_bytes(frames.take(conn).data) == number
        done.set()

    go, done, sent = threading.Event(), threading.Event(), 0
    before = memory(portal)
    site = portal.mount(serve(play, receive_buffer=PIECE))
    with raw(site) as client:
        client.sock.settimeout(1.0)
        try:
            while sent * PIECE < 4 * MOST:
                data = frames.frame(frames.BINARY, sent.to_bytes(PIECE), masked=True)
                client.send(data)
                sent += 1
        except TimeoutError:
            pass
        if name != "daphne":  # It takes whatever its clients send.
            assert sent * PIECE < MOST
            assert memory(portal) - before < LITTLE
        go.set()
        assert done.wait(60)


@pytest.mark.engine
def test_the_smallest_messages_do_not_fill_the_memory(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        flood(conn, frames.frame(frames.TEXT, b"x") * 10_000, stop)
        held.set()

    stop, held = threading.Event(), threading.Event()
    before = memory(portal)
    site = portal.mount(serve(play))
    with raw(site, receive_buffer=4096):
        assert held.wait(120)
        assert memory(portal) - before < LITTLE


@pytest.mark.engine
def test_pings_that_are_not_listened_to_do_not_fill_the_memory(
    portal: Portal, serve: Serve
) -> None:
    """A session that only pings, and reads no pong."""

    def play(conn: Conn) -> None:
        frames.accept(conn)
        conn.sock.settimeout(60)
        for _ in range(150):
            conn.send(frames.frame(frames.PING, bytes(125)) * 1000)
        conn.send(frames.frame(frames.TEXT, b"still there"))
        sent.set()

    sent = threading.Event()
    before = memory(portal)
    site = portal.mount(serve(play, receive_buffer=4096))
    with raw(site) as client:
        client.sock.settimeout(60)
        assert frames.take(client).data == b"still there"
        assert sent.wait(PATIENCE)
        # The pongs would be 19 MiB.
        assert memory(portal) - before < LITTLE / 2


@pytest.mark.engine
def test_fragments_without_end_are_too_large(portal: Portal, serve: Serve) -> None:
    """Each of them is an object to most; here they are bytes, and counted."""

    def play(conn: Conn) -> None:
        frames.accept(conn)
        conn.send(frames.frame(frames.BINARY, b"x", fin=False))
        piece = frames.frame(frames.CONT, b"x", fin=False) * 10_000
        for _ in range(11):
            conn.send(piece)
        closing.append(frames.until_closed(conn)[-1].code)

    closing: list[int | None] = []
    before = memory(portal)
    upstream = serve(play)
    site = portal.mount(upstream, via="small")
    with raw(site) as client:
        assert frames.take(client).code == 1014
    assert upstream.all_gone(PATIENCE)
    assert closing == [1009]
    assert memory(portal) - before < LITTLE
    assert record(site)["end_reason"] == "message_too_large"


def test_what_the_client_sent_before_it_closed_arrives(
    portal: Portal, serve: Serve
) -> None:
    """Also when the session takes its time."""

    def play(conn: Conn) -> None:
        frames.accept(conn)
        left.wait(PATIENCE)
        time.sleep(0.3)
        got.extend(frames.until_closed(conn))
        done.set()

    left, done = threading.Event(), threading.Event()
    got: list[frames.Frame] = []
    site = portal.mount(serve(play, receive_buffer=4096))
    with raw(site) as client:
        for _ in range(8):
            client.send(frames.frame(frames.BINARY, bytes(PIECE), masked=True))
        client.send(frames.closing(1000, masked=True))
        left.set()
        assert done.wait(PATIENCE)
    assert [len(each.data) for each in got[:-1]] == [PIECE] * 8


def test_sockets_leave_nothing_behind(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve(echo))

    def some() -> None:
        for number in range(30):
            client = raw(site)
            client.send(frames.frame(frames.TEXT, b"x", masked=True))
            assert frames.take(client).data == b"x"
            if number % 3 == 0:
                client.sock.shutdown(socket.SHUT_RDWR)
            elif number % 3 == 1:
                client.send(frames.closing(1000, masked=True))
                assert frames.take(client).opcode == frames.CLOSE
            client.close()

    some()
    before = settled(portal)
    some()
    assert site.idle()
    # hypercorn keeps what a closed connection had for as long as keep-alive lasts,
    # also of those that ask here.
    for patience in (0.1, 0.5, 2, 6, 6):
        after = settled(portal)
        if after <= before:
            return
        time.sleep(patience)
    raise AssertionError((before, after))


def settled(portal: Portal) -> tuple[int, int]:
    """Tasks and descriptors of the process."""
    state = portal.settled()
    return state["tasks"], state["descriptors"]
