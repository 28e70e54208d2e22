"""A WebSocket for a session that is elsewhere by now: the guard there refuses it."""

from __future__ import annotations

import pytest

from ..support import contract, frames
from ..support.contract import check
from ..support.frames import upgrade
from ..support.servers import Portal
from ..support.upstream import Conn, Play, response
from .conftest import Connect, Serve, record


def guarded(then: Play | None = None) -> Play:
    """Another session is there; `then` happens before its guard says so."""

    def play(conn: Conn) -> None:
        id = conn.request().one("x-daily-session-id")
        if then is not None:
            then(conn)
        fields = [(b"X-Session-Proxy-Guard", id)]
        conn.send(response(b"{}", status="421 Misdirected Request", headers=fields))

    return play


@pytest.mark.engine
def test_a_session_that_is_not_where_it_is_registered_is_not_found(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve(guarded())
    site = portal.mount(upstream)
    check(site.request("GET", "/ws", upgrade()), contract.SESSION_NOT_FOUND)
    assert len(upstream.connections) == 1
    assert site.idle()


@pytest.mark.engine
def test_a_session_that_has_moved_is_reached_where_it_is(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        frames.until_closed(conn)

    new = serve(play)

    def move(conn: Conn) -> None:
        portal.control("register", service=site.service, id=site.id, upstream=new.url)

    site = portal.mount(serve(guarded(move)))
    with site.open("GET", "/ws", upgrade()) as client:
        assert client.head().status == 101
    assert len(new.connections) == 1
    assert record(site)["status"] == 101
