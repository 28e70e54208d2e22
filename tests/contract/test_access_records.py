"""However a request ends: what the client sees, what the session sees, and the one
record that it leaves on `session_proxy.access`."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.upstream import Conn, Play
from ..support.wire import PATIENCE, Fields, Message, Wire, chunked
from .conftest import Serve

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
FIELDS = {
    "request_id",
    "service",
    "session_id",
    "principal",
    "method",
    "path",
    "status",
    "answered_by",
    "end_reason",
    "bytes_received",
    "bytes_sent",
    "headers_ms",
    "total_ms",
}


def record(site: Site) -> dict[str, Any]:
    """The record of the session's only request, once it is there."""
    end = time.monotonic() + PATIENCE
    while True:
        found: list[dict[str, Any]] = site.portal.control("recorded", id=site.id)
        if found or time.monotonic() > end:
            break
        time.sleep(0.01)
    assert len(found) == 1, found
    return found[0]


def ended(site: Site) -> tuple[int, str, str]:
    """Status, who answered, and why it ended."""
    found = record(site)
    return found["status"], found["answered_by"], found["end_reason"]


def test_a_record_has_everything(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        time.sleep(0.05)
        conn.send(STREAM + chunked(b"hello", last=False))
        time.sleep(0.05)
        conn.send(chunked(b" world"))

    site = portal.mount(serve(play))
    fields = [(b"X-Request-Id", b"mine-1")]
    answer = site.request("POST", "/a%20b;c?secret=1", fields, b"0123456789")
    assert answer.body == b"hello world"
    found = record(site)
    assert set(found) == FIELDS | {"line"}
    headers_ms, total_ms = found.pop("headers_ms"), found.pop("total_ms")
    assert 50 <= headers_ms < total_ms
    assert 100 <= total_ms < 5000
    principal = found.pop("principal")
    assert len(principal) == 16  # The id of the key; not the key.
    assert found == {
        "request_id": "mine-1",
        "service": "my-agent",
        "session_id": site.id,
        "method": "POST",
        "path": "/a%20b;c",
        "status": 200,
        "answered_by": "session",
        "end_reason": "completed",
        "bytes_received": 10,
        "bytes_sent": 11,
        "line": f"POST {site.public}/a%20b;c 200 session completed",
    }


def test_a_refusal_says_who_refused_and_why(portal: Portal, serve: Serve) -> None:
    site = portal.mount(serve())
    check(site.request(key="pk_wrong"), contract.WRONG_CREDENTIAL)
    found = record(site)
    assert found["principal"] is None
    assert ended(site) == (401, "proxy", "unauthenticated")
    named = portal.mount(serve(), via="sync")
    named.request("GET", "/", [(b"X-Caller", b"ada")], key=None)
    assert record(named)["principal"] == "ada"


# Before the head of the response.


def test_connect_refused(portal: Portal) -> None:
    site = portal.mount("http://127.0.0.1:9")
    check(site.request(), contract.UNREACHABLE)
    assert ended(site) == (502, "proxy", "upstream_unreachable")


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address whose backlog is full: the network drops what comes."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=0)
        )
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_connect_timeout(portal: Portal, deaf: str) -> None:
    site = portal.mount(deaf, via="quick")
    check(site.request(), contract.TIMEOUT)
    assert ended(site) == (504, "proxy", "upstream_timeout")


def silent(conn: Conn) -> None:
    conn.request()


def dribbling(conn: Conn) -> None:
    conn.request()
    conn.send(b"HTTP/1.1 200 OK\r\n")


def resetting(conn: Conn) -> None:
    conn.request()
    conn.abort()


def closing(conn: Conn) -> None:
    conn.request()
    conn.finish()


@pytest.mark.parametrize(
    ("play", "row"),
    [
        (silent, contract.TIMEOUT),
        (dribbling, contract.TIMEOUT),
        (resetting, contract.UNREACHABLE),
        (closing, contract.UNREACHABLE),
    ],
)
@pytest.mark.parametrize("via", ["quick", "httpx-quick"])
def test_no_head(
    portal: Portal, serve: Serve, play: Play, row: contract.Row, via: str
) -> None:
    upstream = serve(play)
    site = portal.mount(upstream, via=via)
    check(site.request("POST", "/x", body=b"12345"), row)
    found = record(site)
    assert ended(site) == (row.status, "proxy", row.slug.decode())
    assert found["bytes_received"] == 5
    if play in (silent, dribbling):
        assert upstream.all_gone(1.0)
    assert len(upstream.requests) == 1


# In the middle of the body.


