"""Requests whose body does not run its straight course."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from session_proxy_middleware import Timeouts
from session_proxy_middleware.errors import (
    BodyTooLarge,
    ClientDisconnected,
    ResponseTruncated,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from tests.support.clocks import wait_until
from tests.transport.bodies import Body
from tests.transport.conftest import Open, Serve
from tests.transport.drivers import OWN, OWN_ASYNC, Driver
from tests.transport.requests import get, post, session_at
from tests.transport.servers import Peer, held_open, ok, replying, untaking

PIECE = bytes(1 << 16)
LARGE = [PIECE] * (1 << 9)
"""32 MB."""
LARGE_SIZE = len(PIECE) * len(LARGE)


def settled(body: Body) -> int:
    """What was asked of the client, once no more is asked."""
    before = -1
    while body.given != before:
        before = body.given
        time.sleep(0.15)
    return before


@pytest.mark.parametrize("length", [LARGE_SIZE, None])
def test_a_session_that_does_not_read_holds_the_client_up(
    length: int | None, open_with: Open, serve: Serve
) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        go.wait(10)
        body = peer.chunked_body() if length is None else peer.exactly(length)
        peer.send(ok(b"%d" % len(body)))

    driver = open_with(Timeouts(connect=5, response=5, idle=10))
    body = Body(LARGE)
    future = driver.begin(post(session_at(serve(script).url), length), body)
    wait_until(lambda: body.given > 0)
    assert settled(body) < 16 << 20
    go.set()
    assert future.result(15).body() == b"%d" % LARGE_SIZE


def test_a_session_that_never_reads_is_given_up(open_with: Open, serve: Serve) -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        assert done.wait(5)

    driver = open_with(Timeouts(connect=5, response=0.3, idle=0.3))
    up = serve(script)
    with pytest.raises(UpstreamTimeout):
        driver.send(post(session_at(up.url), None), Body(LARGE))
    wait_until(lambda: not held_open(up.url))
    done.set()


def refusing(peer: Peer) -> None:
    """Answers on sight of the head and closes, as servers do with too much."""
    peer.head()
    body = b"too much"
    peer.send(
        b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    assert peer.gone(5)


@pytest.mark.parametrize("length", [LARGE_SIZE, None])
def test_an_early_refusal_is_delivered_while_the_upload_runs(
    length: int | None, driver: Driver, serve: Serve
) -> None:
    up = serve(refusing)
    answer = driver.send(post(session_at(up.url), length), Body(LARGE))
    assert (answer.status, answer.body()) == (413, b"too much")


def test_an_early_refusal_followed_by_a_reset_does_not_hang(
    driver: Driver, serve: Serve
) -> None:
    """Whether the answer survives a reset is the network's choice, not ours."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        peer.sock.close()  # With bytes unread this sends a RST.

    future = driver.begin(post(session_at(serve(script).url), LARGE_SIZE), Body(LARGE))
    failure = future.exception(10)
    if failure is None:
        assert future.result().status == 413
    else:
        assert isinstance(failure, UpstreamUnreachable)


@pytest.mark.parametrize("length", [10, None])
def test_an_early_answer_is_passed_on_while_the_client_pauses(
    length: int | None, driver: Driver, serve: Serve
) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(ok(b"early"))
        assert peer.gone(10)

    body = Body([b"12345", go, b"67890"])
    future = driver.begin(post(session_at(serve(script).url), length), body)
    if driver.expected.answers_early:
        answer = future.result(3)
        assert answer.body() == b"early"
        assert not body.ended
    else:
        go.set()
        assert future.result(3).body() == b"early"
    go.set()


def test_a_connection_whose_upload_was_cut_short_is_not_used_again(
    driver: Driver, serve: Serve
) -> None:
    """What remains of the first body would be taken out of the next request."""

    def script(peer: Peer) -> None:
        while (request := peer.head()) is not None:
            peer.send(ok(request.target))
            peer.exactly(LARGE_SIZE if request.method == b"POST" else 0)

    session = session_at(serve(script).url)
    answer = driver.send(post(session, LARGE_SIZE, b"/1"), Body(LARGE))
    assert answer.body() == b"/1"
    assert driver.get(get(session, b"/2")) == b"/2"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_nor_is_one_whose_upload_was_sent_and_not_taken(
    driver: Driver, serve: Serve
) -> None:
    """It waits in the system's buffers alone: the next request would stand behind."""
    done = threading.Event()
    session = session_at(serve(untaking(done)).url)
    answer = driver.send(post(session, 1 << 20, b"/1"), Body([PIECE] * 16))
    assert answer.body() == b"/1"
    assert driver.get(get(session, b"/2")) == b"/2"
    done.set()


@pytest.mark.parametrize("open_with", OWN, indirect=True)
def test_a_session_that_answers_early_and_reads_no_more_is_let_go(
    driver: Driver, serve: Serve
) -> None:
    """What is still unsent must not keep the connection open for good."""
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        time.sleep(0.2)  # Until the network is full of the upload.
        peer.send(ok(b"early"))
        assert done.wait(5)

    up = serve(script)
    answer = driver.send(post(session_at(up.url), LARGE_SIZE), Body(LARGE))
    assert answer.body() == b"early"
    try:
        wait_until(lambda: not held_open(up.url), within=1)
    finally:
        done.set()


