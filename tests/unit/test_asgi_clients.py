"""Watching clients costs nothing that outlives their requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore, Session, SessionProxy
from session_proxy_middleware.asgi import SessionProxyMiddleware
from session_proxy_middleware.asgi_client import (
    END_WITHIN,
    LOOK_EVERY,
    Client,
    Lookout,
    Message,
)
from session_proxy_middleware.errors import ClientDisconnected, ConnectFailed
from session_proxy_middleware.interfaces import AsyncTransport, AsyncUpload
from session_proxy_middleware.models import Headers, Outbound
from session_proxy_middleware.rules.body import BodyMeter
from session_proxy_middleware.upstream.aio import AsyncHTTP11Transport
from tests.unit.values import a_session

SESSION = "57af5437-97a2-4646-9873-a5c5935bd705"
PATH = f"/svc/sessions/{SESSION}/x"


class Answer:
    """A response that is all there."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: Headers = []
        self.complete = True
        self.pieces = [b"answer"]

    async def read(self) -> bytes:
        return b""

    async def aclose(self) -> None:
        return


class Moving:
    """A transport to a session that moves whenever somebody tries to connect."""

    def __init__(self, store: MemoryStore, *, fail: bool) -> None:
        self._store = store
        self._fail = fail

    async def asend(self, outbound: Outbound, upload: AsyncUpload | None) -> Answer:
        if self._fail and outbound.session.origin.port == 9:
            self._store.sessions.register("svc", SESSION, "http://127.0.0.1:10")
            raise ConnectFailed("moved")
        await asyncio.sleep(0.001)  # Long enough for another thread's turn.
        return Answer()

    async def aclose(self) -> None:
        return


def scope() -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "headers": [(b"authorization", b"Bearer pk_a_secret_of_ones_own_012345678")],
    }


async def call(app: SessionProxyMiddleware) -> int:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    # A task each, as a server makes them.
    await asyncio.create_task(app(scope(), receive, send))
    return int(sent[0]["status"])


def mounted(*, fail: bool) -> tuple[SessionProxyMiddleware, MemoryStore]:
    app, store, _ = mounted_on(lambda store: Moving(store, fail=fail))
    return app, store