def breaking(head: bytes, how: str) -> Play:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(head + (b"5\r\nfirst\r\n" if head is STREAM else b"first"))
        time.sleep(0.05)  # Or a reset would overtake what was sent.
        if how == "closes":
            conn.finish()
        elif how == "resets":
            conn.abort()
        elif how == "talks nonsense":
            conn.send(b"nonsense" if head is STREAM else b"")
            conn.finish()

    return play


def broken_off(site: Site) -> Message:
    """The answer to a GET: broken off, or left open where the server can do no more."""
    with site.open() as client:
        answer = client.response_head()
        if site.portal.expected.breaks_off:
            client.body(answer)
            assert answer.end == "broken"
        else:
            answer.body = next(iter(client.pieces(answer)))
            record(site)
            assert client.silent(0.05)
        return answer


@pytest.mark.parametrize(
    ("head", "how", "reason"),
    [
        (LENGTH, "closes", "upstream_closed"),
        (STREAM, "closes", "upstream_closed"),
        (LENGTH, "resets", "upstream_closed"),
        (STREAM, "resets", "upstream_closed"),
        (LENGTH, "idles", "upstream_idle"),
        (STREAM, "idles", "upstream_idle"),
        (STREAM, "talks nonsense", "upstream_protocol"),
    ],
)
def test_a_body_that_breaks_off(
    portal: Portal, serve: Serve, head: bytes, how: str, reason: str
) -> None:
    upstream = serve(breaking(head, how))
    site = portal.mount(upstream, via="quick")
    answer = broken_off(site)
    assert (answer.status, answer.body) == (200, b"first")
    assert ended(site) == (200, "session", reason)
    assert record(site)["bytes_sent"] == 5
    if how == "idles":
        assert upstream.all_gone(1.0)


def test_a_body_that_takes_too_long_in_all(portal: Portal, serve: Serve) -> None:
    upstream = serve(breaking(STREAM, "idles"))
    site = portal.mount(upstream, via="brief")
    assert broken_off(site).body == b"first"
    assert ended(site) == (200, "session", "total_timeout")
    assert upstream.all_gone(1.0)


# The client's doing.