@pytest.mark.parametrize("open_with", OWN_ASYNC, indirect=True)
@pytest.mark.parametrize("length", [6, None])
def test_both_directions_flow_at_once(
    length: int | None, driver: Driver, serve: Serve
) -> None:
    """An echo: each piece is answered before the next is sent."""
    pauses = [threading.Event() for _ in range(3)]

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            if length is None:
                assert peer.exactly(3) == b"2\r\n"
            data = peer.exactly(2)
            assert data == b"%d!" % number
            if length is None:
                peer.exactly(2)
            peer.send(b"2\r\n" + data + b"\r\n")
        if length is None:
            assert peer.exactly(5) == b"0\r\n\r\n"
        peer.send(b"0\r\n\r\n")

    body = Body([pauses[0], b"0!", pauses[1], b"1!", pauses[2], b"2!"])
    answer = driver.send(post(session_at(serve(script).url), length), body)
    for number in range(3):
        pauses[number].set()
        assert answer.read() == b"%d!" % number
    assert answer.body() == b""


@pytest.mark.parametrize("start", [[b"123"], []], ids=["half-way", "at-once"])
def test_a_client_that_stalls_in_its_upload_times_out(
    start: list[bytes], open_with: Open, serve: Serve
) -> None:
    driver = open_with(Timeouts(connect=5, response=5, idle=0.3))
    go = threading.Event()
    body = Body([*start, go, b"45"])
    length = 2 + sum(map(len, start))
    future = driver.begin(post(session_at(serve(replying(ok())).url), length), body)
    if driver.expected.stalled_client is not None:
        with pytest.raises(driver.expected.stalled_client):
            future.result(3)
    else:
        with pytest.raises(TimeoutError):
            future.result(0.5)
        go.set()
        assert future.result(3).body() == b"ok"


@pytest.mark.parametrize(
    "failure", [ClientDisconnected("gone"), BodyTooLarge("over 5 bytes")]
)
@pytest.mark.parametrize("items", [[], [b"123"]], ids=["at-once", "half-way"])
@pytest.mark.parametrize("length", [10, None])
def test_an_upload_that_fails_closes_the_connection(
    length: int | None,
    items: list[bytes],
    failure: Exception,
    driver: Driver,
    serve: Serve,
) -> None:
    gone: list[bool] = []

    def script(peer: Peer) -> None:
        gone.append(peer.gone(5))

    up = serve(script)
    with pytest.raises(type(failure)) as caught:
        driver.send(post(session_at(up.url), length), Body([*items, failure]))
    assert caught.value is failure
    wait_until(lambda: gone == [True])


def test_an_upload_that_fails_never_looks_whole_to_the_session(
    driver: Driver, serve: Serve
) -> None:
    whole: list[bool] = []

    def script(peer: Peer) -> None:
        try:
            whole.append(peer.request() is not None)
        except (EOFError, OSError):
            whole.append(False)

    pause = threading.Event()
    threading.Timer(0.05, pause.set).start()
    body = Body([b"abc", pause, ClientDisconnected("gone")])
    with pytest.raises(ClientDisconnected):
        driver.send(post(session_at(serve(script).url), None), body)
    wait_until(lambda: whole == [False])


@pytest.mark.parametrize("open_with", OWN_ASYNC, indirect=True)
def test_an_upload_that_fails_after_the_head_truncates_the_response(
    driver: Driver, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        assert peer.gone(5)

    pause = threading.Event()
    body = Body([b"123", pause, ClientDisconnected("gone")])
    answer = driver.send(post(session_at(serve(script).url), 6), body)
    assert answer.read() == b"abc"
    pause.set()
    with pytest.raises((ClientDisconnected, ResponseTruncated)):
        answer.read()


def test_an_abandoned_upload_closes_the_connection(
    driver: Driver, serve: Serve
) -> None:
    gone: list[bool] = []

    def script(peer: Peer) -> None:
        peer.head()
        gone.append(peer.gone(5))

    pause = threading.Event()
    body = Body([b"123", pause, ClientDisconnected("gone")])
    up = serve(script)
    future = driver.begin(post(session_at(up.url), 6), body)
    wait_until(lambda: bool(up.raw))
    driver.abandon(future)
    pause.set()
    with pytest.raises(BaseException):  # noqa: B017
        future.result(5)
    wait_until(lambda: gone == [True])


def test_uploads_share_a_connection_one_after_the_other(
    driver: Driver, serve: Serve
) -> None:
    up = serve(replying(ok()))
    session = session_at(up.url)
    for length in (3, None, 3):
        pause = threading.Event()
        threading.Timer(0.01, pause.set).start()
        body = Body([b"a", pause, b"bc"])
        assert driver.send(post(session, length), body).body() == b"ok"
    assert up.connections == (1 if driver.expected.reuses else 3)
