"""Many requests at once, many loops, forks, unix sockets."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from session_proxy_middleware.errors import ConnectFailed
from session_proxy_middleware.upstream.aio import AsyncHTTP11Transport
from session_proxy_middleware.upstream.blocking import HTTP11Transport
from tests.transport.bodies import Body
from tests.transport.conftest import Serve
from tests.transport.drivers import Driver
from tests.transport.requests import get, post, session_at
from tests.transport.servers import Peer, listening_unix, ok


def echoing(peer: Peer) -> None:
    while (request := peer.request()) is not None:
        peer.send(ok(request.target + request.body))


def test_fifty_requests_at_once_get_their_own_answers(
    driver: Driver, serve: Serve
) -> None:
    session = session_at(serve(echoing).url)
    for _ in range(2):
        gets = [driver.begin(get(session, b"/get/%d" % n)) for n in range(25)]
        posts = [
            driver.begin(post(session, None, b"/post/"), Body([b"%d," % n, b"%d" % n]))
            for n in range(25)
        ]
        for n in range(25):
            assert gets[n].result(10).body() == b"/get/%d" % n
            assert posts[n].result(10).body() == b"/post/%d,%d" % (n, n)


def test_requests_at_once_never_share_a_connection(
    driver: Driver, serve: Serve
) -> None:
    together = threading.Barrier(5)

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            together.wait(5)
            peer.send(ok(request.target))

    up = serve(script)
    session = session_at(up.url)
    futures = [driver.begin(get(session, b"/%d" % n)) for n in range(5)]
    bodies = [future.result(10).body() for future in futures]
    assert bodies == [b"/%d" % n for n in range(5)]
    assert up.connections == 5


def test_two_event_loops_share_a_transport_and_no_connection(serve: Serve) -> None:
    up = serve(echoing)
    session = session_at(up.url)
    transport = AsyncHTTP11Transport()
    together = threading.Barrier(2)
    bodies: list[bytes] = []

    async def work(name: bytes) -> None:
        for number in range(5):
            response = await transport.asend(
                get(session, b"/%b%d" % (name, number)), None
            )
            while data := await response.read():
                bodies.append(data)
            together.wait(5)
        await transport.aclose()

    threads = [
        threading.Thread(target=lambda name=name: asyncio.run(work(name)))
        for name in (b"a", b"b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(bodies) == sorted(
        b"/%b%d" % (x, n) for x in (b"a", b"b") for n in range(5)
    )
    assert up.connections == 2


def test_a_transport_serves_one_loop_after_another(serve: Serve) -> None:
    session = session_at(serve(echoing).url)
    transport = AsyncHTTP11Transport()

    async def work() -> bytes:
        response = await transport.asend(get(session, b"/x"), None)
        body = await response.read()
        await transport.aclose()
        return body

    for _ in range(3):
        assert asyncio.run(work()) == b"/x"


def test_a_forked_child_uses_none_of_its_parents_connections(serve: Serve) -> None:
    up = serve(echoing)
    session = session_at(up.url)
    transport = HTTP11Transport()
    assert transport.send(get(session, b"/1"), None).read() == b"/1"
    child = os.fork()
    if child == 0:
        # No assertion may leave the child: it would run the rest of the tests.
        code = 1
        try:
            code = 0 if transport.send(get(session, b"/2"), None).read() == b"/2" else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert transport.send(get(session, b"/3"), None).read() == b"/3"
    transport.close()
    seen = [bytes(peer.raw).split(b" ")[1::4] for peer in up.peers]
    assert [b"/2" in targets for targets in seen] == [False, True]


def test_unix_sessions_are_reached_or_refused_plainly(
    driver: Driver, serve: Serve, tmp_path: Path
) -> None:
    up = serve.keep(listening_unix(str(tmp_path / "bot.sock"), echoing))
    session = session_at(up.url + ":/base")
    if driver.expected.unix:
        for _ in range(2):
            assert driver.get(get(session, b"/base/x")) == b"/base/x"
        assert up.connections == 1
        assert b"host: localhost\r\n" in up.raw
    else:
        with pytest.raises(ConnectFailed):
            driver.send(get(session, b"/base/x"))


def test_a_unix_session_that_is_gone_is_a_failed_connect(
    driver: Driver, tmp_path: Path
) -> None:
    with pytest.raises(ConnectFailed):
        driver.send(get(session_at(f"unix://{tmp_path}/none.sock")))
