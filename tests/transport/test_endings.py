"""How responses break off, and who gets to know."""

from __future__ import annotations

import threading
import time

import pytest

from session_proxy_middleware import Timeouts
from session_proxy_middleware.errors import ClientDisconnected, ResponseTruncated
from tests.support.clocks import wait_until
from tests.transport.conftest import Open, Serve
from tests.transport.drivers import Answer, Driver
from tests.transport.requests import get, session_at
from tests.transport.servers import Peer, Script, ok

LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def truncation(answer: Answer) -> tuple[bytes, str]:
    """What came, and the reason why no more does."""
    pieces = []
    with pytest.raises(ResponseTruncated) as caught:
        while not answer.ended:
            pieces.append(answer.read())
    assert not answer.ended
    answer.close()
    return b"".join(pieces), caught.value.reason


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    ("head", "part"),
    [
        (LENGTH, b"abc"),
        (LENGTH, b""),
        (CHUNKS, b""),
        (CHUNKS, b"3\r\nabc\r\n"),
        (CHUNKS, b"3\r\nabc"),
        (CHUNKS, b"3\r\nabc\r\n0\r\n"),
    ],
)
def test_a_body_that_breaks_off_is_never_taken_for_whole(
    head: bytes, part: bytes, how: str, driver: Driver, serve: Serve
) -> None:
    cut = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(head + part)
        cut.wait(5)
        peer.close() if how == "close" else peer.reset()

    answer = driver.send(get(session_at(serve(script).url)))
    threading.Timer(0.02, cut.set).start()
    body, reason = truncation(answer)
    assert reason == "upstream_closed"
    assert b"abc".startswith(body)
    if how == "close" and b"abc" in part:
        assert body == b"abc"


def test_a_close_delimited_body_that_is_reset_is_truncated(
    driver: Driver, serve: Serve
) -> None:
    cut = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        cut.wait(5)
        peer.reset()

    answer = driver.send(get(session_at(serve(script).url)))
    assert answer.read() == b"abc"
    cut.set()
    assert truncation(answer) == (b"", "upstream_closed")


@pytest.mark.parametrize("chunk", [b"xyz\r\nabc\r\n", b"3\r\nabcdef", b"-1\r\n"])
def test_nonsense_between_chunks_breaks_the_body_off(
    chunk: bytes, driver: Driver, serve: Serve
) -> None:
    gone: list[bool] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKS + b"2\r\nok\r\n")
        time.sleep(0.02)
        peer.send(chunk)
        gone.append(peer.gone())

    answer = driver.send(get(session_at(serve(script).url)))
    body, reason = truncation(answer)
    assert b"okabc".startswith(body)
    assert reason in ("upstream_protocol", "upstream_closed")
    wait_until(lambda: gone == [True])


@pytest.mark.parametrize("head", [LENGTH, CHUNKS + b"3\r\nabc\r\n"])
def test_a_body_that_stands_still_too_long_is_truncated(
    head: bytes, open_with: Open, serve: Serve
) -> None:
    gone: list[bool] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(head)
        gone.append(peer.gone(5))

    driver = open_with(Timeouts(connect=5, response=5, idle=0.2))
    answer = driver.send(get(session_at(serve(script).url)))
    started = time.monotonic()
    assert truncation(answer)[1] == "upstream_idle"
    assert time.monotonic() - started < 2
    wait_until(lambda: gone == [True])


def test_a_body_that_keeps_moving_may_take_longer_than_any_idle_time(
    open_with: Open, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKS)
        for _ in range(8):
            time.sleep(0.1)
            peer.send(b"1\r\nx\r\n")
        peer.send(b"0\r\n\r\n")

    driver = open_with(Timeouts(connect=5, response=0.4, idle=0.4))
    answer = driver.send(get(session_at(serve(script).url)))
    assert answer.body() == b"x" * 8


def test_a_total_time_ends_a_body(open_with: Open, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKS)
        for _ in range(15):
            time.sleep(0.05)
            peer.send(b"1\r\nx\r\n")
        peer.send(b"0\r\n\r\n")

    driver = open_with(Timeouts(connect=5, response=5, idle=5, total=0.3))
    answer = driver.send(get(session_at(serve(script).url)))
    if driver.expected.bounds_total:
        body, reason = truncation(answer)
        assert (len(body) < 10, reason) == (True, "total_timeout")
    else:
        assert answer.body() == b"x" * 15


def watched(gone: list[float], head: bytes = b"") -> Script:
    """Notes when the proxy closed the connection."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(head)
        if peer.gone(5):
            gone.append(time.monotonic())

    return script


@pytest.mark.parametrize("head", [LENGTH, CHUNKS + b"3\r\nabc\r\n"])
def test_closing_a_response_closes_the_connection(
    head: bytes, driver: Driver, serve: Serve
) -> None:
    gone: list[float] = []
    answer = driver.send(get(session_at(serve(watched(gone, head)).url)))
    closed = time.monotonic()
    answer.close()
    wait_until(lambda: bool(gone))
    assert gone[0] - closed < 1
    answer.close()  # At any time, and more than once.


def test_closing_a_response_that_is_whole_keeps_the_connection(
    driver: Driver, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(ok())

    up = serve(script)
    session = session_at(up.url)
    for _ in range(2):
        answer = driver.send(get(session))
        assert answer.body() == b"ok"
        answer.close()
    assert up.connections == (1 if driver.expected.reuses else 2)


def test_a_client_that_leaves_before_the_answer_closes_the_connection(
    open_with: Open, serve: Serve
) -> None:
    gone: list[float] = []
    driver = open_with(Timeouts(connect=5, response=1, idle=5))
    up = serve(watched(gone))
    future = driver.begin(get(session_at(up.url)))
    wait_until(lambda: bool(up.raw))
    left = time.monotonic()
    driver.abandon(future)
    wait_until(lambda: bool(gone))
    assert (gone[0] - left < 0.8) == driver.expected.watches_client
    with pytest.raises(BaseException) as caught:
        future.result(5)
    if driver.expected.watches_client and not future.cancelled():
        assert isinstance(caught.value, ClientDisconnected)


def flooding(peer: Peer) -> None:
    """64 MB, as fast as they are taken."""
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
    piece = bytes(1 << 16)
    for _ in range(1 << 10):
        peer.send(piece)


def test_a_reader_that_does_not_read_holds_the_session_up(
    driver: Driver, serve: Serve
) -> None:
    up = serve(flooding)
    answer = driver.send(get(session_at(up.url)))
    before = -1
    while up.peers[0].sent != before:
        before = up.peers[0].sent
        time.sleep(0.15)
    assert before < 16 << 20
    total = 0
    while not answer.ended:
        total += len(answer.read())
    assert total == 64 << 20


def test_a_slow_reader_gets_bounded_pieces(driver: Driver, serve: Serve) -> None:
    answer = driver.send(get(session_at(serve(flooding).url)))
    largest = 0
    for _ in range(8):
        time.sleep(0.02)
        largest = max(largest, len(answer.read()))
    assert largest <= 1 << 20
    answer.close()
