"""A session ends while requests to it are under way: they are broken off."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.upstream import Conn, Upstream, response
from ..support.wire import PATIENCE, Message, Wire, chunked
from .conftest import Serve
from .test_access_records import ended

pytestmark = pytest.mark.engine

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
AT_ONCE = 2.0
"""Seconds, on a busy machine. Nobody has to ask for it: the process knows."""


def play(conn: Conn) -> None:
    """The beginning of a stream, or nothing at all."""
    if conn.request(body=False).target != b"/silent":
        conn.send(STREAM + chunked(b"first", last=False))


def begun(site: Site) -> tuple[Wire, Message, Iterator[bytes]]:
    """A stream under way."""
    client = site.open("GET", "/events")
    head = client.response_head()
    pieces = iter(client.pieces(head))
    assert next(pieces) == b"first"
    return client, head, pieces


def end(site: Site) -> float:
    """End it; when that was."""
    assert site.portal.control("end", service=site.service, id=site.id)
    return time.monotonic()


def test_a_stream_of_a_session_that_ends_is_broken_off(
    portal: Portal, serve: Serve
) -> None:
    upstream, other = serve(play), serve(play)
    site, neighbour = portal.mount(upstream, via="v1"), portal.mount(other, via="v1")
    client, head, pieces = begun(site)
    spared, spared_head, spared_pieces = begun(neighbour)
    with client, spared:
        told = end(site)
        assert list(pieces) == []
        assert head.end == "broken"
        assert time.monotonic() - told < AT_ONCE
        assert upstream.all_gone(AT_ONCE)
        assert ended(site) == (200, "session", "session_ended")
        other.connection().send(chunked(b"second"))
        assert b"".join(spared_pieces) == b"second"
        assert spared_head.end == "whole"
    assert site.idle()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_waits_for_its_answer_is_not_found_when_the_session_ends(
    portal: Portal, serve: Serve, method: str
) -> None:
    upstream = serve(play)
    site = portal.mount(upstream, via="v1")
    body = b"hello" if method == "POST" else None
    with site.open(method, "/silent", body=body) as client:
        upstream.connection()
        time.sleep(0.1)
        told = end(site)
        check(client.answer(), contract.SESSION_NOT_FOUND)
        assert time.monotonic() - told < AT_ONCE
    assert upstream.all_gone(AT_ONCE)
    assert ended(site) == (404, "proxy", "session_not_found")


def test_an_upload_under_way_is_broken_off_when_the_session_ends(
    portal: Portal, serve: Serve
) -> None:
    """Under WSGI with the next piece that the client sends: until then its thread
    waits for the client."""
    upstream = serve(play)
    site = portal.mount(upstream, via="v1")
    with site.open("POST", "/silent", [(b"Content-Length", b"1000000")]) as client:
        client.send(bytes(100_000))
        upstream.connection()
        time.sleep(0.1)
        end(site)
        if not portal.asgi:
            client.send(bytes(200_000))
        check(client.answer(), contract.SESSION_NOT_FOUND)
    assert upstream.all_gone(AT_ONCE)


def test_a_session_whose_time_is_over_is_broken_off_soon(
    portal: Portal, serve: Serve
) -> None:
    """Nobody says so: it is asked for every second."""
    upstream = serve(play)
    site = portal.mount(upstream, via="v1", ttl=1.0)
    client, head, pieces = begun(site)
    with client:
        assert list(pieces) == []
        assert head.end == "broken"
    assert ended(site) == (200, "session", "session_ended")


def test_a_session_that_is_touched_in_time_or_registered_anew_goes_on(
    portal: Portal, serve: Serve
) -> None:
    """A server that registers again is the same one, as often as not."""
    upstream = serve(play)
    site = portal.mount(upstream, via="v1", ttl=1.0)
    client, head, pieces = begun(site)
    with client:
        portal.mount(upstream, via="v1", id=site.id)
        time.sleep(3.0)
        upstream.connection().send(chunked(b"second"))
        assert b"".join(pieces) == b"second"
        assert head.end == "whole"


def test_the_answer_to_the_request_that_ended_it_arrives(
    portal: Portal, serve: Serve
) -> None:
    """A call that hangs up: the bot has answered in full before it is ended."""
    site: list[Site] = []

    def hang_up(conn: Conn) -> None:
        conn.request()
        conn.send(response(b"x" * 150_000))
        end(site[0])

    for _ in range(5):
        site[:] = [portal.mount(serve(hang_up), via="v1")]
        answer = site[0].request("POST", "/hang-up", body=b"{}")
        assert (answer.status, len(answer.body), answer.end) == (200, 150_000, "whole")


def test_of_many_requests_to_many_sessions_those_of_one_are_broken_off(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve(play)
    service = f"life-{uuid.uuid4().hex[:8]}"
    sites = [portal.mount(upstream, via="v1", service=service) for _ in range(4)]
    streams = [begun(site) for site in sites for _ in range(4)]
    with contextlib.ExitStack() as stack:
        for client, _, _ in streams:
            stack.enter_context(client)
        check_one_alone_ends(upstream, sites[1], streams)


def check_one_alone_ends(
    upstream: Upstream, site: Site, streams: list[tuple[Wire, Message, Iterator[bytes]]]
) -> None:
    closed: list[str] = []

    def watch(head: Message, pieces: Iterator[bytes]) -> None:
        list(pieces)
        closed.append(head.end)

    threads = [
        threading.Thread(target=watch, args=(head, pieces))
        for _, head, pieces in streams
    ]
    for thread in threads:
        thread.start()
    end(site)
    finish = time.monotonic() + PATIENCE
    while len(closed) < 4:
        assert time.monotonic() < finish
        time.sleep(0.01)
    time.sleep(0.2)
    assert closed == ["broken"] * 4
    for conn in upstream.connections:
        if not conn.gone.is_set():
            conn.send(chunked(b"last"))
    for thread in threads:
        thread.join(PATIENCE)
    assert closed == ["broken"] * 4 + ["whole"] * 12
