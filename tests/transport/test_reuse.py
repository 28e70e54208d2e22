"""Which connection carries the next request, and which never may."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from session_proxy_middleware.errors import UpstreamUnreachable
from session_proxy_middleware.upstream import blocking
from session_proxy_middleware.upstream.pool import Pool
from tests.support.clocks import wait_until
from tests.transport.bodies import Body
from tests.transport.conftest import Open, Serve
from tests.transport.drivers import OWN, AsyncDriver, Driver
from tests.transport.requests import get, post, session_at
from tests.transport.servers import Peer, Received, Script, ok, replying

own_transports = pytest.mark.parametrize("open_with", OWN, indirect=True)


def numbered(peer: Peer) -> None:
    """Answers with the target that was asked for."""
    while (request := peer.request()) is not None:
        peer.send(ok(request.target))


@pytest.mark.parametrize("shape", ["length", "chunks", "post", "head"])
def test_ten_requests_share_a_connection(
    shape: str, driver: Driver, serve: Serve
) -> None:
    chunks = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    up = serve(replying({"chunks": chunks, "head": head}.get(shape, ok())))
    session = session_at(up.url)
    for _ in range(10):
        if shape == "post":
            answer = driver.send(post(session, None), Body([b"a", b"b"]))
        else:
            method = b"HEAD" if shape == "head" else b"GET"
            answer = driver.send(get(session, method=method))
        assert answer.body() == (b"" if shape == "head" else b"ok")
    assert up.connections == (1 if driver.expected.reuses else 10)


def test_a_new_registration_of_an_address_gets_fresh_connections(
    driver: Driver, serve: Serve
) -> None:
    up = serve(numbered)
    for number in range(3):
        target = b"/%d" % number
        assert driver.get(get(session_at(up.url), target)) == target
    assert up.connections == 3


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + b"HTTP/1.1 200",
    ],
    ids=["close", "close-among-others", "http-1.0", "more-bytes"],
)
def test_a_connection_is_closed_when_its_response_says_so(
    response: bytes, driver: Driver, serve: Serve
) -> None:
    closed: list[bool] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(response)
        closed.append(peer.gone())

    up = serve(script)
    session = session_at(up.url)
    for _ in range(2):
        assert driver.get(get(session)) == b"ok"
    assert up.connections == 2
    wait_until(lambda: closed == [True, True])


@own_transports
def test_a_head_response_that_says_close_ends_the_connection(
    driver: Driver, serve: Serve
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n"
    up = serve(replying(head))
    session = session_at(up.url)
    for _ in range(2):
        assert driver.send(get(session, method=b"HEAD")).body() == b""
    assert up.connections == 2


@pytest.mark.parametrize(
    "junk",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\n",
        b"poison",
        b"\0",
        b"H",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_bytes_sent_along_with_a_response_never_answer_the_next_request(
    method: bytes, junk: bytes, driver: Driver, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            body = b"" if method == b"HEAD" else request.target
            head = b"HTTP/1.1 200 OK\r\nx: %b\r\ncontent-length: 2\r\n\r\n"
            peer.send(head % request.target + body + junk)

    session = session_at(serve(script).url)
    for target in (b"/1", b"/2", b"/3"):
        answer = driver.send(get(session, target, method=method))
        assert answer.values(b"x") == [target]
        assert answer.body() == (b"" if method == b"HEAD" else target)


@pytest.mark.parametrize(
    "junk", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"x"]
)
def test_bytes_that_come_while_idle_never_answer_the_next_request(
    junk: bytes, driver: Driver, serve: Serve
) -> None:
    said = threading.Event()

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            peer.send(ok(request.target))
            if peer.number == 0:
                time.sleep(0.05)
                peer.sock.send(junk)
                said.set()

    session = session_at(serve(script).url)
    assert driver.get(get(session, b"/1")) == b"/1"
    said.wait(5)
    time.sleep(0.05)  # Loopback, and a turn of the loop.
    assert driver.get(get(session, b"/2")) == b"/2"


@own_transports
def test_bytes_that_came_while_the_loop_was_busy_never_answer_the_next_request(
    driver: Driver, serve: Serve
) -> None:
    """The unasked bytes are in the socket, and nobody has looked yet."""
    said = threading.Event()

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            peer.send(ok(request.target))
            if peer.number == 0:
                time.sleep(0.05)
                peer.sock.send(ok(b"poison"))
                said.set()

    session = session_at(serve(script).url)
    first, second = get(session, b"/1"), get(session, b"/2")
    if isinstance(driver, AsyncDriver):
        transport = driver.transport

        async def both() -> bytes:
            response = await transport.asend(first, None)
            while await response.read():
                pass
            said.wait(5)
            response = await transport.asend(second, None)
            pieces = []
            while data := await response.read():
                pieces.append(data)
            return b"".join(pieces)

        assert driver.run(both()) == b"/2"
    else:
        assert driver.get(first) == b"/1"
        said.wait(5)
        assert driver.get(second) == b"/2"


@pytest.mark.parametrize("open_with", ["aio", "blocking"], indirect=True)
def test_a_connection_idle_for_more_than_three_seconds_is_not_used_again(
    driver: Driver, serve: Serve
) -> None:
    up = serve(numbered)
    session = session_at(up.url)
    assert driver.get(get(session, b"/1")) == b"/1"
    time.sleep(3.1)
    assert driver.get(get(session, b"/2")) == b"/2"
    assert up.connections == 2


@pytest.mark.parametrize("open_with", ["aio", "blocking"], indirect=True)
def test_a_connection_idle_for_a_second_is_used_again(
    driver: Driver, serve: Serve
) -> None:
    up = serve(numbered)
    session = session_at(up.url)
    assert driver.get(get(session, b"/1")) == b"/1"
    time.sleep(1)
    assert driver.get(get(session, b"/2")) == b"/2"
    assert up.connections == 1


@pytest.mark.parametrize("open_with", ["blocking"], indirect=True)
def test_requests_to_other_sessions_close_what_has_been_idle_too_long(
    open_with: Open, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "Pool", partial(Pool, keep_idle=0.2))
    driver = open_with()
    gone: list[float] = []

    def left(peer: Peer) -> None:
        numbered(peer)
        gone.append(time.monotonic())

    driver.get(get(session_at(serve(left).url)))
    other = session_at(serve(numbered).url)

    def closed() -> bool:
        driver.get(get(other))
        return bool(gone)

    wait_until(closed)


def dying_on_second(seen: list[Received]) -> Script:
    """The first connection closes as soon as a second request has come."""

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            seen.append(request)
            if peer.number == 0 and request.target == b"/2":
                return
            peer.send(ok(request.target))

    return script


@own_transports
def test_a_get_on_a_connection_that_died_is_sent_once_more(
    driver: Driver, serve: Serve
) -> None:
    seen: list[Received] = []
    up = serve(dying_on_second(seen))
    session = session_at(up.url)
    assert driver.get(get(session, b"/1")) == b"/1"
    assert driver.get(get(session, b"/2")) == b"/2"
    assert [request.target for request in seen] == [b"/1", b"/2", b"/2"]
    assert up.connections == 2


@own_transports
def test_a_get_is_not_sent_a_third_time(driver: Driver, serve: Serve) -> None:
    seen: list[Received] = []

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            seen.append(request)
            if request.target == b"/2":
                return
            peer.send(ok())

    session = session_at(serve(script).url)
    assert driver.get(get(session, b"/1")) == b"ok"
    with pytest.raises(UpstreamUnreachable) as caught:
        driver.send(get(session, b"/2"))
    assert type(caught.value) is UpstreamUnreachable
    assert [request.target for request in seen] == [b"/1", b"/2", b"/2"]


@own_transports
@pytest.mark.parametrize("size", [0, 3, 100_000])
def test_a_post_on_a_connection_that_died_reaches_the_session_at_most_once(
    size: int, driver: Driver, serve: Serve
) -> None:
    seen: list[Received] = []
    session = session_at(serve(dying_on_second(seen)).url)
    assert driver.get(get(session, b"/1")) == b"/1"
    body = Body([b"x" * size]) if size else None
    with pytest.raises(UpstreamUnreachable):
        driver.send(post(session, size, b"/2"), body)
    assert [request.target for request in seen] == [b"/1", b"/2"]


def test_a_connection_closed_while_idle_is_not_used_even_for_a_post(
    driver: Driver, serve: Serve
) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        peer.send(ok(request.target))
        peer.close()
        closed.set()

    session = session_at(serve(script).url)
    assert driver.get(get(session, b"/1")) == b"/1"
    closed.wait(5)
    time.sleep(0.05)  # Loopback, and a turn of the loop.
    answer = driver.send(post(session, 1, b"/2"), Body([b"x"]))
    assert answer.body() == b"/2"


def test_a_response_that_was_left_early_is_not_continued_by_the_next(
    open_with: Open, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n")
            peer.send(request.target * 5)
            time.sleep(0.05)
            peer.send(request.target * 5)

    driver = open_with()
    session = session_at(serve(script).url)
    driver.send(get(session, b"/1")).close()
    assert driver.get(get(session, b"/2")) == b"/2" * 10
