"""The ASGI driver under a server that the test plays, to do what no real one does."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from session_proxy_middleware import MemoryStore, SessionProxy, Timeouts
from session_proxy_middleware.asgi import SessionProxyMiddleware
from session_proxy_middleware.rules.networks import Networks
from session_proxy_middleware.upstream.aio import AsyncHTTP11Transport

ID = "57af5437-97a2-4646-9873-a5c5935bd705"
PATIENCE = 10


class Server:
    """One WebSocket of an ASGI server."""

    def __init__(
        self, app: Any, key: str, first: str = "websocket.connect", **scope: Any
    ) -> None:
        self.sent: list[dict[str, Any]] = []
        self.waiting = 0
        """How many calls of `receive` are pending."""
        self.waiting_at_close: list[int] = []
        self.fail: Exception | None = None
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self.give(first)
        path = f"/bot/sessions/{ID}/ws"
        self.scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "headers": [
                (b"host", b"portal.test"),
                (b"authorization", b"Bearer " + key.encode()),
            ],
            "extensions": {"websocket.http.response": {}},
            **scope,
        }
        self.task = asyncio.create_task(app(self.scope, self._receive, self._send))

    def give(self, type: str, **values: Any) -> None:
        """What the application receives next."""
        self._inbox.put_nowait({"type": type, **values})

    async def until(self, type: str) -> dict[str, Any]:
        """The first message of that type that the application sends."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for message in self.sent:
                    if message["type"] == type:
                        return message
                self._changed.clear()
                await self._changed.wait()

    async def ended(self) -> None:
        """The application has returned."""
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def _receive(self) -> dict[str, Any]:
        self.waiting += 1
        try:
            return await self._inbox.get()
        finally:
            self.waiting -= 1

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] in ("websocket.close", "websocket.http.response.start"):
            self.waiting_at_close.append(self.waiting)
        if self.fail is not None:
            raise self.fail
        self.sent.append(message)
        self._changed.set()


