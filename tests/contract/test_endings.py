"""However a request ends: both sides learn it, and nothing is left behind."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal
from ..support.upstream import Conn, response
from ..support.wire import PATIENCE, Fields, Wire, chunked
from .conftest import Serve

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def silent(conn: Conn) -> None:
    """Take the request and say nothing."""
    conn.request()


def streaming(conn: Conn) -> None:
    """One piece, and then nothing."""
    conn.request()
    conn.send(STREAM + chunked(b"first", last=False))


LARGE_SIZE = 8_000_000
LARGE: Fields = [(b"Content-Length", b"%d" % LARGE_SIZE)]


def dying_in_an_upload(conn: Conn) -> None:
    """Begin to answer, take little of the upload, and die."""
    conn.request(body=False)
    conn.send(STREAM + chunked(b"first", last=False))
    time.sleep(0.3)
    conn.abort()


def seconds_until_gone(conn: Conn, since: float) -> float:
    """How long the proxy took to close it."""
    assert conn.gone.wait(PATIENCE), "the connection was left open"
    return conn.gone_at - since


# The client leaves.


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_that_leaves_before_the_head_ends_the_sessions_work(
    portal: Portal, serve: Serve, method: str
) -> None:
    upstream = serve(silent)
    site = portal.mount(upstream)
    client = site.open(method, "/slow", body=b"{}" if method == "POST" else None)
    conn = upstream.connection()
    time.sleep(0.1)
    left = time.monotonic()
    client.close()
    took = seconds_until_gone(conn, left)
    print(f"{portal.server} {method}: {took * 1000:.0f} ms")
    assert took < 1.0
    assert site.idle()


@pytest.mark.everywhere
@pytest.mark.parametrize("after", [0.0, 0.2])
def test_a_client_that_leaves_a_silent_stream_ends_it(
    portal: Portal, serve: Serve, after: float
) -> None:
    upstream = serve(streaming)
    site = portal.mount(upstream)
    client = site.open()
    head = client.response_head()
    assert next(iter(client.pieces(head))) == b"first"
    time.sleep(after)
    left = time.monotonic()
    client.close()
    took = seconds_until_gone(upstream.connection(), left)
    print(f"{portal.server} after {after} s: {took * 1000:.0f} ms")
    assert took < 1.0
    assert site.idle()


def test_a_client_that_leaves_a_busy_stream_ends_it(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM)
        for _ in range(2000):
            conn.send(chunked(b"x" * 1000, last=False))
            time.sleep(0.005)

    upstream = serve(play)
    site = portal.mount(upstream)
    client = site.open()
    head = client.response_head()
    next(iter(client.pieces(head)))
    left = time.monotonic()
    client.close()
    assert seconds_until_gone(upstream.connection(), left) < 1.0
    assert site.idle()


def test_a_client_that_leaves_with_unread_bytes_ends_the_stream(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM)
        while True:
            conn.send(chunked(bytes(65_536), last=False))

    upstream = serve(play)
    site = portal.mount(upstream)
    client = portal.connect(receive_buffer=65_536)
    client.send(site.raw())
    client.response_head()
    time.sleep(0.3)
    left = time.monotonic()
    client.close()
    assert seconds_until_gone(upstream.connection(), left) < 1.0
    assert site.idle()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_leaves_in_its_upload_breaks_the_request_off(
    portal: Portal, serve: Serve, framing: str
) -> None:
    ends = []

    def play(conn: Conn) -> None:
        ends.append(conn.request())

    upstream = serve(play)
    site = portal.mount(upstream)
    piece = b"a" * 70_000
    field = (b"Content-Length", b"1000000")
    if framing == "chunked":
        field, piece = (b"Transfer-Encoding", b"chunked"), chunked(piece, last=False)
    client = site.open("POST", "/up", [field])
    client.send(piece)
    conn = upstream.connection()
    time.sleep(0.1)
    left = time.monotonic()
    client.close()
    assert seconds_until_gone(conn, left) < 1.0
    assert [message.end for message in ends] == ["broken"]
    assert site.idle()


def test_what_a_client_that_left_was_sent_is_never_read_by_the_next(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        message = conn.request()
        if message.target == b"/slow":
            conn.send(STREAM + chunked(b"for the first", last=False))
            time.sleep(0.2)
            conn.send(chunked(b"for the first too"))
        else:
            conn.reply(b"for the second")

    upstream = serve(play)
    site = portal.mount(upstream)
    client = site.open("GET", "/slow")
    client.response_head()
    client.close()
    assert site.request("GET", "/next").body == b"for the second"
    assert len(upstream.connections) == 2


# The session dies.


@pytest.mark.everywhere
@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("head", [LENGTH, STREAM], ids=["length", "chunked"])
@pytest.mark.parametrize("via", ["", "httpx"])
def test_a_session_that_dies_in_its_body_is_seen_to(
    portal: Portal, serve: Serve, how: str, head: bytes, via: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(head + (b"5\r\nfirst\r\n" if head is STREAM else b"first"))
        time.sleep(0.05)
        conn.abort() if how == "resets" else conn.finish()

    site = portal.mount(serve(play), via=via)
    answer = site.request()
    assert answer.status == 200
    assert answer.body == b"first"
    assert answer.end == "broken"
    assert site.idle()


@pytest.mark.everywhere
def test_a_session_that_dies_in_the_middle_of_an_upload_is_seen_to(
    portal: Portal, serve: Serve
) -> None:
    """However much of the upload is still unread: hypercorn closes a connection only
    once its last message has a place in a queue, and that may be full."""
    site = portal.mount(serve(dying_in_an_upload, receive_buffer=65_536))
    with site.open("POST", "/up", LARGE) as client:
        sending = threading.Thread(target=send_what_is_taken, args=(client, LARGE_SIZE))
        sending.start()
        head = client.response_head()
        assert list(client.pieces(head)) == [b"first"]
        assert head.end == "broken"
        sending.join()
    assert site.idle()


@pytest.mark.everywhere
def test_a_session_that_dies_right_after_its_head_is_seen_to(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(LENGTH)
        conn.finish()

    site = portal.mount(serve(play))
    answer = site.request()
    assert (answer.status, answer.body, answer.end) == (200, b"", "broken")
    assert site.idle()


@pytest.mark.parametrize(
    "broken",
    [b"nonsense\r\nfirst\r\n", b"5\r\nfirstXX", b"-5\r\nfirst\r\n", b"5\nfirst\r\n"],
)
def test_chunks_that_are_none_break_the_answer_off(
    portal: Portal, serve: Serve, broken: bytes
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM + chunked(b"first", last=False))
        time.sleep(0.05)
        conn.send(broken)

    upstream = serve(play)
    site = portal.mount(upstream)
    answer = site.request()
    assert answer.body.startswith(b"first")
    assert answer.end == "broken"
    assert upstream.all_gone(1.0)


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("via", ["", "httpx"])
def test_a_session_that_dies_before_a_byte_is_unreachable(
    portal: Portal, serve: Serve, how: str, via: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.abort() if how == "resets" else conn.finish()

    upstream = serve(play)
    site = portal.mount(upstream, via=via)
    for method in ("GET", "HEAD", "POST"):
        before = len(upstream.requests)
        answer = site.request(method, "/x", body=b"{}" if method == "POST" else None)
        check(answer, contract.UNREACHABLE, to=method)
        assert len(upstream.requests) == before + 1
    assert site.idle()


NONSENSE = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a line without a colon": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
    "a length beside a coding": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n"
    b"\r\nxx",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
    b"Connection: upgrade\r\n\r\n",
    "a status out of range": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n",
    "too large a field": b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 200_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("via", ["", "httpx"])
@pytest.mark.parametrize("what", NONSENSE)
def test_what_is_no_http_response_is_a_protocol_error(
    portal: Portal, serve: Serve, what: str, via: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(NONSENSE[what])
        conn.finish()

    site = portal.mount(serve(play), via=via)
    row = contract.PROTOCOL
    if via == "httpx" and what in ("another protocol", "half a head"):
        row = contract.UNREACHABLE  # httpcore says the same of it as of nothing.
    check(site.request(), row)
    assert site.idle()


@pytest.mark.everywhere
@pytest.mark.parametrize("via", ["", "httpx"])
def test_a_session_that_nobody_listens_for_is_unreachable(
    portal: Portal, via: str
) -> None:
    site = portal.mount("http://127.0.0.1:9", via=via)
    for method in ("GET", "POST", "HEAD"):
        answer = site.request(method, "/x", body=b"{}" if method == "POST" else None)
        check(answer, contract.UNREACHABLE, to=method)


def test_a_host_that_does_not_resolve_is_unreachable(portal: Portal) -> None:
    site = portal.mount("http://nowhere.invalid:8080")
    check(site.request(), contract.UNREACHABLE)


def test_an_early_answer_passes_during_the_upload(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        conn.request(body=False)
        conn.send(response(b"enough", status="413 Enough"))
        conn.finish()

    site = portal.mount(serve(play))
    with site.open("POST", "/up", [(b"Content-Length", b"4000000")]) as client:
        sender = threading.Thread(target=send_what_is_taken, args=(client, 4_000_000))
        sender.start()
        answer = client.answer()
        with contextlib.suppress(OSError):  # Some servers have closed it.
            client.sock.shutdown(2)
        sender.join()
    assert (answer.status, answer.body) == (413, b"enough")
    assert not answer.ours
    assert site.idle()


def send_what_is_taken(client: Wire, size: int) -> None:
    """Like a client that does not look at the answer before it is through."""
    try:
        client.send(bytes(size))
    except OSError:
        return


def test_an_answer_that_waits_for_no_body_passes_at_once(
    portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        conn.request(body=False)
        conn.reply(b"no need", status="403 Forbidden")

    site = portal.mount(serve(play))
    with site.open("POST", "/up", [(b"Content-Length", b"1000000")]) as client:
        if not portal.asgi:  # The upload is read in pieces of 64 KiB, and blocks.
            client.send(bytes(70_000))
            time.sleep(0.1)
            client.send(bytes(65_536))
        answer = client.response_head()
    assert answer.status == 403
    assert not answer.ours


def test_a_client_that_leaves_before_its_upload_begins_is_nobodys_mistake(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve(silent))
    logged = len(portal.log)
    raw = site.raw("POST", "/x", [(b"Content-Length", b"100")])
    with portal.connect() as client:
        client.send(raw)
        end = time.monotonic() + PATIENCE
        while not site.in_flight():
            assert time.monotonic() < end
    assert site.idle()
    assert "Traceback" not in portal.log[logged:]
    assert "middleware" not in portal.log[logged:]
