"""Silence, keep-alive, time in all, and the end of the proxy itself."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from ..support import frames
from ..support.servers import Portal
from ..support.upstream import Conn
from ..support.wire import Broken
from .conftest import SERVERS, Connect, Serve, echo, raw, record
from .test_endings import closed, told


def pinged(conn: Conn) -> None:
    """Says nothing but pongs."""
    frames.accept(conn)
    while True:
        got = frames.take(conn)
        if got.opcode == frames.PING:
            conn.send(frames.frame(frames.PONG, got.data))


def deaf(conn: Conn) -> None:
    """Reads, and never answers."""
    frames.accept(conn)
    while True:
        frames.take(conn)


@pytest.mark.engine
def test_a_session_that_answers_pings_is_alive(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    upstream = serve(pinged)
    client = connect(portal.mount(upstream, via="pinging"))
    with pytest.raises(TimeoutError):
        client.recv(1.5)
    assert upstream.connection().received.count(b"\x89\x80") >= 3


@pytest.mark.engine
def test_a_session_that_answers_no_ping_is_lost(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    upstream = serve(deaf)
    site = portal.mount(upstream, via="pinging")
    began = time.monotonic()
    assert closed(connect(site))[0] == told(name, 1014)
    assert time.monotonic() - began > 0.5
    found = record(site)
    assert (found["end_reason"], found["close_code"]) == ("upstream_idle", 1014)


def test_silence_on_both_sides_ends(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    site = portal.mount(serve(echo), via="quick")
    client = connect(site)
    # Of what flows either side may be the source.
    for _ in range(8):
        client.send("x")
        assert client.recv(10) == "x"
        time.sleep(0.15)
    assert closed(client)[0] == told(name, 1001)
    found = record(site)
    assert (found["end_reason"], found["close_code"]) == ("idle", 1001)
    assert found["messages_received"] == 8


def test_a_client_that_takes_nothing_is_given_up(
    portal: Portal, serve: Serve, name: str
) -> None:
    if name == "daphne":
        return  # It takes everything in its place.

    def play(conn: Conn) -> None:
        frames.accept(conn)
        conn.sock.settimeout(30)
        for _ in range(400):
            conn.send(frames.frame(frames.BINARY, bytes(65536)))
        frames.until_closed(conn)

    upstream = serve(play)
    site = portal.mount(upstream, via="quick")
    with raw(site, receive_buffer=4096):
        assert upstream.connection().gone.wait(20)
        found = record(site)
    assert (found["end_reason"], found["close_code"]) == ("client_idle", 1011)
    assert site.idle()


def test_a_session_that_takes_nothing_is_given_up(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        done.wait(30)

    done = threading.Event()
    site = portal.mount(serve(play, receive_buffer=4096), via="quick")
    client = connect(site, close_timeout=1)

    def send() -> None:
        try:
            for _ in range(2000):
                client.send(bytes(65536))
        except ConnectionClosed:
            pass

    sending = threading.Thread(target=send)
    sending.start()
    try:
        found = record(site)
        assert (found["end_reason"], found["close_code"]) == ("upstream_idle", 1014)
        if name != "granian":  # It resets the connection of a client that sends.
            assert closed(client, 20)[0] == told(name, 1014)
    finally:
        client.socket.close()
        done.set()
        sending.join()


@pytest.mark.engine
def test_a_socket_has_its_time_in_all(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        while not conn.gone.wait(0.05):
            conn.send(frames.frame(frames.TEXT, b"tick"))

    site = portal.mount(serve(play), via="brief")
    assert closed(connect(site))[0] == told(name, 1001)
    assert record(site)["end_reason"] == "total_timeout"


def test_draining_closes_one_after_the_other(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        got.append(frames.until_closed(conn)[-1].code)

    got: list[int | None] = []
    upstream = serve(play)
    site = portal.mount(upstream, via="gentle")
    clients = [connect(site) for _ in range(10)]
    at: list[float] = []

    def wait(client: ClientConnection) -> None:
        codes.append(closed(client)[0])
        at.append(time.monotonic())

    codes: list[int] = []
    waiting = [threading.Thread(target=wait, args=(each,)) for each in clients]
    for thread in waiting:
        thread.start()
    began = time.monotonic()
    portal.control("drain", name="gentle")
    try:
        for thread in waiting:
            thread.join()
        assert codes == [told(name, 1012)] * 10
        if name != "daphne":  # It looks once a second at what is to be closed.
            # Ten random moments of 0.32 s.
            assert max(at) - min(at) > 0.02
        assert min(at) > began
        assert upstream.all_gone(5)
        assert got == [1012] * 10
        assert site.idle()
        records = portal.control("recorded", id=site.id)
        assert {each["end_reason"] for each in records} == {"draining"}
        assert {each["close_code"] for each in records} == {1012}
    finally:
        portal.control("resume", name="gentle")


def test_a_client_that_takes_no_close_is_broken_off(
    portal: Portal, serve: Serve, name: str
) -> None:
    if name == "daphne":
        return

    def play(conn: Conn) -> None:
        frames.accept(conn)
        conn.sock.settimeout(30)
        for _ in range(400):
            conn.send(frames.frame(frames.BINARY, bytes(65536)))
        frames.until_closed(conn)

    upstream = serve(play)
    site = portal.mount(upstream, via="gentle")
    with raw(site, receive_buffer=4096):
        time.sleep(0.3)
        portal.control("drain", name="gentle")
        try:
            assert upstream.connection().gone.wait(20)
            assert site.idle()
        finally:
            portal.control("resume", name="gentle")
    assert record(site)["end_reason"] == "draining"


@pytest.fixture(params=SERVERS)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Portal]]:
    """A server of one's own, to be ended."""
    server, library = SERVERS[request.param]
    with Portal(server, tmp_path, websockets=library, grace=3) as portal:
        yield request.param, portal


def test_a_server_that_is_stopped(
    own: tuple[str, Portal], serve: Serve, connect: Connect
) -> None:
    name, portal = own

    def play(conn: Conn) -> None:
        frames.accept(conn)
        with contextlib.suppress(Broken):
            got.append(frames.until_closed(conn)[-1].code)

    got: list[int | None] = []
    upstream = serve(play)
    site = portal.mount(upstream, via="ending")
    client = connect(site)
    portal.terminate()
    code: int | None = None
    try:
        client.recv(20)
    except ConnectionClosed as over:
        code = over.rcvd.code if over.rcvd is not None else None
    assert upstream.all_gone(10)
    portal.ended(20)
    if name in ("granian", "daphne"):  # They end, and tell nobody, or that they broke.
        assert code is None
        assert got in ([], [1011])
    else:
        assert (code, got) == (1012, [1012])
    assert "Traceback" not in portal.log
