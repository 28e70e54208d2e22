"""What is remembered of requests and responses that are alike, on real servers: a row
that follows some that were let through comes at once, and answers stay apart."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.upstream import Conn, Upstream
from .conftest import Serve

VIA = "v1"
"""Its store answers at once, so that requests are recalled."""


def warmed(site: Site, upstream: Upstream, key: str) -> None:
    """Alike until the next one would be recalled."""
    before = len(upstream.requests)
    for _ in range(4):
        assert site.request("GET", "/x", key=key).status == 200
    assert len(upstream.requests) == before + 4


def revoke(portal: Portal, site: Site, key: str) -> None:
    assert portal.control("revoke_key", secret=key)


def end(portal: Portal, site: Site, key: str) -> None:
    assert portal.control("end", service=site.service, id=site.id)


def drain(portal: Portal, site: Site, key: str) -> None:
    assert portal.control("drain_session", service=site.service, id=site.id)


def unready(portal: Portal, site: Site, key: str) -> None:
    portal.control("put_service", name=site.service, ready=False)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (revoke, contract.WRONG_CREDENTIAL),
        (end, contract.SESSION_NOT_FOUND),
        (drain, contract.DRAINING),
        (unready, contract.NOT_READY),
    ],
)
def test_a_change_counts_from_the_next_request_on(
    portal: Portal,
    upstream: Upstream,
    change: Callable[[Portal, Site, str], None],
    row: contract.Row,
) -> None:
    key = f"pk_{uuid.uuid4().hex}"
    portal.control("create_key", secret=key)
    site = portal.mount(upstream, via=VIA, service=f"warm-{uuid.uuid4().hex[:8]}")
    warmed(site, upstream, key)
    reached = len(upstream.requests)
    change(portal, site, key)
    check(site.request("GET", "/x", key=key), row)
    assert len(upstream.requests) == reached


def test_a_session_that_has_moved_is_reached_where_it_is(
    portal: Portal, serve: Serve
) -> None:
    first, second = serve(), serve()
    site = portal.mount(first, via=VIA)
    warmed(site, first, "pk_test")
    portal.mount(second, via=VIA, id=site.id)
    warmed(site, second, "pk_test")
    assert len(first.requests) == 4


def test_requests_that_differ_in_one_thing_are_told_apart(
    portal: Portal, upstream: Upstream
) -> None:
    site = portal.mount(upstream, via=VIA)
    warmed(site, upstream, "pk_test")
    check(site.request("GET", "/x", key="pk_wrong"), contract.WRONG_CREDENTIAL)
    check(site.request("GET", "/x", key=None), contract.NO_CREDENTIAL)
    check(site.request("GET", "/bot"), contract.RESERVED_PATH)
    site.request("POST", "/x", body=b"abc")
    site.request("GET", "/x?a=%2F&b")
    site.request("GET", "/x", [(b"X-Own", b"1")])
    post, query, own = upstream.requests[-3:]
    assert (post.method, post.target, post.body) == (b"POST", b"/x", b"abc")
    assert (query.method, query.target) == (b"GET", b"/x?a=%2F&b")
    assert own.all("x-own") == [b"1"]
    ids = [each.all("x-request-id") for each in upstream.requests]
    assert len({*map(tuple, ids)}) == len(ids)


def test_answers_with_the_same_head_keep_their_bodies_and_ids(
    portal: Portal, serve: Serve
) -> None:
    """The head that was read before comes whole, in two pieces, and with bytes behind
    it that nobody asked for."""
    head = b"HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 5\r\n\r\n"
    served = 0

    def play(conn: Conn) -> None:
        nonlocal served
        while True:
            conn.request()
            served += 1
            body = b"%05d" % served
            if served % 4 == 3:
                conn.send(head + body[:2])
                time.sleep(0.02)
                conn.send(body[2:])
            elif served % 4 == 0:
                conn.send(head + body + head + b"wrong")
                return
            else:
                conn.send(head + body)

    site = portal.mount(serve(play), via=VIA)
    ids = set()
    for number in range(1, 13):
        answer = site.request("GET", "/x")
        assert (answer.status, answer.body) == (200, b"%05d" % number)
        assert answer.all("x-own") == [b"1"]
        [id] = answer.all("x-request-id")
        ids.add(id)
    assert len(ids) == 12
