"""The ASGI driver: performs what the flow asks, with await, and streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from .errors import ClientDisconnected, ConfigError, ProxyError, ResponseTruncated
from .exchange import (
    Authenticate,
    FindKey,
    FindService,
    FindSession,
    RoundTrip,
    Step,
    exchange,
)
from .hooks import as_async
from .interfaces import AsyncResponse
from .models import Ending, Reply, Request, Route
from .proxy import SessionProxy
from .rules.body import BodyMeter

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOK_EVERY = 0.05
"""Seconds. A request that ends sooner never pays for watching its client; the client
of a longer one is seen leaving well within 100 ms."""


class SessionProxyMiddleware:
    """Wraps an ASGI application: requests to sessions are proxied, everything else
    reaches the application as the very same objects. Mount it outermost.

    Raises:
        ConfigError: `proxy` is no `SessionProxy`, or its transport is not async.
    """

    def __init__(self, app: ASGIApp, proxy: SessionProxy) -> None:
        if not isinstance(proxy, SessionProxy):
            raise ConfigError(f"proxy must be a SessionProxy(...), not {proxy!r}")
        self._app = app
        self._proxy = proxy
        self._match = proxy.match
        self._mark = proxy.match.MARK
        self._transport = proxy.async_transport()
        store = proxy.store
        self._ask: dict[type, Callable[[Any], Awaitable[Any]]] = {
            FindKey: lambda step: store.keys.alookup(step.digest),
            FindService: lambda step: store.services.alookup(step.name),
            FindSession: lambda step: store.sessions.alookup(step.service, step.id),
        }
        if proxy.authenticate is not None:
            authenticate = as_async(proxy.authenticate)
            self._ask[Authenticate] = lambda step: authenticate(step.request)
        self._lookout: Lookout | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http" or kind == "websocket":
            path = scope["path"]
            if self._mark in path:
                route = self._match(
                    path, scope.get("raw_path"), scope.get("root_path", "")
                )
                if route is not None:
                    if kind == "websocket":
                        send = _denial(scope, send)
                    await self._serve(_request(scope, route), receive, send)
                    return
        elif kind == "lifespan":
            send = self._closing(send)
        await self._app(scope, receive, send)

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        started = perf_counter()
        flow = exchange(request, self._proxy)
        client = Client(receive)
        response: AsyncResponse | None = None
        try:
            step: Step = next(flow)
            while type(step) is not Reply:
                try:
                    if type(step) is RoundTrip:
                        answer = response = await self._round_trip(step, client)
                    else:
                        answer = await self._ask[type(step)](step)
                except asyncio.CancelledError:
                    if not client.left():
                        raise
                    step = flow.throw(ClientDisconnected("while waiting"))
                except Exception as failure:
                    step = flow.throw(failure)
                else:
                    step = flow.send(answer)
            ending = await _stream(step, response, client, send, started)
            flow.send(ending)
        except StopIteration:
            return
        finally:
            client.active = False
            flow.close()
            if response is not None and not response.ended:
                await response.aclose()
            if client.watcher is not None:
                client.watcher.cancel()

    async def _round_trip(self, step: RoundTrip, client: Client) -> AsyncResponse:
        lookout = self._lookout
        loop = asyncio.get_running_loop()
        if lookout is None or lookout.loop is not loop:
            lookout = self._lookout = Lookout(loop)
        client.meter = step.meter
        client.ended = not step.outbound.has_body
        client.task = asyncio.current_task()
        client.active = True
        lookout.add(client)
        upload = client if step.outbound.has_body else None
        return await self._transport.asend(step.outbound, upload)

    def _closing(self, send: Send) -> Send:
        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._transport.aclose()
            await send(message)

        return closing


def _request(scope: Scope, route: Route) -> Request:
    client = scope.get("client")
    headers = scope["headers"]
    if scope["type"] == "websocket":
        # Some servers leave the handshake's own fields out.
        headers = [*headers, (b"upgrade", b"websocket")]
    return Request(
        scope.get("method", "GET"),
        route,
        scope.get("query_string") or None,
        headers,
        client[0] if client else None,
        scope.get("scheme", "http"),
        scope.get("http_version", "1.1"),
        scope,
    )


async def _stream(
    reply: Reply,
    response: AsyncResponse | None,
    client: Client,
    send: Send,
    started: float,
) -> Ending:
    """Send the reply; what is left to decide is nothing but when it is over."""
    sent = 0
    reason = "completed"
    headers_after = perf_counter() - started
    try:
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": reply.headers,
            }
        )
        if reply.body is not None or response is None:
            data = reply.body or b""
            sent = len(data)
            await send({"type": "http.response.body", "body": data})
        else:
            if not response.ready:
                # Some servers hold the head back until a piece of the body comes.
                await send(_piece(b"", more=True))
            more = True
            while more:
                data = await response.read()
                more = not response.ended
                sent += len(data)
                await send(_piece(data, more=more))
    except asyncio.CancelledError:
        if not client.left():
            raise
        reason = "client_disconnected"
    except (ClientDisconnected, OSError):
        reason = "client_disconnected"
    except ResponseTruncated as truncated:
        # No final message: the server breaks the connection off, so that the
        # truncation shows.
        reason = truncated.reason
    except ProxyError as error:
        reason = error.slug
    return Ending(
        reason, client.received, sent, headers_after, perf_counter() - started
    )


def _piece(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _denial(scope: Scope, send: Send) -> Send:
    """`send` for a WebSocket that is refused: as an HTTP response where the server
    can, else as a close before accept (which servers show as 403)."""
    if "websocket.http.response" in (scope.get("extensions") or {}):

        async def respond(message: Message) -> None:
            await send({**message, "type": f"websocket.{message['type']}"})

        return respond

    async def close(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send({"type": "websocket.close", "code": 1008})

    return close


class Client:
    """The client's side of one request: its body (an `AsyncUpload`), and whether it
    is still there."""

    __slots__ = ("_gone", "_receive", "active", "ended", "meter", "task", "watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self.active = False
        self.ended = True
        self.meter: BodyMeter | None = None
        self.task: asyncio.Task[Any] | None = None
        self.watcher: asyncio.Task[None] | None = None

    @property
    def received(self) -> int:
        """Bytes of the body so far."""
        return self.meter.received if self.meter is not None else 0

    async def read(self) -> bytes:
        """See `AsyncUpload.read`."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected("in the middle of its upload")
        data: bytes = message.get("body", b"")
        ended = not message.get("more_body", False)
        if self.meter is not None:
            self.meter.count(data, ended)
        self.ended = ended
        return data

    def watch(self) -> None:
        """From now on, interrupt the request as soon as the client leaves."""
        self.watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self.active and self.task is not None:
            self._gone = True
            self.task.cancel()

    def left(self) -> bool:
        """Whether the cancellation just caught is the watcher's, because the client
        has left, and nobody else's."""
        return self._gone and self.task is not None and not self.task.uncancel()


class Lookout:
    """Starts watching the clients of requests that did not end at once. No request
    pays for a task or a timer of its own until it has taken `LOOK_EVERY` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._young: list[Client] = []
        self._due = False

    def add(self, client: Client) -> None:
        """A request has begun."""
        self._young.append(client)
        if not self._due:
            self._due = True
            self.loop.call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        young, self._young = self._young, []
        for client in young:
            if not client.active:
                continue
            if client.ended:
                client.watch()
            else:
                self._young.append(client)  # Its upload would see it leave.
        self._due = bool(self._young)
        if self._due:
            self.loop.call_later(LOOK_EVERY, self._look)
