"""The ASGI driver: performs what the flow asks, with await, and streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from . import lookups, mounts
from .asgi_client import Client, Lookout, Message, Receive, Scope, Send
from .asgi_lifespan import Lifespan
from .asgi_websocket import Tunnels
from .errors import (
    ClientDisconnected,
    ConfigError,
    ProxyError,
    ResponseTruncated,
    SessionNotFound,
)
from .exchange import Authenticate, RoundTrip, Step, exchange
from .fence import Disown
from .hooks import as_async
from .interfaces import AsyncResponse
from .models import Ending, Reply, Request, Session
from .opening import AwaitReady
from .probing import AsyncProber
from .proxy import SessionProxy
from .upstream.endings import Endings
from .upstream.loops import PerLoop
from .workers import Lonely

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class SessionProxyMiddleware:
    """Wraps an ASGI application: requests to sessions are proxied, everything else
    reaches the application as the very same objects. Mount it outermost.

    Raises:
        ConfigError: `app` is no application, `proxy` is no `SessionProxy`, or its
            transport is not async.
    """

    def __init__(self, app: ASGIApp, proxy: SessionProxy) -> None:
        if not isinstance(proxy, SessionProxy):
            raise ConfigError(f"proxy must be a SessionProxy(...), not {proxy!r}")
        if not callable(app):
            raise ConfigError(f"app must be the application to wrap, not {app!r}")
        mounts.check_wrapped(app)
        self._app = app
        self._proxy = proxy
        self._match = proxy.match
        self._mark = proxy.match.MARK
        self._reach = proxy.match.REACH
        self._transport = proxy.async_transport()
        self._ask = lookups.awaited(proxy)
        if proxy.ready_wait:
            prober = AsyncProber(proxy)
            self._ask[AwaitReady] = lambda step: prober.wait(step.session)
        self._endings = Endings()
        self._tunnels = Tunnels(proxy, self._ask)
        self._closer = lookups.Closer(
            proxy, self._transport, self._end, self._tunnels.changed
        )
        self._ask[Disown] = self._disown
        Lonely(proxy.store)
        if proxy.authenticate is not None:
            authenticate = as_async(proxy.authenticate)
            self._ask[Authenticate] = lambda step: authenticate(step.request)
        ended = lookups.aended(proxy)
        self._lookouts = PerLoop(
            lambda loop: Lookout(
                loop,
                idle=proxy.timeouts.idle,
                activity=proxy.activity,
                ended=ended,
                patrol=proxy.patrol,
                transport=self._transport,
            )
        )
        proxy.draining.watch(self._break_off)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind, route = scope["type"], None
        if kind == "http" or kind == "websocket":
            path = scope["path"]
            at = path.find(self._mark)
            if at >= 0 and path.find("/", at + self._reach) >= 0:
                known = scope.get
                route = self._match(path, known("raw_path"), known("root_path", ""))
        elif kind == "lifespan":
            life = Lifespan(self._proxy, self._transport, receive, send)
            receive, send = life.receive, life.send
        if route is None:
            await self._app(scope, receive, send)
        elif kind == "websocket":
            await self._tunnels.serve(scope, route, receive, send)
        else:
            address = known("client")
            request = Request(
                scope["method"],
                route,
                known("query_string") or None,
                scope["headers"],
                address[0] if address else None,
                known("scheme", "http"),
                known("http_version", "1.1"),
                scope,
            )
            await self._serve(request, receive, send)

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        started = perf_counter()
        flow = exchange(request, self._proxy)
        client: Client | None = None
        response: AsyncResponse | None = None
        lookout = self._lookouts.current()
        cut_short = False
        answer: Any
        try:
            step: Step = next(flow)
            while type(step) is not Reply:
                try:
                    if type(step) is RoundTrip:
                        session, meter = step.outbound.session, step.meter
                        if client is None:
                            client = Client(receive, lookout, session)
                            if meter is not None:
                                client.expect(meter)
                            elif step.outbound.length == 0:
                                # All the same its stream may end by itself.
                                client.owing = request.http_version == "2"
                        else:  # It has moved.
                            client.session = session
                        if session.epoch in self._endings:
                            raise SessionNotFound("ended since it was looked up")
                        upload = client if meter is not None else None
                        answer = response = await lookout.asend(step.outbound, upload)
                    else:
                        answer = await self._ask[type(step)](step)
                except asyncio.CancelledError:
                    if client is None or not client.interrupted():
                        raise
                    step = flow.throw(client.cause(perf_counter() - started))
                except ClientDisconnected as gone:
                    if client is not None:
                        gone.ending = client.departed(perf_counter() - started)
                    step = flow.throw(gone)
                except Exception as failure:
                    step = flow.throw(failure)
                else:
                    step = flow.send(answer)
            headers_after = perf_counter() - started
            reason, sent = "completed", 0
            if client is None:  # Nothing was sent to any session.
                client = Client(receive, lookout, None)
                client.ended = False  # Nobody has looked whether there is a body.
            client.turns = 1
            try:
                if step.body is not None:
                    if response is not None and not response.complete:
                        # Whatever still sends the upload ends with it.
                        await response.aclose()
                    client.whole = True
                start = "http.response.start"
                await send(
                    {"type": start, "status": step.status, "headers": step.headers}
                )
                data = step.body
                client.unread = data is not None
                if data is None and response is not None:
                    if not response.complete:
                        await _stream(response, client, send)
                    client.whole = client.unread = True
                    data = b"".join(response.pieces)
                if client.owing:
                    if data:
                        await send(_more(data))
                        client.sent += len(data)
                        data = b""
                    await client.settle()
                if data:
                    sent = len(data)
                await send({"type": "http.response.body", "body": data or b""})
            except asyncio.CancelledError:
                if not client.interrupted():
                    raise
                reason = client.reason
            except (ClientDisconnected, OSError):
                reason = "client_disconnected"
            except ResponseTruncated as truncated:
                # No final message: the server breaks the connection off, so that the
                # truncation shows.
                reason = truncated.reason
            except ProxyError as error:
                reason = error.slug
            cut_short = reason != "completed" and not client.ended
            if step.recorded:
                received, sent = client.received, client.sent + sent
                total = perf_counter() - started
                step.ending = Ending(reason, received, sent, headers_after, total)
            next(flow, None)
        except StopIteration:  # The client has left: there is nobody to answer.
            return
        finally:
            flow.close()
            if client is not None:
                client.close()
            if response is not None and not response.complete:
                await response.aclose()
            if cut_short and client is not None:
                client.pass_over()

    async def _disown(self, step: Disown) -> None:
        if step.response is not None:
            await step.response.aclose()
        self._closer.forget(step.session)

    def _end(self, session: Session) -> None:
        """A session has ended; from any thread."""
        self._endings.note(session.epoch)
        for loop, lookout in self._lookouts.items():
            with contextlib.suppress(RuntimeError):  # It is closed.
                loop.call_soon_threadsafe(lookout.end, session)

    def _break_off(self) -> None:
        """Called from another thread: no loop may be touched here."""
        for loop, lookout in self._lookouts.items():
            with contextlib.suppress(RuntimeError):  # It is closed.
                loop.call_soon_threadsafe(lookout.break_off)


async def _stream(response: AsyncResponse, client: Client, send: Send) -> None:
    """Send the body as it comes, up to the pieces that came with its end."""
    if not response.pieces:
        # Some servers hold the head back until a piece of the body comes.
        await send(_more(b""))
    while not response.complete:
        client.turns += 1
        data = await response.read()
        client.turns += 1
        client.flowed()
        if data:
            client.sent += len(data)
            await send(_more(data))


def _more(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}
