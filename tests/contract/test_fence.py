"""A guard says that another session is at the address: what the proxy makes of it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.upstream import Conn, Play, Upstream, answering, response
from .conftest import Serve
from .test_access_records import ended

pytestmark = pytest.mark.engine

VIAS = ["", "httpx"]


def refusal(id: str) -> bytes:
    """As the guard of a bot says it."""
    fields = [(b"X-Session-Proxy-Guard", id.encode()), (b"Cache-Control", b"no-store")]
    return response(b"{}", status="421 Misdirected Request", headers=fields)


def reused(*, body: bool = True, then: Any = None) -> Play:
    """Where another session is by now; `then` happens before it says so."""

    def play(conn: Conn) -> None:
        while True:
            id = conn.request(body=body).one("x-daily-session-id").decode()
            if then is not None:
                then()
            conn.send(refusal(id))

    return play


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_session_that_is_not_where_it_is_registered_is_not_found(
    portal: Portal, serve: Serve, via: str, method: str
) -> None:
    upstream = serve(reused(body=method != "HEAD"))
    site = portal.mount(upstream, via=via)
    answer = site.request(method, body=b"{}" if method == "POST" else None)
    check(answer, contract.SESSION_NOT_FOUND, to=method)
    assert upstream.all_gone(1.0)
    assert len(upstream.requests) == 1
    assert ended(site) == (404, "proxy", "session_not_found")
    assert site.idle()


def test_no_connection_to_where_another_session_is_is_used_again(
    portal: Portal, serve: Serve
) -> None:
    """Not the one that the guard answered on, nor others that were idle."""
    answers = [response(b"ok"), response(b"ok"), None]

    def play(conn: Conn) -> None:
        while True:
            id = conn.request().one("x-daily-session-id").decode()
            conn.send(answers.pop(0) or refusal(id))

    upstream = serve(play)
    site = portal.mount(upstream)
    assert [site.request().status for _ in range(2)] == [200, 200]
    check(site.request(), contract.SESSION_NOT_FOUND)
    assert len(upstream.connections) == 1
    assert upstream.all_gone(1.0)


def move(portal: Portal, site: list[Site], new: Upstream) -> Any:
    """The session is registered somewhere else."""

    def register() -> None:
        [it] = site
        portal.control("register", service=it.service, id=it.id, upstream=new.url)

    return register


@pytest.mark.parametrize("via", VIAS)
def test_a_session_that_has_moved_is_reached_where_it_is(
    portal: Portal, serve: Serve, via: str
) -> None:
    new = serve(answering(response(b"here")))
    site: list[Site] = []
    old = serve(reused(then=move(portal, site, new)))
    site.append(portal.mount(old, via=via))
    answer = site[0].request(path="/x?y=1")
    assert (answer.status, answer.body) == (200, b"here")
    assert not answer.has("X-Session-Proxy-Guard")
    assert [each.target for each in (old.last, new.last)] == [b"/x?y=1"] * 2
    assert ended(site[0]) == (200, "session", "completed")
    assert old.all_gone(1.0)


def test_a_session_that_is_not_where_it_has_moved_either_is_not_found(
    portal: Portal, serve: Serve
) -> None:
    new = serve(reused())
    site: list[Site] = []
    old = serve(reused(then=move(portal, site, new)))
    site.append(portal.mount(old))
    check(site[0].request(), contract.SESSION_NOT_FOUND)
    assert (len(old.requests), len(new.requests)) == (1, 1)
    assert new.all_gone(1.0)


def test_a_body_that_was_begun_is_not_sent_to_where_the_session_has_moved(
    portal: Portal, serve: Serve
) -> None:
    new = serve()
    site: list[Site] = []
    old = serve(reused(then=move(portal, site, new)))
    site.append(portal.mount(old))
    check(site[0].request("POST", body=b"hello"), contract.MOVED)
    assert new.requests == []
    assert ended(site[0]) == (503, "proxy", "session_moved")
    assert site[0].request("POST", body=b"hello").status == 200


def test_a_body_of_which_nothing_has_come_is_not_sent_again_either(
    portal: Portal, serve: Serve
) -> None:
    """It was asked for, and under granian its first piece can be lost with that."""
    new = serve(answering(response(b"here")))
    site: list[Site] = []
    old = serve(reused(body=False, then=move(portal, site, new)))
    site.append(portal.mount(old))
    with site[0].open("POST", "/up", [(b"Content-Length", b"5")]) as client:
        if not portal.asgi:  # A body is read before its head is sent.
            client.send(b"hello")
        check(client.answer(), contract.MOVED)
    assert new.requests == []


OTHER = b"11111111-1111-4111-8111-111111111111"


@pytest.mark.parametrize("fields", [[], [(b"X-Session-Proxy-Guard", OTHER)]])
def test_a_421_of_the_sessions_own_passes(
    portal: Portal, serve: Serve, fields: list[tuple[bytes, bytes]]
) -> None:
    own = response(b"own", status="421 Misdirected Request", headers=fields)
    upstream = serve(answering(own))
    site = portal.mount(upstream)
    for _ in range(2):
        answer = site.request()
        assert (answer.status, answer.body, answer.ours) == (421, b"own", False)
        assert not answer.has("X-Session-Proxy-Guard")
    assert len(upstream.connections) == 1


def test_a_body_is_not_lost_with_a_kept_connection_whose_session_has_moved(
    portal: Portal, serve: Serve
) -> None:
    """Under WSGI the first piece is read before the connection is looked at, and that
    before another is made. Under ASGI the head has gone, and is sent once alone."""
    old = Upstream(answering(response(b"ok")))
    new = serve()
    site = portal.mount(old)
    try:
        assert site.request().status == 200
        with site.open("POST", "/up", [(b"Content-Length", b"10")]) as client:
            client.send(b"hello" if portal.asgi else b"")
            time.sleep(0.2)  # It has a connection by then.
            old.close()
            portal.mount(new, id=site.id)
            client.send(b"world" if portal.asgi else b"helloworld")
            expected = contract.UNREACHABLE if portal.asgi else contract.MOVED
            check(client.answer(), expected)
    finally:
        with contextlib.suppress(OSError):
            old.close()
    assert new.requests == []
