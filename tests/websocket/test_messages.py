"""What is relayed: messages of all kinds, both ways, in order."""

from __future__ import annotations

import threading

import pytest
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_sockets

from ..support import frames
from ..support.servers import Portal
from ..support.upstream import Conn
from .conftest import Connect, Serve, echo, raw, record

MESSAGES: list[str | bytes] = [
    "text",
    b"binary\x00\xff",
    "z\u00fcrich \U0001f600",
    "x" * 125,
    b"y" * 126,
    "z" * 65_536,
    bytes(1_000_000),
]


def test_messages_come_back_as_they_were_sent(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    site = portal.mount(serve(echo))
    client = connect(site)
    for message in MESSAGES:
        client.send(message)
        assert client.recv(10) == message
    # All at once, so that their order shows.
    numbered = [f"{number} of many" for number in range(200)]
    for text in numbered:
        client.send(text)
    assert [client.recv(10) for _ in numbered] == numbered
    client.close()
    found = record(site)
    count = len(MESSAGES) + len(numbered)
    assert (found["messages_received"], found["messages_sent"]) == (count, count)
    size = sum(
        len(each.encode() if isinstance(each, str) else each)
        for each in [*MESSAGES, *numbered]
    )
    assert (found["bytes_received"], found["bytes_sent"]) == (size, size)


def test_empty_messages(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    client = connect(portal.mount(serve(echo)))
    for empty in ("", b""):
        client.send(empty)
        if name != "daphne":  # It drops those to the client.
            assert client.recv(10) == empty
    client.send("x")
    assert client.recv(10) == "x"


def test_fragments_are_put_together(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        encoded = "z\u00fcrich".encode()
        conn.send(frames.frame(frames.TEXT, encoded[:2], fin=False))
        conn.send(frames.frame(frames.PING, b"between"))
        conn.send(frames.frame(frames.CONT, b"", fin=False))
        conn.send(frames.frame(frames.CONT, encoded[2:]))
        conn.send(frames.frame(frames.BINARY, b"a", fin=False))
        conn.send(frames.frame(frames.CONT, b"b"))
        got.extend(frames.until_closed(conn))

    got: list[frames.Frame] = []
    upstream = serve(play)
    client = connect(portal.mount(upstream))
    assert client.recv(10) == "z\u00fcrich"
    assert client.recv(10) == b"ab"
    client.send(["one ", "two ", "three"])
    client.close()
    assert upstream.all_gone(5)
    pong, message, _ = got
    assert (pong.opcode, pong.data) == (frames.PONG, b"between")
    assert (message.opcode, message.data) == (frames.TEXT, b"one two three")
    assert message.fin


def test_pings_are_answered_on_each_leg(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn, first=frames.frame(frames.PING, b"early"))
        got.append(frames.take(conn))
        conn.send(frames.frame(frames.TEXT, b"done"))

    got: list[frames.Frame] = []
    with raw(portal.mount(serve(play))) as client:
        assert frames.take(client).data == b"done"
        client.send(frames.frame(frames.PING, b"client's", masked=True))
        pong = frames.take(client)
    assert (pong.opcode, pong.data) == (frames.PONG, b"client's")
    assert [(each.opcode, each.data) for each in got] == [(frames.PONG, b"early")]


def test_messages_that_come_with_the_acceptance_are_the_first(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    def play(conn: Conn) -> None:
        hello = frames.frame(frames.TEXT, b"hello")
        frames.accept(conn, first=hello + frames.frame(frames.BINARY, b"again"))
        frames.take(conn)

    client = connect(portal.mount(serve(play)))
    assert client.recv(10) == "hello"
    assert client.recv(10) == b"again"


def test_many_sockets_keep_their_messages_apart(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    site = portal.mount(serve(echo))
    clients = [connect(site) for _ in range(20)]
    for turn in range(5):
        for number, client in enumerate(clients):
            client.send(f"{number}/{turn}")
    for number, client in enumerate(clients):
        expected = [f"{number}/{turn}" for turn in range(5)]
        assert [client.recv(10) for _ in expected] == expected
    assert site.in_flight() == 20
    for client in clients:
        client.close()
    assert site.idle()


@pytest.mark.engine
def test_a_session_may_be_offered_compression(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    def answer(ws: ServerConnection) -> None:
        extensions.append(ws.protocol.extensions)
        for message in ws:
            ws.send(message)

    extensions: list[object] = []
    with serve_sockets(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        for via in ("", "packed"):
            client = connect(portal.mount(url, via=via))
            client.send("x" * 100_000)
            assert client.recv(10) == "x" * 100_000
            client.close()
        server.shutdown()
        thread.join()
    plain, packed = extensions
    assert not plain
    assert packed
