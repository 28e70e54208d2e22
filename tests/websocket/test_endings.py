"""How a WebSocket ends: who closed it, who is lost, and what the other side is told."""

from __future__ import annotations

import socket
import struct
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from ..support import frames
from ..support.servers import Portal
from ..support.upstream import Conn
from ..support.wire import Wire
from .conftest import Connect, Serve, echo, raw, record

AT_ONCE = 0.1
"""Seconds in which the other side is told of a loss."""


def told(name: str, code: int) -> int:
    """The code that the client gets. daphne lets an application say few, and says 1011
    where it would say another."""
    return 1011 if name == "daphne" and 1000 < code < 3000 else code


def closed(client: ClientConnection, within: float = 10) -> tuple[int, str]:
    """Code and reason that the client gets; messages before it are skipped."""
    end = time.monotonic() + within
    try:
        while True:
            client.recv(max(0.0, end - time.monotonic()))
    except ConnectionClosed as over:
        assert over.rcvd is not None, "no closing frame"
        return over.rcvd.code, over.rcvd.reason


def reset(wire: Wire) -> None:
    """End the connection without a word."""
    linger = struct.pack("ii", 1, 0)
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wire.sock.close()


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (1000, "done"), (1001, "away"), (3000, ""), (4999, "\u00fc" * 61)],
    ids=lambda value: str(value)[:4],
)
def test_the_session_closes(
    portal: Portal, serve: Serve, connect: Connect, name: str, code: int, reason: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        conn.send(frames.frame(frames.TEXT, b"last"))
        if name == "daphne":
            # It closes the connection at once, in which case the client's library may
            # lose the message.
            frames.take(conn)
        conn.send(frames.closing(code, reason))
        got.append(frames.take(conn))
        frames.end(conn)

    got: list[frames.Frame] = []
    upstream = serve(play)
    site = portal.mount(upstream)
    client = connect(site)
    assert client.recv(10) == "last"
    if name == "daphne":  # It passes no reasons.
        client.send("go")
        assert closed(client) == (told(name, code), "")
    else:
        assert closed(client) == (code, reason)
    assert upstream.all_gone(5)
    assert [each.code for each in got] == [code]
    found = record(site)
    assert (found["status"], found["end_reason"]) == (101, "completed")
    assert (found["close_code"], found["answered_by"]) == (code, "session")


def test_the_session_closes_without_a_code(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn, first=frames.closing(None))
        frames.until_closed(conn)

    site = portal.mount(serve(play))
    # An application cannot leave it out: without one it means 1000.
    assert closed(connect(site)) == (1000, "")
    assert record(site)["close_code"] == 1005


def test_the_client_closes(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        got.extend(frames.until_closed(conn))

    for code, reason in ((1000, ""), (1001, "away"), (3000, ""), (4321, "bye")):
        got: list[frames.Frame] = []
        upstream = serve(play)
        site = portal.mount(upstream)
        client = connect(site)
        client.close(code, reason)
        assert client.protocol.close_rcvd is not None
        assert upstream.all_gone(5)
        if name == "hypercorn":  # It tells nobody how a client left.
            assert [each.code for each in got] == [1011]
            continue
        assert [each.code for each in got] == [code]
        assert record(site)["close_code"] == code
        assert record(site)["end_reason"] == "completed"
        if name not in ("daphne", "granian"):
            assert [each.reason for each in got] == [reason]


def test_the_client_closes_without_a_code(
    portal: Portal, serve: Serve, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        got.extend(frames.until_closed(conn))

    got: list[frames.Frame] = []
    upstream = serve(play)
    with raw(portal.mount(upstream)) as client:
        client.send(frames.closing(None, masked=True))
        assert frames.take(client).opcode == frames.CLOSE
    assert upstream.all_gone(5)
    # Two of them say of such a client what they say of one that is lost.
    expected = 1011 if name in ("hypercorn", "granian") else None
    assert [each.code for each in got] == [expected]


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_session_that_is_lost(
    portal: Portal, serve: Serve, connect: Connect, name: str, how: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn, first=frames.frame(frames.TEXT, b"last"))
        frames.take(conn)
        at.append(time.monotonic())
        conn.abort() if how == "reset" else conn.finish()

    at: list[float] = []
    site = portal.mount(serve(play))
    client = connect(site)
    assert client.recv(10) == "last"
    client.send("go")
    code, _ = closed(client)
    took = time.monotonic() - at[0]
    assert code == told(name, 1014)
    assert took < 10 * AT_ONCE
    print(f"{name}: told after {took * 1000:.1f} ms")
    found = record(site)
    assert (found["end_reason"], found["close_code"]) == ("upstream_closed", 1006)


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_that_is_lost(
    portal: Portal, serve: Serve, name: str, how: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        got.append(frames.take(conn))
        at.append(time.monotonic())
        frames.end(conn)

    got: list[frames.Frame] = []
    at: list[float] = []
    upstream = serve(play)
    site = portal.mount(upstream)
    client = raw(site)
    gone = time.monotonic()
    reset(client) if how == "reset" else client.close()
    assert upstream.all_gone(5)
    assert [each.code for each in got] == [1011]
    assert at[0] - gone < 10 * AT_ONCE
    print(f"{name}: told after {(at[0] - gone) * 1000:.1f} ms")
    found = record(site)
    assert (found["end_reason"], found["close_code"]) == ("client_disconnected", 1006)


VIOLATIONS: dict[str, tuple[bytes, int]] = {
    "reserved bits": (frames.frame(frames.TEXT, b"x", reserved=4), 1002),
    "a mask": (frames.frame(frames.TEXT, b"x", masked=True), 1002),
    "an opcode that is none": (frames.frame(3, b"x"), 1002),
    "a long ping": (frames.frame(frames.PING, bytes(126)), 1002),
    "the middle first": (frames.frame(frames.CONT, b"x"), 1002),
    "not UTF-8": (frames.frame(frames.TEXT, b"\xff"), 1007),
    "a code that is none": (frames.closing(1005), 1002),
    "half a code": (frames.frame(frames.CLOSE, b"\x03"), 1002),
}


@pytest.mark.engine
@pytest.mark.parametrize("what", VIOLATIONS)
def test_a_session_that_breaks_the_protocol(
    portal: Portal, serve: Serve, connect: Connect, name: str, what: str
) -> None:
    data, code = VIOLATIONS[what]

    def play(conn: Conn) -> None:
        frames.accept(conn, first=frames.frame(frames.TEXT, b"fine") + data)
        got.extend(frames.until_closed(conn))

    got: list[frames.Frame] = []
    upstream = serve(play)
    site = portal.mount(upstream)
    client = connect(site)
    assert client.recv(10) == "fine"
    assert closed(client)[0] == told(name, 1014)
    assert upstream.all_gone(5)
    assert [each.code for each in got] == [code]
    assert record(site)["end_reason"] == "upstream_protocol"


def test_a_message_of_the_session_that_is_too_large(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        sizes = [int(part) for part in frames.take(conn).data.split()]
        for part in sizes[:-1]:
            conn.send(frames.frame(frames.BINARY, bytes(part), fin=False))
        opcode = frames.CONT if len(sizes) > 1 else frames.BINARY
        conn.send(frames.frame(opcode, bytes(sizes[-1])))
        got.extend(frames.until_closed(conn))

    got: list[frames.Frame] = []
    site = portal.mount(serve(play), via="small")
    client = connect(site)
    client.send("100000")
    assert client.recv(10) == bytes(100_000)
    for sizes in ("100001", "60000 40001"):
        upstream = serve(play)
        site = portal.mount(upstream, via="small")
        client = connect(site)
        client.send(sizes)
        assert closed(client)[0] == told(name, 1014)
        assert upstream.all_gone(5)
        assert record(site)["end_reason"] == "message_too_large"
    assert [each.code for each in got if each.opcode == frames.CLOSE][-2:] == [1009] * 2


def test_a_message_of_the_client_that_is_too_large(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        got.extend(frames.until_closed(conn))

    for message in (bytes(100_001), "\u00fc" * 50_001):
        got: list[frames.Frame] = []
        upstream = serve(play)
        site = portal.mount(upstream, via="small")
        client = connect(site)
        client.send(bytes(100_000))
        client.send(message)
        assert closed(client)[0] == told(name, 1009)
        assert upstream.all_gone(5)
        assert [len(got[0].data), got[1].code] == [100_000, 1001]
        assert record(site)["end_reason"] == "message_too_large"


def test_a_session_that_ends_closes_its_sockets(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    upstream = serve(echo)
    site = portal.mount(upstream, via="v1")
    clients = [connect(site), connect(site)]
    other = portal.mount(upstream, via="v1")
    left_alone = connect(other)
    portal.control("end", service="my-agent", id=site.id)
    for client in clients:
        assert closed(client, 1.5)[0] == told(name, 1001)
    left_alone.send("x")
    assert left_alone.recv(10) == "x"
    left_alone.close()
    assert site.idle()
    records = portal.control("recorded", id=site.id)
    assert len(records) == 2
    for found in records:
        assert (found["end_reason"], found["close_code"]) == ("session_ended", 1001)


@pytest.mark.engine
def test_a_session_whose_time_is_up_closes_its_sockets(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    """As one that another process has ended: nobody tells this one."""
    site = portal.mount(serve(echo), ttl=1.0)
    client = connect(site)
    client.send("x")
    assert client.recv(10) == "x"
    assert closed(client)[0] == told(name, 1001)


@pytest.mark.engine
def test_a_session_that_is_registered_anew_closes_the_old_ones_sockets(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    upstream = serve(echo)
    site = portal.mount(upstream)
    client = connect(site)
    portal.control("register", service="my-agent", id=site.id, upstream=upstream.url)
    assert closed(client)[0] == told(name, 1001)
    connect(site).send("x")
