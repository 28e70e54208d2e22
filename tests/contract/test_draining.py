"""The end of a worker: what runs is given its time and is then broken off, visibly.

uvicorn and gunicorn are ended for real (SIGTERM).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..support import contract
from ..support.contract import check
from ..support.expectations import WHOLE
from ..support.servers import Portal, Site
from ..support.upstream import Conn
from ..support.wire import Message, Wire, chunked
from .conftest import Serve

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DRAIN = 1.0
"""Of the portal's proxy `ending`."""

ENDED = (0, -signal.SIGTERM)
"""uvicorn raises the signal again when it is through."""

Start = Callable[[int], Portal]


@pytest.fixture(params=WHOLE)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Start a server of one's own; `grace` is what it gives its requests itself."""
    running: list[Portal] = []

    def begin(grace: int) -> Portal:
        running.append(Portal(request.param, tmp_path, grace=grace))
        return running[-1]

    yield begin
    for each in running:
        each.__exit__()


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


def test_a_stream_gets_its_time_and_is_then_broken_off(
    start: Start, serve: Serve
) -> None:
    portal = start(10)
    upstream = serve(play)
    site = portal.mount(upstream, via="ending")
    client, head, pieces = opened(site, "/events")
    with client:
        told = time.monotonic()
        portal.terminate()
        upstream.connection().send(chunked(b"second", last=False))
        assert next(pieces) == b"second"
        assert list(pieces) == []
        assert head.end == "broken"
        assert DRAIN - 0.1 < time.monotonic() - told < DRAIN + 2.0
    assert upstream.all_gone(1.0)
    assert portal.ended() in ENDED
    assert "Traceback" not in portal.log
    assert recorded(portal, site, "/events") == "200 session draining"


def test_a_request_that_ends_in_its_time_ends_whole(start: Start, serve: Serve) -> None:
    portal = start(10)
    upstream = serve(play)
    site = portal.mount(upstream, via="ending")
    client, head, pieces = opened(site, "/short")
    with client:
        portal.terminate()
        time.sleep(DRAIN / 4)  # The signal has come by then.
        upstream.connection().send(chunked(b"second"))
        assert b"".join(pieces) == b"second"
        assert head.end == "whole"
    assert portal.ended() in ENDED
    assert "Traceback" not in portal.log
    assert recorded(portal, site, "/short") == "200 session completed"


def test_a_request_without_a_reply_is_answered_when_the_time_is_up(
    start: Start, serve: Serve
) -> None:
    portal = start(10)
    upstream = serve(play)
    site = portal.mount(upstream, via="ending")
    with site.open("GET", "/silent") as client:
        upstream.connection()
        time.sleep(0.1)
        portal.terminate()
        check(client.answer(), contract.DRAINING)
    assert upstream.all_gone(1.0)
    assert portal.ended() in ENDED
    assert "Traceback" not in portal.log
    assert recorded(portal, site, "/silent") == "503 proxy draining"


def test_what_the_server_ends_by_itself_is_broken_off_too(
    start: Start, serve: Serve
) -> None:
    """Without `drain_at`: the server's own time-out cancels or kills."""
    portal = start(1)
    upstream = serve(play)
    site = portal.mount(upstream)
    client, head, pieces = opened(site, "/events")
    with client:
        portal.terminate()
        assert list(pieces) == []
        assert head.end == "broken"
    assert upstream.all_gone(2.0)
    portal.ended()
    if portal.asgi:
        assert recorded(portal, site, "/events") == "200 session cancelled"


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
            assert list(pieces) == [b"second"]
            assert head.end == "broken"
        assert upstream.all_gone(1.0)
        assert site.idle()
        assert len(upstream.connections) == 1
    finally:
        portal.control("resume", name="gentle")
    with site.open("GET", "/short") as client:
        assert client.response_head().status == 200
