"""DESIGN.md section 6: which connections are used again, and what is sent twice."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal
from ..support.upstream import Conn, answering, response
from ..support.wire import chunked
from .conftest import Serve


@pytest.mark.everywhere
def test_a_connection_is_used_again(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    for method in ("GET", "POST", "DELETE", "GET"):
        body = b"{}" if method == "POST" else None
        assert site.request(method, "/x", body=body).status == 200
    assert len(upstream.connections) == 1
    assert len(upstream.requests) == 4


def test_two_sessions_on_one_address_share_no_connection(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    for _ in range(3):
        assert portal.mount(upstream).request().status == 200
    assert len(upstream.connections) == 3


def test_a_new_registration_starts_with_a_new_connection(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    assert site.request().status == 200
    portal.mount(upstream, id=site.id)
    assert site.request().status == 200
    assert len(upstream.connections) == 2


def test_a_session_that_moved_is_found_at_its_new_address(
    portal: Portal, serve: Serve
) -> None:
    old, new = serve(), serve()
    site = portal.mount(old)
    assert site.request().status == 200
    portal.mount(new, id=site.id)
    assert site.request().status == 200
    assert (len(old.requests), len(new.requests)) == (1, 1)


def test_an_idle_connection_is_closed_after_three_seconds(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    assert site.request().status == 200
    time.sleep(3.2)
    assert site.request().status == 200
    assert len(upstream.connections) == 2


ENDS = {
    "closed": lambda conn: conn.finish(),
    "reset": lambda conn: conn.abort(),
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("when", ["idle", "request read"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"])
def test_a_request_on_a_connection_that_closes_is_sent_again_only_when_safe(
    portal: Portal, serve: Serve, how: str, when: str, method: str
) -> None:
    end_now = threading.Event()

    def play(conn: Conn) -> None:
        conn.request()
        conn.reply(b"first")
        if conn is not upstream.connections[0]:
            return
        if when == "idle":
            end_now.wait(5.0)
        else:
            conn.request()
        ENDS[how](conn)

    upstream = serve(play)
    site = portal.mount(upstream)
    assert site.request("GET", "/first").status == 200
    if when == "idle":
        end_now.set()
        time.sleep(0.05)
    body = b"{}" if method in ("POST", "PUT", "PATCH") else None
    answer = site.request(method, "/second", body=body)
    delivered = [each for each in upstream.requests if each.target == b"/second"]
    if when == "idle" or method in ("GET", "OPTIONS"):
        assert answer.status == 200
        assert len(delivered) == (1 if when == "idle" else 2)
    else:
        check(answer, contract.UNREACHABLE)
        assert len(delivered) == 1


@pytest.mark.parametrize("how", ENDS)
def test_a_fresh_connection_that_closes_is_not_tried_again(
    portal: Portal, serve: Serve, how: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        ENDS[how](conn)

    upstream = serve(play)
    site = portal.mount(upstream)
    check(site.request(), contract.UNREACHABLE)
    assert len(upstream.connections) == 1


@pytest.mark.parametrize(
    "closing",
    [
        response(b"ok", headers=[(b"Connection", b"close")]),
        response(b"ok", headers=[(b"Connection", b"Close, X-Hop")]),
        response(b"ok").replace(b"HTTP/1.1", b"HTTP/1.0"),
        response(b"ok") + b"more than was announced",
        response(b"ok") + response(b"an answer to nothing"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(b"ok")
        + b"x",
    ],
    ids=[
        "close",
        "close-among",
        "http-1.0",
        "surplus",
        "second-answer",
        "after-chunks",
    ],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(
    portal: Portal, serve: Serve, closing: bytes
) -> None:
    upstream = serve(answering(closing))
    site = portal.mount(upstream)
    for _ in range(3):
        answer = site.request()
        assert (answer.status, answer.body, answer.end) == (200, b"ok", "whole")
    assert len(upstream.connections) == 3
    assert upstream.all_gone(1.0)


@pytest.mark.parametrize("via", ["", "httpx"])
def test_bytes_that_nobody_asked_for_answer_no_later_request(
    portal: Portal, serve: Serve, via: str
) -> None:
    def play(conn: Conn) -> None:
        while True:
            target = conn.request().target
            conn.reply(b"to " + target)
            if target == b"/first":
                time.sleep(0.1)
                conn.send(response(b"poison"))

    upstream = serve(play)
    site = portal.mount(upstream, via=via)
    assert site.request("GET", "/first").body == b"to /first"
    time.sleep(0.2)
    for _ in range(3):
        assert site.request("GET", "/next").body == b"to /next"


def test_a_head_answer_with_a_body_poisons_nobody(portal: Portal, serve: Serve) -> None:
    upstream = serve(answering(response(b"ok")))
    site = portal.mount(upstream)
    for _ in range(3):
        answer = site.request("HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert site.request("GET").body == b"ok"


def test_a_request_that_was_not_sent_whole_does_not_leave_its_connection_behind(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        message = conn.request(body=False)
        conn.reply(b"early" if message.has("content-length") else b"ok")

    upstream = serve(play)
    site = portal.mount(upstream)
    with site.open("POST", "/up", [(b"Content-Length", b"10000000")]) as client:
        sender = threading.Thread(target=half, args=(client.sock,))
        sender.start()
        assert client.answer().body == b"early"
        sender.join()
    assert upstream.all_gone(1.0)
    assert site.request("GET").body == b"ok"
    assert len(upstream.connections) == 2


def half(sock: socket.socket) -> None:
    """Half of the upload."""
    try:
        sock.sendall(bytes(5_000_000))
    except OSError:
        return


def test_connections_to_a_thousand_requests_do_not_pile_up(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    with portal.visit() as visit:
        for _ in range(300):
            assert visit(site.raw("GET", "/x")).status == 200
    assert len(upstream.connections) == 1


@pytest.mark.parametrize("base", ["", "/base"])
def test_a_session_behind_a_unix_socket(
    portal: Portal, serve: Serve, tmp_path_factory: pytest.TempPathFactory, base: str
) -> None:
    path = tmp_path_factory.mktemp("u") / "s"
    got = []

    def play(conn: Conn) -> None:
        got.append(conn.request())
        conn.reply(b"unix")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        upstream = serve()
        site = portal.mount(f"unix://{path}" + (f":{base}" if base else ""))

        def accept() -> None:
            sock, _ = listener.accept()
            with sock:
                play(Conn(upstream, sock))

        thread = threading.Thread(target=accept)
        thread.start()
        answer = site.request("GET", "/x")
        thread.join()
    assert answer.body == b"unix"
    assert got[0].target == f"{base}/x".encode()
    assert got[0].one("host") == b"localhost"