async def until(condition: Callable[[], object]) -> None:
    """Come back when it holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def portal(
    handler: Handler, context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[tuple[Any, str, SessionProxy]]:
    """The middleware, a key, and a session that `handler` plays."""
    store = MemoryStore()
    key = store.keys.create().secret or ""
    async with serve(handler, "127.0.0.1", 0, ssl=context) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        scheme = "https" if context else "http"
        store.sessions.register("bot", ID, f"{scheme}://127.0.0.1:{port}")
        proxy = SessionProxy(store, **options)

        async def host(*_: Any) -> None:
            raise NotImplementedError

        yield SessionProxyMiddleware(host, proxy), key, proxy


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def leave(ws: ServerConnection) -> None:
    await ws.close(4000, "bye")


def run(play: Callable[[], Awaitable[None]]) -> None:
    """In an event loop of its own, within bounds."""
    asyncio.run(asyncio.wait_for(play(), 3 * PATIENCE))


def test_no_receive_is_pending_when_a_close_is_sent() -> None:
    async def play() -> None:
        async with portal(leave) as (app, key, _):
            server = Server(app, key)
            closed = await server.until("websocket.close")
            assert (closed["code"], closed["reason"]) == (4000, "bye")
            await server.ended()
            assert server.waiting_at_close == [0]
            assert server.waiting == 0

    run(play)


def test_no_receive_is_pending_when_a_refusal_is_sent() -> None:
    async def play() -> None:
        async with portal(echo) as (app, key, proxy):
            proxy.store.sessions.register("bot", ID, "http://127.0.0.1:1")  # type: ignore[attr-defined]
            server = Server(app, key)
            answer = await server.until("websocket.http.response.start")
            assert answer["status"] == 502
            await server.ended()
            assert server.waiting_at_close == [0]

    run(play)


def test_a_socket_that_the_server_cancels_closes_its_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed: list[int] = []

    async def note(ws: ServerConnection) -> None:
        try:
            await ws.recv()
        except ConnectionClosed as over:
            assert over.rcvd is not None
            closed.append(over.rcvd.code)

    async def play() -> None:
        async with portal(note) as (app, key, proxy):
            server = Server(app, key)
            await server.until("websocket.accept")
            server.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await server.task
            assert proxy.limiter.in_flight == 0
            await until(lambda: closed)
            assert server.waiting == 0

    with caplog.at_level(logging.INFO, "session_proxy.access"):
        run(play)
    assert closed == [1001]
    [record] = [each for each in caplog.records if each.name == "session_proxy.access"]
    assert vars(record)["end_reason"] == "cancelled"
    assert vars(record)["close_code"] == 1001


@pytest.mark.parametrize("fail", [OSError("gone"), ValueError("no such code")])
def test_a_server_that_takes_nothing_any_more(
    fail: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        async with portal(echo) as (app, key, proxy):
            server = Server(app, key)
            await server.until("websocket.accept")
            server.fail = fail
            server.give("websocket.receive", text="x")
            if isinstance(fail, OSError):
                await server.ended()
            else:  # It is to see it, or it does not close.
                with pytest.raises(ValueError, match="no such code"):
                    await server.ended()
            assert proxy.limiter.in_flight == 0

    with caplog.at_level(logging.INFO, "session_proxy.access"):
        run(play)
    [record] = [each for each in caplog.records if each.name == "session_proxy.access"]
    assert vars(record)["end_reason"] == "client_disconnected"
    assert vars(record)["messages_received"] == 1


def test_a_receive_that_fails_closes_both_sides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play() -> None:
        async with portal(echo) as (app, key, _):
            server = Server(app, key)
            await server.until("websocket.accept")
            server.give("websocket.receive", text=5)
            closed = await server.until("websocket.close")
            assert closed["code"] == 1011
            await server.ended()

    run(play)
    assert "the relay of a WebSocket failed" in caplog.text


def test_a_client_that_never_connected_asks_for_nothing() -> None:
    async def play() -> None:
        async with portal(echo) as (app, key, proxy):
            server = Server(app, key, "websocket.disconnect")
            await server.ended()
            assert server.sent == []
            assert proxy.limiter.in_flight == 0

    run(play)


@pytest.mark.parametrize("extensions", [None, {"websocket.http.response": {}}])
def test_a_client_that_left_before_its_refusal_is_no_failure(
    extensions: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        async with portal(echo) as (app, _, _):
            server = Server(app, "pk_wrong", extensions=extensions)
            server.fail = OSError("gone")
            await server.ended()

    with caplog.at_level(logging.INFO, "session_proxy.access"):
        run(play)
    [record] = [each for each in caplog.records if each.name == "session_proxy.access"]
    found = vars(record)
    assert (found["status"], found["end_reason"]) == (401, "client_disconnected")
    assert found["total_ms"] is not None


def test_a_server_that_cannot_answer_gets_a_close() -> None:
    async def play() -> None:
        async with portal(echo) as (app, _, _):
            server = Server(app, "pk_wrong", extensions=None)
            await server.ended()
            assert server.sent == [{"type": "websocket.close", "code": 1008}]

    run(play)


def test_without_the_extra_it_is_501_and_the_log_names_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for each in list(sys.modules):
        if each.partition(".")[0] == "websockets":
            monkeypatch.setitem(sys.modules, each, None)
    ours = "session_proxy_middleware.upstream."
    for each in ("websocket", "websocket_connection", "messages"):
        monkeypatch.delitem(sys.modules, ours + each, raising=False)

    async def play() -> None:
        async with portal(echo) as (app, key, proxy):
            for _ in range(3):
                server = Server(app, key)
                answer = await server.until("websocket.http.response.start")
                assert answer["status"] == 501
                fields = dict(answer["headers"])
                assert fields[b"x-session-proxy-error"] == b"websocket_unsupported"
                body = await server.until("websocket.http.response.body")
                assert b'"SP-501-WEBSOCKET"' in body["body"]
                assert b"not installed" in body["body"]
                await server.ended()
            refused = Server(app, "pk_wrong")
            answer = await refused.until("websocket.http.response.start")
            assert answer["status"] == 401
            assert proxy.limiter.in_flight == 0

    run(play)
    lines = [each for each in caplog.records if each.name == "session_proxy"]
    assert len(lines) == 1
    assert "session-proxy-middleware[websocket]" in lines[0].getMessage()


def test_over_tls_with_a_trust_of_ones_own() -> None:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def play() -> None:
        async with portal(echo, serving, ssl_context=trusting) as (app, key, _):
            server = Server(app, key)
            await server.until("websocket.accept")
            for text in ("x", "y" * 300_000):
                server.give("websocket.receive", text=text)
            assert (await server.until("websocket.send"))["text"] == "x"
            await until(lambda: len(server.sent) == 3)
            assert server.sent[2]["text"] == "y" * 300_000
            server.give("websocket.disconnect", code=1000)
            await server.ended()

    run(play)


def test_a_transport_of_ones_own_lends_its_connections() -> None:
    strict = AsyncHTTP11Transport(networks=Networks(["10.0.0.0/8"]))

    async def play() -> None:
        async with portal(echo, transport=strict) as (app, key, _):
            server = Server(app, key)
            answer = await server.until("websocket.http.response.start")
            assert answer["status"] == 502

    run(play)


def test_an_opening_is_interrupted_by_the_end_of_the_session_and_of_the_proxy() -> None:
    asked: list[object] = []
    answers: list[int] = []

    async def play() -> None:
        waits = asyncio.Event()

        async def hold(_: ServerConnection, request: object) -> None:
            asked.append(request)
            await waits.wait()

        store = MemoryStore()
        key = store.keys.create().secret or ""
        async with serve(echo, "127.0.0.1", 0, process_request=hold) as session:
            port = next(iter(session.sockets)).getsockname()[1]
            store.sessions.register("bot", ID, f"http://127.0.0.1:{port}")
            proxy = SessionProxy(store, drain=0.2, timeouts=Timeouts(response=60))

            async def host(*_: Any) -> None:
                raise NotImplementedError

            app = SessionProxyMiddleware(host, proxy)
            changes: list[Callable[[], object]] = [
                lambda: store.sessions.end("bot", ID),
                proxy.drain,
            ]
            for change in changes:
                store.sessions.register("bot", ID, f"http://127.0.0.1:{port}")
                server = Server(app, key)
                await until(lambda: len(asked) > len(answers))
                change()
                answer = await server.until("websocket.http.response.start")
                answers.append(answer["status"])
                await server.ended()
            waits.set()

    run(play)
    assert answers == [404, 503]


def test_sockets_of_a_burst_take_turns() -> None:
    """What is there already is passed on without waiting, so others must be let in."""

    async def burst(ws: ServerConnection) -> None:
        for _ in range(20_000):
            await ws.send("x")
        await ws.close()

    async def play() -> None:
        async with portal(burst) as (app, key, _):
            server = Server(app, key)
            await server.until("websocket.accept")
            turns = 0
            while not server.task.done():
                turns += 1
                await asyncio.sleep(0)
            count = sum(each["type"] == "websocket.send" for each in server.sent)
            assert count == 20_000
            assert turns > 20_000 / 64

    run(play)
