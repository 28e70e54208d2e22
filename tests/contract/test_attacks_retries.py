"""Retry duplication: what is not safe reaches a session at most once, whatever fails.

Counted at the session, in the bytes of every connection it ever got. RFC 9110 §9.2.2:
a proxy must not send again what is not idempotent; and for a DELETE or a PUT the
proxy cannot know that a second one does no harm.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product

import pytest

from ..support import contract
from ..support.cases import Cases
from ..support.contract import check
from ..support.servers import Portal
from ..support.upstream import Conn, Play
from ..support.wire import Fields
from .conftest import Serve

CHUNKED: Fields = [(b"Transfer-Encoding", b"chunked")]
BODIES: dict[str, tuple[Fields, bytes]] = {
    "none": ([], b""),
    "length": ([(b"Content-Length", b"5")], b"hello"),
    "chunked": (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
}


def before_reading(conn: Conn) -> None:
    """Goes before it has read a byte."""


def after_a_byte(conn: Conn) -> None:
    """Goes with most of the head unread."""
    conn.sock.recv(1, socket.MSG_WAITALL)


def after_the_request(conn: Conn) -> None:
    """Has it all, and may have acted on it."""
    conn.request()


def after_an_interim(conn: Conn) -> None:
    """Has even said that it will go on."""
    conn.request()
    conn.send(b"HTTP/1.1 102 Processing\r\n\r\n")


def inside_the_head(conn: Conn) -> None:
    conn.request()
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Le")


def inside_the_body(conn: Conn) -> None:
    conn.request()
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")


POINTS: list[Callable[[Conn], None]] = [
    before_reading,
    after_a_byte,
    after_the_request,
    after_an_interim,
    inside_the_head,
    inside_the_body,
]


def failing(
    point: Callable[[Conn], None], how: str, reused: bool, seen: threading.Event
) -> Play:
    """A session that goes at that point of every request but `/warm`. `seen`: what it
    said of a body has reached the client, which granian's else not always does."""

    def play(conn: Conn) -> None:
        if reused:
            while conn.request().target == b"/warm":
                conn.reply(b"warm")
                if conn.sock.recv(1, socket.MSG_PEEK) and warmed(conn):
                    break
        point(conn)
        if point is inside_the_body:
            seen.wait(1.0)
        conn.abort() if how == "reset" else conn.finish()

    return play


def warmed(conn: Conn) -> bool:
    start = conn.sock.recv(65_536, socket.MSG_PEEK)
    return b"/once" in start.split(b"\r\n", 1)[0]


@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
def test_a_request_that_is_not_safe_arrives_at_most_once(
    portal: Portal, serve: Serve, cases: Cases, reused: bool
) -> None:
    """RFC 9110 §9.2.2."""
    methods = ("POST", "PUT", "PATCH", "DELETE") if portal.whole else ("POST", "DELETE")
    named = {
        f"{point.__name__}, {how}, {method}, {framing}": (point, how, method, framing)
        for point, how, method, framing in product(
            POINTS, ("close", "reset"), methods, BODIES
        )
    }

    def attack(case: str) -> None:
        point, how, method, framing = named[case]
        fields, body = BODIES[framing]
        # What it was asked is looked at in the bytes, since it may not read them.
        seen = threading.Event()
        upstream = serve(failing(point, how, reused, seen))
        site = portal.mount(upstream)
        if reused:
            assert site.request("GET", "/warm").body == b"warm"
        with site.open(method, "/once", fields) as client:
            client.send(body)
            answer = client.response_head()
            seen.set()
            if point is not inside_the_body or portal.expected.breaks_off:
                client.body(answer)
        if point is inside_the_body:
            assert answer.status == 200
            assert answer.end == ("broken" if portal.expected.breaks_off else "open")
        elif point in (inside_the_head, after_an_interim):
            check(answer, contract.PROTOCOL)
        else:
            check(answer, contract.UNREACHABLE)
        received = b"".join(bytes(conn.received) for conn in upstream.connections)
        assert received.count(b" /once HTTP/1.1\r\n") <= 1
        assert len(upstream.connections) == 1

    cases(named, attack)
    assert portal.settled()["in_flight"][""] == 0


def test_an_upload_that_fails_on_the_way_is_not_begun_again(
    portal: Portal, serve: Serve
) -> None:
    """What was read of it cannot be read again; half of it sent twice is two halves."""

    def play(conn: Conn) -> None:
        while conn.request(body=False).target == b"/warm":
            conn.reply(b"warm")
        conn.take(50_000)
        conn.abort()

    upstream = serve(play)
    site = portal.mount(upstream)
    assert site.request("GET", "/warm").body == b"warm"
    with site.open("PUT", "/once", [(b"Content-Length", b"300000")]) as client:
        try:
            client.send(bytes(300_000))
            check(client.answer(), contract.UNREACHABLE)
        except OSError:
            pass  # Refused while it was still being sent.
    assert site.idle()
    assert [each.target for each in upstream.requests] == [b"/warm", b"/once"]


WORKER = """
import os, signal, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    sock, _ = listener.accept()
    while True:
        data = b""
        while b"\\r\\n\\r\\n" not in data:
            more = sock.recv(65536)
            if not more:
                break
            data += more
        if not data:
            break
        if b" /once " in data:
            os.write(int(sys.argv[2]), b"1")
            os.kill(os.getpid(), signal.SIGKILL)
        sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nwarm")
"""


@pytest.fixture
def workers() -> Iterator[tuple[str, int]]:
    """Three processes on one listening socket, as a session under gunicorn: its
    address, and where it counts. Each kills itself on `/once`, and the next would
    take a retry gladly."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        counted, count = os.pipe()
        stack.callback(os.close, counted)
        command = [sys.executable, "-c", WORKER, str(listener.fileno()), str(count)]
        for _ in range(3):
            process = subprocess.Popen(command, pass_fds=(listener.fileno(), count))
            stack.callback(process.wait)
            stack.callback(process.kill)
        os.close(count)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", counted


@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_session_that_is_killed_got_the_request_once(
    portal: Portal, workers: tuple[str, int], method: str, reused: bool
) -> None:
    """RFC 9110 §9.2.2, with a real SIGKILL."""
    url, counted = workers
    site = portal.mount(url)
    if reused:
        assert site.request("GET", "/warm").body == b"warm"
    check(site.request(method, "/once"), contract.UNREACHABLE)
    assert site.request("GET", "/warm").body == b"warm"
    os.set_blocking(counted, False)
    assert os.read(counted, 10) == b"1"