def mounted_on(
    transport: Callable[[MemoryStore], AsyncTransport],
) -> tuple[SessionProxyMiddleware, MemoryStore, SessionProxy]:
    async def host(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("not the host's")

    store = MemoryStore()
    store.keys.create(secret="pk_a_secret_of_ones_own_012345678")
    proxy = SessionProxy(store, transport=transport(store))
    return SessionProxyMiddleware(host, proxy), store, proxy


def test_a_second_try_leaves_no_watcher_of_the_first() -> None:
    async def scenario() -> int:
        app, store = mounted(fail=True)
        for _ in range(5):
            store.sessions.register("svc", SESSION, "http://127.0.0.1:9")
            assert await call(app) == 200
        await asyncio.sleep(LOOK_EVERY * 3)
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1


def test_two_loops_at_once_leave_no_watchers_of_finished_requests() -> None:
    app, store = mounted(fail=False)
    store.sessions.register("svc", SESSION, "http://127.0.0.1:10")
    left: list[int] = []

    async def scenario() -> None:
        for _ in range(200):
            assert await call(app) == 200
            await asyncio.sleep(0)
        await asyncio.sleep(LOOK_EVERY * 3)
        left.append(len(asyncio.all_tasks()))

    threads = [threading.Thread(target=asyncio.run, args=(scenario(),)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert left == [1, 1]


async def none_ended(sessions: list[Session]) -> list[Session]:
    return []


def a_lookout(idle: float = 1.0) -> Lookout:
    """Of the loop that runs."""
    return Lookout(
        asyncio.get_running_loop(),
        idle=idle,
        activity=None,
        ended=none_ended,
        patrol=60.0,
        transport=AsyncHTTP11Transport(),
    )


def test_an_upload_has_ended_when_all_that_was_declared_has_come() -> None:
    """granian says that nothing more comes with an empty message of its own: waited
    for, it would be later than the answer, and cost the connection's reuse."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"hello", "more_body": True}

    async def upload() -> bool:
        lookout = a_lookout()
        client = Client(receive, lookout, a_session())
        client.expect(BodyMeter(5, None))
        assert await client.read() == b"hello"
        return client.ended

    assert asyncio.run(upload())


def test_a_receive_that_answers_at_once_does_not_stop_the_loop() -> None:
    """As of a middleware that has read the body and replays it, for ever."""
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"", "more_body": False}

    async def watching() -> None:
        lookout = a_lookout()
        client = Client(receive, lookout, a_session())
        client.watch()
        await asyncio.sleep(4 * LOOK_EVERY)
        client.close()

    asyncio.run(watching())
    assert asked < 100


def test_a_body_that_nobody_wants_any_more_is_not_held_up() -> None:
    """hypercorn reads nothing else of a connection of HTTP/2 until it is taken."""
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x", "more_body": asked < 100}

    async def watching() -> None:
        client = Client(receive, a_lookout(), a_session())
        client.watch()
        await asyncio.sleep(LOOK_EVERY / 2)
        client.close()

    asyncio.run(watching())
    assert asked == 100


def test_a_client_that_cannot_be_watched_is_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def receive() -> Message:
        raise ValueError("a bug of a middleware")

    async def settling() -> None:
        client = Client(receive, a_lookout(), a_session())
        async with asyncio.timeout(END_WITHIN / 2):
            await client.settle()
        client.close()

    asyncio.run(settling())
    assert "a client could not be watched" in caplog.text
    assert "a bug of a middleware" in caplog.text


def test_the_end_of_a_request_is_waited_for_no_longer_than_half_the_idle_time() -> None:
    """Else the client, which has nothing more to take, would pass for idle."""

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def settling() -> None:
        client = Client(receive, a_lookout(idle=0.2), a_session())
        async with asyncio.timeout(END_WITHIN / 2):
            await client.settle()
        client.close()

    asyncio.run(settling())


class Server:
    """What a server does for one request: its client takes the answer up to the first
    message of the type `held`."""

    def __init__(self, held: str = "http.response.body") -> None:
        self._held = held
        self.receiving = 0
        self.most = 0
        """Who received at the same time."""
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.sending = asyncio.Event()

    async def receive(self) -> Message:
        self.receiving += 1
        self.most = max(self.most, self.receiving)
        try:
            return await self.messages.get()
        finally:
            self.receiving -= 1

    async def send(self, message: Message) -> None:
        if message["type"] == self._held:
            self.sending.set()
            await asyncio.Event().wait()


class Keeping:
    """A transport to a session that answers `status`, and takes the upload on and on:
    nothing of either ends by itself."""

    def __init__(self, status: int | None) -> None:
        self._status = status
        self.got: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    async def asend(self, outbound: Outbound, upload: AsyncUpload | None) -> Answer:
        async def take() -> None:
            assert upload is not None
            while True:
                self.got.append(await upload.read())

        self._task = asyncio.create_task(take())
        if self._status is None:
            try:
                await asyncio.Event().wait()
            finally:
                await self.aclose()
        answer = Answer()
        answer.status, answer.complete = self._status or 0, False
        answer.aclose = self.aclose  # type: ignore[method-assign]
        return answer

    async def aclose(self) -> None:
        assert self._task is not None
        self._task.cancel()


def serving(
    transport: Keeping, server: Server
) -> tuple[asyncio.Task[None], SessionProxy, MemoryStore]:
    """A POST that is under way."""
    app, store, proxy = mounted_on(lambda _: transport)
    store.sessions.register("svc", SESSION, "http://127.0.0.1:9")
    fields = [*scope()["headers"], (b"content-length", b"1000")]
    asked = scope() | {"method": "POST", "headers": fields}
    called = app(asked, server.receive, server.send)
    return asyncio.create_task(called), proxy, store


def test_what_still_sends_an_upload_ends_before_its_client_is_watched() -> None:
    """The session's answer is no answer, and the proxy's own is not taken."""
    piece = {"type": "http.request", "body": b"x", "more_body": True}

    async def scenario() -> None:
        transport, server = Keeping(700), Server()
        task, proxy, _ = serving(transport, server)
        await server.sending.wait()
        for _ in range(5):
            server.messages.put_nowait(piece)
            await asyncio.sleep(LOOK_EVERY)
        assert transport.got == []
        assert server.most == 1
        server.messages.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(task, 1.0)
        assert proxy.limiter.in_flight == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("then", ["leaves", "is cancelled"])
def test_a_request_that_was_interrupted_can_be_once_more(then: str) -> None:
    """First its session ends; then, while it is told so, its client leaves, or the
    server ends it, which is no business of ours."""

    async def scenario() -> None:
        transport, server = Keeping(None), Server()
        task, proxy, store = serving(transport, server)
        await asyncio.sleep(LOOK_EVERY)
        store.sessions.end("svc", SESSION)
        await server.sending.wait()
        await asyncio.sleep(3 * LOOK_EVERY)
        if then == "leaves":
            server.messages.put_nowait({"type": "http.disconnect"})
            await asyncio.wait_for(task, 1.0)
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert proxy.limiter.in_flight == 0

    asyncio.run(scenario())


def test_nothing_of_a_refused_body_is_read_before_the_refusal_is_begun() -> None:
    """Some servers say `100 Continue` to whom is read from."""

    async def scenario() -> None:
        server = Server(held="http.response.start")
        app, store, _ = mounted_on(lambda _: Keeping(None))
        store.sessions.register("svc", SESSION, "http://127.0.0.1:9")
        fields = [(b"authorization", b"Bearer wrong"), (b"content-length", b"1000")]
        asked = scope() | {"method": "POST", "headers": fields}
        task = asyncio.create_task(app(asked, server.receive, server.send))
        await server.sending.wait()
        await asyncio.sleep(4 * LOOK_EVERY)
        assert server.most == 0
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(scenario())


def test_a_client_whose_connection_is_told_to_be_lost_has_left() -> None:
    async def receive() -> Message:
        raise ConnectionResetError("by the peer")

    async def reading() -> None:
        client = Client(receive, a_lookout(), a_session())
        client.expect(BodyMeter(5, None))
        with pytest.raises(ClientDisconnected):
            await client.read()
        client.watch()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(1.0)
        assert client.interrupted()
        assert client.reason == "client_disconnected"
        client.close()

    asyncio.run(reading())