def reset(client: Wire) -> None:
    """End the connection with a RST."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_close(client: Wire) -> None:
    """Say that there is no more to come, and read on."""
    client.sock.shutdown(socket.SHUT_WR)


def left_waiting(
    portal: Portal,
    serve: Serve,
    leave: Any,
    headers: Fields | None = None,
    *,
    body: bytes | None = None,
    more: bytes = b"",
) -> dict[str, Any]:
    """The record of a POST whose client leaves while the session is silent."""
    upstream = serve(silent)
    site = portal.mount(upstream)
    with site.open("POST", "/x", headers, body=body) as client:
        client.send(more)
        conn = upstream.connection()
        time.sleep(0.1)
        leave(client)
        assert conn.gone.wait(PATIENCE)
        found = record(site)
    assert ended(site) == (499, "nobody", "client_disconnected")
    return found


@pytest.mark.parametrize("leave", [reset, Wire.close, half_close])
def test_a_client_that_leaves_before_the_head(
    portal: Portal, serve: Serve, leave: Any
) -> None:
    """A half-closed connection cannot be told from a closed one until something is
    sent on it, so it counts as closed; and uvicorn closes it at once itself."""
    found = left_waiting(portal, serve, leave, body=b"123")
    assert found["bytes_received"] == 3
    assert found["headers_ms"] is None
    assert 100 <= found["total_ms"] < 5000


@pytest.mark.parametrize("leave", [reset, Wire.close, half_close])
def test_a_client_that_leaves_in_the_body(
    portal: Portal, serve: Serve, leave: Any
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM + chunked(b"first", last=False))

    upstream = serve(play)
    site = portal.mount(upstream)
    with site.open() as client:
        assert next(iter(client.pieces(client.response_head()))) == b"first"
        time.sleep(0.1)
        leave(client)
        assert upstream.connection().gone.wait(PATIENCE)
        found = record(site)
    assert ended(site) == (200, "session", "client_disconnected")
    assert found["bytes_sent"] == 5


def test_a_half_closed_client_gets_an_answer_that_comes_at_once(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    with portal.connect() as client:
        client.send(site.raw())
        half_close(client)
        if portal.asgi or portal.server == "waitress":
            # Most close a connection when its reading side ends; some answer first.
            client.fill()
            return
        answer = client.answer()
    assert (answer.status, answer.body) == (200, b"ok")
    assert ended(site) == (200, "session", "completed")


@pytest.mark.parametrize("leave", [reset, Wire.close])
def test_a_client_that_leaves_in_its_upload(
    portal: Portal, serve: Serve, leave: Any
) -> None:
    length = [(b"Content-Length", b"1000000")]
    found = left_waiting(portal, serve, leave, length, more=bytes(70_000))
    assert 60_000 < found["bytes_received"] <= 70_000


def test_a_body_that_grows_over_the_limit(portal: Portal, serve: Serve) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="small")
    with site.open("POST", "/x", [(b"Transfer-Encoding", b"chunked")]) as client:
        client.send(chunked(bytes(60_000), bytes(60_000)))
        check(client.answer(), contract.BODY_TOO_LARGE)
    assert ended(site) == (413, "proxy", "body_too_large")
    assert upstream.all_gone(1.0)


def test_a_client_that_stalls_its_upload(portal: Portal, serve: Serve) -> None:
    upstream = serve(silent)
    site = portal.mount(upstream, via="quick")
    with site.open("POST", "/x", [(b"Content-Length", b"100000")]) as client:
        client.send(bytes(70_000))
        check(client.answer(), contract.STALLED)
    assert ended(site) == (408, "proxy", "request_timeout")
    assert upstream.all_gone(1.0)


def test_a_client_that_takes_nothing(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.send(STREAM)
        with contextlib.suppress(OSError):
            while True:
                conn.send(chunked(bytes(65_536), last=False))

    upstream = serve(play)
    site = portal.mount(upstream, via="quick")
    with portal.connect(receive_buffer=65_536) as client:
        client.send(site.raw())
        client.response_head()
        assert upstream.connection().gone.wait(PATIENCE)
        # WSGI only tells that the server gave the body up.
        reason = "client_idle" if portal.asgi else "client_disconnected"
        assert ended(site) == (200, "session", reason)


# What is in no record and no other line.

SECRETS = ("pk_Sup3rSecret", "hunter2", "cookie-of-ada", "pk_test")


def kinds(portal: Portal, serve: Serve, deaf: str) -> Iterator[tuple[Site, str, str]]:
    """Sessions and a path and a method, one for every way to end."""
    ends = {
        "fine": serve(),
        "silent": serve(silent),
        "resetting": serve(resetting),
        "broken": serve(breaking(STREAM, "closes")),
        "nonsense": serve(breaking(STREAM, "talks nonsense")),
        "idle": serve(breaking(LENGTH, "idles")),
    }
    for upstream in ends.values():
        for via in ("quick", "httpx-quick"):
            yield portal.mount(upstream, via=via), "GET", "/x"
    for url in ("http://127.0.0.1:9", deaf, "http://nowhere.invalid", "http://0.0.0.0"):
        yield portal.mount(url, via="quick"), "GET", "/x"
    fine = ends["fine"]
    for path in ("/../x", "/bot", "/%00", "//x"):
        yield portal.mount(fine), "POST", path
    for method in ("TRACE", "HEAD", "DELETE"):
        yield portal.mount(fine), method, "/x"
    for service in ("svc-down", "svc-bug", "sess-down", "sess-bug"):
        yield portal.mount(fine, service=service), "GET", "/x"
    for via in ("drained", "full", "sync", "small"):
        yield portal.mount(fine, via=via), "GET", "/x"


def test_no_secret_and_no_query_is_in_any_log(
    portal: Portal, serve: Serve, deaf: str
) -> None:
    asked = 0
    for site, method, path in kinds(portal, serve, deaf):
        for key in ("pk_test", "pk_Sup3rSecret"):
            fields = [
                (b"Cookie", b"session=cookie-of-ada"),
                (b"X-Caller", b"bug"),
                (b"X-Request-Id", b"an-id-of-the-client"),
            ]
            raw = site.raw(method, f"{path}?token=hunter2&x=%zz", fields, key=key)
            with portal.connect() as client:
                client.send(raw)
                if portal.expected.breaks_off:
                    client.answer(to=method)
                else:
                    client.response_head()
                    assert site.idle()
            asked += 1
    for key in ("pk_down", "pk_bug"):
        portal.mount(serve()).request("GET", "/x?token=hunter2", key=key)
    found = portal.control("recorded", id="")
    assert len(found) >= asked
    written = portal.log + repr(found)
    assert "an-id-of-the-client" in written
    for secret in (*SECRETS, "%zz", "pk_down", "pk_bug"):
        assert secret not in written, secret


def test_a_line_break_in_the_path_makes_no_second_record(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    site.request("GET", "/x%0a%0dINFO:session_proxy.access:GET%20/forged%20200")
    assert "\n" not in record(site)["line"]
    assert "\r" not in record(site)["line"]


def test_one_request_leaves_one_record_however_many_run(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve())
    threads = [threading.Thread(target=site.request) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.idle()
    found = portal.control("recorded", id=site.id)
    assert len(found) == 30
    assert len({each["request_id"] for each in found}) == 30
