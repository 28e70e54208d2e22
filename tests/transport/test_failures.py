"""What a session that does not answer as it should turns into."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from session_proxy_middleware import Timeouts
from session_proxy_middleware.errors import (
    ConnectFailed,
    ConnectTimeout,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from session_proxy_middleware.models import Outbound
from tests.support.clocks import wait_until
from tests.transport.bodies import Body
from tests.transport.conftest import Open, Serve
from tests.transport.drivers import Driver
from tests.transport.requests import get, post, session_at
from tests.transport.servers import Peer, saying


def failure(driver: Driver, outbound: Outbound, body: Body | None = None) -> type:
    """The very class of what it ends with."""
    with pytest.raises(Exception) as caught:
        driver.send(outbound, body)
    return type(caught.value)


def test_a_refused_connection_is_a_failed_connect(driver: Driver, serve: Serve) -> None:
    up = serve(saying(b""))
    session = session_at(up.url)
    up.stop()
    assert failure(driver, get(session)) is ConnectFailed
    body = Body([b"x"])
    assert failure(driver, post(session, 1), body) is ConnectFailed
    assert body.given == 0  # Not a byte is asked for before the connection stands.


def test_a_name_that_does_not_resolve_is_a_failed_connect(driver: Driver) -> None:
    for host in ("no-such-host.invalid", f"{'a' * 64}.invalid"):
        assert failure(driver, get(session_at(f"http://{host}:1"))) is ConnectFailed


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """An address whose backlog is full: the network drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for each in waiting:
            each.close()


def test_a_connection_that_does_not_come_about_times_out(open_with: Open) -> None:
    driver = open_with(Timeouts(connect=0.2, response=5, idle=5))
    with deaf() as url:
        started = time.monotonic()
        assert failure(driver, get(session_at(url))) is ConnectTimeout
        assert 0.15 < time.monotonic() - started < 2


def test_a_handshake_that_never_ends_times_out(open_with: Open, serve: Serve) -> None:
    driver = open_with(Timeouts(connect=0.2, response=5, idle=5))
    up = serve(lambda peer: assert_gone(peer))
    url = up.url.replace("http:", "https:")
    assert failure(driver, get(session_at(url))) is ConnectTimeout


def assert_gone(peer: Peer) -> None:
    assert peer.gone(5)


@pytest.mark.parametrize("length", [None, 0])
def test_a_silent_session_times_out_after_the_last_byte_of_the_request(
    length: int | None, open_with: Open, serve: Serve
) -> None:
    """The time that the client takes for its upload is not the session's."""
    gone: list[bool] = []

    def script(peer: Peer) -> None:
        peer.request()
        gone.append(peer.gone(5))

    driver = open_with(Timeouts(connect=5, response=0.3, idle=5))
    session = session_at(serve(script).url)
    pause = threading.Event()
    started = time.monotonic()
    if length == 0:
        assert failure(driver, get(session)) is UpstreamTimeout
    else:
        threading.Timer(0.4, pause.set).start()
        body = Body([b"12", pause, b"345"])
        assert failure(driver, post(session, length), body) is UpstreamTimeout
        started += 0.4
    assert 0.25 < time.monotonic() - started < 2
    wait_until(lambda: gone == [True])


def test_a_session_that_dribbles_its_head_is_given_up(
    open_with: Open, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(20):
            peer.send(b"x-%d: y\r\n" % number)
            time.sleep(0.05)

    driver = open_with(Timeouts(connect=0.2, response=0.2, idle=5))
    started = time.monotonic()
    ended_with = failure(driver, get(session_at(serve(script).url)))
    if driver.expected.bounds_head:
        assert ended_with is UpstreamTimeout
        assert time.monotonic() - started < 0.9
    else:
        assert ended_with is UpstreamUnreachable


def test_a_total_time_ends_a_request(open_with: Open, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        assert peer.gone(5)

    driver = open_with(Timeouts(connect=5, response=0.8, idle=5, total=0.2))
    started = time.monotonic()
    assert failure(driver, get(session_at(serve(script).url))) is UpstreamTimeout
    took = time.monotonic() - started
    assert took < (0.7 if driver.expected.bounds_total else 2)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
def test_a_connection_that_ends_before_the_response_is_unreachable(
    how: str, read: bool, driver: Driver, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        if read:
            peer.request()
        else:
            time.sleep(0.1)  # Or the connect itself would fail.
        peer.close() if how == "close" else peer.reset()

    up = serve(script)
    assert failure(driver, get(session_at(up.url))) is UpstreamUnreachable
    body = Body([b"x" * 10])
    assert failure(driver, post(session_at(up.url), 10), body) is UpstreamUnreachable
    assert up.connections == 2


@pytest.mark.parametrize(
    "start",
    [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"],
)
def test_a_head_that_ends_half_way_is_no_response(
    start: bytes, driver: Driver, serve: Serve
) -> None:
    session = session_at(serve(saying(start)).url)
    assert failure(driver, get(session)) is driver.expected.broken_head


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n"
        b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_what_is_no_response_is_told_apart(
    garbage: bytes, driver: Driver, serve: Serve
) -> None:
    gone: list[bool] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(garbage)
        gone.append(peer.gone())

    session = session_at(serve(script).url)
    assert failure(driver, get(session)) is UpstreamProtocolError
    wait_until(lambda: gone == [True])


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (b"200 OK", b"x: y\r\n" * 300),
        (b"200 OK", b"x: " + b"y" * 200_000 + b"\r\n"),
        (b"200 OK", b"".join(b"x-%d: %b\r\n" % (n, b"y" * 999) for n in range(150))),
        (b"103 Early Hints", b"x: " + b"y" * 200_000 + b"\r\n"),
    ],
    ids=["many", "large", "many-and-large", "large-interim"],
)
def test_too_many_or_too_large_response_fields_are_refused(
    status: bytes, fields: bytes, driver: Driver, serve: Serve
) -> None:
    response = b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n"
    session = session_at(serve(saying(response)).url)
    assert failure(driver, get(session)) is UpstreamProtocolError


def test_a_flood_of_interim_responses_is_given_up(
    open_with: Open, serve: Serve
) -> None:
    sent: list[int] = []

    def script(peer: Peer) -> None:
        peer.request()
        try:
            while len(sent) < 9_000:
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                sent.append(1)
                if len(sent) > 5_000:
                    time.sleep(0.0001)
        finally:
            peer.close()

    driver = open_with(Timeouts(connect=0.2, response=0.2, idle=5))
    ended_with = failure(driver, get(session_at(serve(script).url)))
    if driver.expected.bounds_head:
        assert ended_with in (UpstreamProtocolError, UpstreamTimeout)
        assert len(sent) < 9_000
    else:
        assert ended_with is UpstreamUnreachable


def test_a_failed_exchange_leaves_the_transport_usable(
    driver: Driver, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(
            b"nonsense\r\n\r\n" if peer.number == 0 else b"HTTP/1.0 200 OK\r\n\r\n"
        )
        peer.close()

    session = session_at(serve(script).url)
    assert failure(driver, get(session)) is UpstreamProtocolError
    assert driver.get(get(session)) == b""
