"""The end of a worker: what runs is given its time and is then broken off, visibly.

The servers are ended for real (SIGTERM). What those do that take no time for it is in
test_instead_bodies.py, and what all do without `drain_at` in test_departures.py.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

from ..support import contract
from ..support.contract import check
from ..support.instead import INSTEAD
from ..support.servers import Portal, Site
from ..support.upstream import Conn
from ..support.wire import PATIENCE, Message, Wire, chunked
from .conftest import Serve

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DRAIN = 1.0
"""Of the portal's proxy `ending`."""

ENDED = (0, -signal.SIGTERM)
"""uvicorn raises the signal again when it is through."""


def play(conn: Conn) -> None:
    """The beginning of a stream; what follows, the tests send."""
    if conn.request().target != b"/silent":
        conn.send(STREAM + chunked(b"first", last=False))


def opened(site: Site, path: str) -> tuple[Wire, Message, Iterator[bytes]]:
    """A stream under way."""
    client = site.open("GET", path)
    head = client.response_head()
    pieces = iter(client.pieces(head))
    assert next(pieces) == b"first"
    return client, head, pieces


def recorded(portal: Portal, site: Site, path: str) -> str:
    """The line of the access record, less the path."""
    marked = f"GET {site.public}{path} "
    [line] = [each for each in portal.log.splitlines() if marked in each]
    return line.partition(marked)[2]


def test_what_runs_when_the_server_ends_gets_its_time(
    server: str, tmp_path: Path, serve: Serve
) -> None:
    """A stream is broken off when the time is up, what ends before that ends whole,
    and what has no reply by then gets one."""
    several = server not in INSTEAD["one_at_a_time"].servers
    with Portal(server, tmp_path, grace=10) as portal:
        upstream = serve(play)
        site = portal.mount(upstream, via="ending")
        client, head, pieces = opened(site, "/events")
        if several:
            silent = site.open("GET", "/silent")
            upstream.connection(1)
            short, short_head, rest = opened(site, "/short")
        told = time.monotonic()
        portal.terminate()
        upstream.connection().send(chunked(b"second", last=False))
        assert next(pieces) == b"second"
        if several:
            with short:
                upstream.connection(2).send(chunked(b"second"))
                assert b"".join(rest) == b"second"
                assert short_head.end == "whole"
            with silent:
                check(silent.answer(), contract.DRAINING)
        with client:
            assert list(pieces) == []
            assert head.end == "broken"
            assert time.monotonic() - told > DRAIN - 0.1
        assert upstream.connection().gone.wait(PATIENCE)
        assert portal.ended() in ENDED
        assert upstream.all_gone(PATIENCE)
        assert "Traceback" not in portal.log
        assert recorded(portal, site, "/events") == "200 session draining"
        if several:
            assert recorded(portal, site, "/short") == "200 session completed"
            assert recorded(portal, site, "/silent") == "503 proxy draining"


def test_draining_without_an_end_refuses_what_is_new(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve(play)
    site = portal.mount(upstream, via="gentle")
    client, head, pieces = opened(site, "/events")
    try:
        with client:
            for _ in range(2):
                portal.control("drain", name="gentle")
            check(site.request("GET", "/silent"), contract.DRAINING)
            check(site.request("HEAD", "/x"), contract.DRAINING, to="HEAD")
            upstream.connection().send(chunked(b"second", last=False))
            assert next(pieces) == b"second"
            if portal.expected.breaks_off:
                assert list(pieces) == []
                assert head.end == "broken"
            assert upstream.all_gone(2.0)
        assert site.idle()
        assert len(upstream.connections) == 1
    finally:
        portal.control("resume", name="gentle")
    with site.open("GET", "/short") as client:
        assert client.response_head().status == 200
