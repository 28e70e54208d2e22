"""Endings that a server has a say in: what client and session see of each."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

import pytest

from ..support.servers import Portal
from ..support.upstream import Conn
from ..support.wire import chunked
from .conftest import Serve
from .test_draining import recorded
from .test_endings import STREAM, streaming


@pytest.mark.everywhere
def test_a_client_that_resets_ends_the_sessions_stream(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM)
        while True:
            conn.send(chunked(bytes(100), last=False))
            if conn.gone.wait(0.02):
                return

    upstream = serve(play)
    site = portal.mount(upstream)
    client = site.open()
    client.response_head()
    linger = struct.pack("ii", 1, 0)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.close()
    # Seen at once or, where the server cannot, by the next writes.
    assert site.idle()
    lines = [line for line in portal.log.splitlines() if site.id in line]
    assert [line for line in lines if ".access:" in line][-1].endswith(
        "200 session client_disconnected"
    )


@pytest.mark.everywhere
def test_a_client_that_closes_its_half(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        if not conn.gone.wait(0.4):
            conn.reply(b"late")

    site = portal.mount(serve(play))
    with site.open() as client:
        client.sock.shutdown(socket.SHUT_WR)
        if portal.expected.half_close:
            answer = client.answer()
            assert (answer.status, answer.body) == (200, b"late")
        else:  # For the server, or for us on its socket, that client has left.
            while client.fill():
                pass
            assert b"late" not in client.buffer
    assert site.idle()


@pytest.mark.everywhere
def test_a_server_that_is_stopped_while_a_stream_runs(
    server: str, tmp_path: Path, serve: Serve
) -> None:
    upstream = serve(streaming)
    with Portal(server, tmp_path) as portal:
        site = portal.mount(upstream)
        client = site.open()
        head = client.response_head()
        pieces = iter(client.pieces(head))
        assert next(pieces) == b"first"
        stopped = time.monotonic()
    print(f"{server}: stopped in {time.monotonic() - stopped:.1f} s")
    with client:
        assert list(pieces) == []
        # A truncation shows, whoever caused it.
        assert head.end == "broken"
    assert upstream.all_gone(1.0)
    if portal.expected.cancels:
        assert recorded(portal, site, "/") == "200 session cancelled"
