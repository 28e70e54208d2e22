"""How much is let through at once, and that every place is given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ..support import contract
from ..support.clocks import wait_until
from ..support.contract import check
from ..support.servers import Portal
from ..support.serving import THREADS
from ..support.upstream import Conn
from ..support.wire import PATIENCE, chunked
from .conftest import Serve
from .test_endings import STREAM, silent, streaming
from .test_streaming import Step


def test_the_requests_over_a_sessions_limit_are_refused(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve(silent)
    site = portal.mount(upstream, via="few")
    other = portal.mount(serve(), via="few")
    clients = [site.open() for _ in range(2)]
    upstream.connection(1)
    for method in ("GET", "POST", "HEAD"):
        answer = site.request(method, "/x", body=b"{}" if method == "POST" else None)
        check(answer, contract.TOO_MANY, to=method)
    assert len(upstream.connections) == 2
    assert other.request().status == 200
    # A place is free again as soon as its client has left.
    clients[0].close()
    wait_until(lambda: any(conn.gone.is_set() for conn in upstream.connections), 1.0)
    third = site.open()
    upstream.connection(2)
    check(site.request(), contract.TOO_MANY)
    third.close()
    clients[1].close()
    assert upstream.all_gone(1.0)
    assert site.idle()


@pytest.mark.everywhere
def test_a_place_is_held_until_the_last_byte(portal: Portal, serve: Serve) -> None:
    step = Step()

    def play(conn: Conn) -> None:
        while conn.request().target == b"/first":
            conn.send(STREAM + chunked(b"x", last=False))
            step.wait()
            conn.send(b"0\r\n\r\n")
        conn.send(STREAM)

    site = portal.mount(serve(play), via="few")
    with site.open("GET", "/first") as first, site.open("GET", "/second") as second:
        head = first.response_head()
        assert second.response_head().status == 200
        check(site.request(), contract.TOO_MANY)
        step.take()
        assert first.body(head).end == "whole"
        with site.open("GET", "/third") as third:
            assert third.response_head().status == 200
    assert site.idle()


@pytest.mark.parametrize("via", ["few", "perkey", "full"])
def test_every_limit_holds_until_the_last_byte(
    portal: Portal, serve: Serve, via: str
) -> None:
    row = contract.OVERLOADED if via == "full" else contract.TOO_MANY
    end_now = threading.Event()

    def play(conn: Conn) -> None:
        while conn.request().target == b"/first":
            conn.send(STREAM + chunked(b"x", last=False))
            assert end_now.wait(PATIENCE)
            conn.send(b"0\r\n\r\n")
        conn.reply(b"ok")

    site = portal.mount(serve(play), via=via)
    places = 2 if via == "few" else 1
    clients = [site.open("GET", "/first") for _ in range(places)]
    heads = [client.response_head() for client in clients]
    for client, head in zip(clients, heads, strict=True):
        # The head has come, and a piece of the body: the place is still taken.
        assert next(iter(client.pieces(head))) == b"x"
    check(site.request(), row)
    end_now.set()
    for client, head in zip(clients, heads, strict=True):
        assert client.until(b"0\r\n\r\n")
        assert head.status == 200
        client.close()
    assert site.idle()
    assert site.request().status == 200


def truncate(conn: Conn) -> None:
    conn.send(STREAM)
    conn.finish()


def test_places_are_free_again_after_any_end(portal: Portal, serve: Serve) -> None:
    plays: dict[bytes, Callable[[Conn], object]] = {
        b"/ok": lambda conn: conn.reply(b"ok"),
        b"/reset": lambda conn: conn.abort(),
        b"/nonsense": lambda conn: conn.send(b"nonsense\r\n\r\n"),
        b"/truncated": truncate,
    }

    def play(conn: Conn) -> None:
        while True:
            plays[conn.request().target](conn)

    site = portal.mount(serve(play), via="few")
    for _ in range(3):
        for path in (*plays, b"/bot", b"/../x"):
            site.request("GET", path)
    # More than there are places, so each was given back.
    assert site.idle()
    assert site.request("GET", "/ok").status == 200


def test_the_requests_over_a_keys_limit_are_refused(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve(silent)
    site = portal.mount(upstream, via="perkey")
    other = portal.mount(serve(), via="perkey")
    with site.open():
        upstream.connection()
        check(other.request(), contract.TOO_MANY)
        assert other.request(key="pk_second").status == 200
    assert upstream.all_gone(1.0)
    assert site.idle()
    assert other.request().status == 200


def test_a_full_proxy_is_overloaded(portal: Portal, serve: Serve) -> None:
    upstream = serve(silent)
    site = portal.mount(upstream, via="full")
    other = portal.mount(serve(), via="full")
    with site.open():
        upstream.connection()
        for method in ("GET", "HEAD"):
            check(other.request(method), contract.OVERLOADED, to=method)
        check(other.request("GET", "/bot"), contract.RESERVED_PATH)
    assert upstream.all_gone(1.0)
    assert site.idle()
    assert other.request().status == 200


@pytest.mark.parametrize("declared", [True, False], ids=["length", "chunked"])
def test_a_body_over_the_limit_is_refused_and_its_request_broken_off(
    portal: Portal, serve: Serve, declared: bool
) -> None:
    upstream = serve(silent)
    site = portal.mount(upstream, via="small")
    if declared:
        with site.open("POST", "/up", [(b"Content-Length", b"100001")]) as client:
            check(client.answer(), contract.BODY_TOO_LARGE)
        assert upstream.connections == []
        return
    with site.open("POST", "/up", [(b"Transfer-Encoding", b"chunked")]) as client:
        client.send(chunked(bytes(70_000), last=False))
        time.sleep(0.1)
        client.send(chunked(bytes(70_000), last=False))
        check(client.answer(), contract.BODY_TOO_LARGE)
    assert upstream.all_gone(1.0)
    assert site.idle()


def test_a_body_of_just_the_limit_passes(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="small")
    with site.open("POST", "/up", [(b"Transfer-Encoding", b"chunked")]) as client:
        client.send(chunked(bytes(60_000), bytes(40_000)))
        assert client.answer().status == 200
    assert len(upstream.last.body) == 100_000


@pytest.mark.alone
def test_a_flood_of_header_fields_is_refused_quickly_and_asks_nobody(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    fields = [(b"X-%d" % number, b"y") for number in range(10_000)]
    portal.control("asked")
    raw = site.raw("GET", "/", fields)
    took = []
    for _ in range(3):
        started = time.monotonic()
        check(portal.exchange(raw), contract.HEADERS_TOO_LARGE)
        took.append(time.monotonic() - started)
    assert portal.control("asked") == []
    # The server's own parsing of 10,000 fields is most of it.
    print(f"{portal.server}: {min(took) * 1000:.0f} ms")
    assert min(took) < 2.0


@pytest.mark.alone
@pytest.mark.parametrize(("via", "many"), [("wide", 1000), ("httpx", 200)])
def test_clients_that_leave_in_the_middle_leave_nothing_behind(
    portal: Portal, serve: Serve, via: str, many: int
) -> None:
    many = many if portal.whole else many // 5
    within, wave = 1.0, min(many, 200 if portal.asgi else THREADS - 20)
    if via == "httpx" and not portal.asgi:
        # A blocking httpx transport cannot watch the client: it sees it leave when
        # the session has been idle for too long. In small waves, so that there are
        # threads for each on a busy machine.
        via, within, many, wave = "httpx-idle", 2.0, 100, 25
    upstream = serve(streaming)
    site = portal.mount(upstream, via=via)
    before = portal.settled()
    while len(upstream.connections) < many:
        clients = [site.open("GET", "/events") for _ in range(wave)]
        for client in clients:
            assert client.response_head().status == 200
        left = time.monotonic()
        for client in clients:
            client.close()
    assert upstream.all_gone(within)
    last = max(conn.gone_at for conn in upstream.connections)
    seconds = f"{last - left:.2f} s later"
    print(f"{portal.server} {via}: {len(upstream.connections)}, all gone {seconds}")
    wait_until(lambda: nothing_left(portal, before), 3.0)
    assert "exception was never retrieved" not in portal.log


def nothing_left(portal: Portal, before: dict[str, Any]) -> bool:
    """Whether the process is as it was."""
    after = portal.control("state", collect=True)
    return (
        not any(after["in_flight"].values())
        # hypercorn has three for each connection, those of this test's own included.
        and after["tasks"] <= before["tasks"] + 10
        and after["descriptors"] <= before["descriptors"] + 10
    )


def test_many_at_once_are_all_answered(portal: Portal, serve: Serve) -> None:
    started = threading.Barrier(THREADS - 10)

    def play(conn: Conn) -> None:
        conn.request()
        started.wait(10.0)  # All of them are in flight together.
        conn.reply(b"together")

    site = portal.mount(serve(play), via="wide")
    clients = [site.open() for _ in range(started.parties)]
    answers = [client.answer() for client in clients]
    for client in clients:
        client.close()
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"together")}
    assert site.idle()
