"""The ASGI driver for WebSockets: performs what the flow `tunnel` asks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .asgi_client import Message, Receive, Scope, Send
from .asgi_relay import Relay
from .asgi_sockets import Sockets
from .errors import WEBSOCKET, WebSocketNotInstalled
from .exchange import FindSession
from .models import Ending, Headers, Reply, Request, Route, Session
from .proxy import SessionProxy
from .rules.handshake import Accept
from .tunnel import Connect, Connected, Refused, TunnelStep, tunnel
from .upstream.loops import PerLoop

if TYPE_CHECKING:  # It needs the extra.
    from .upstream.websocket import WebSocketTransport
    from .upstream.websocket_connection import SessionSocket

log = logging.getLogger("session_proxy")

_SCHEMES = {"ws": "http", "wss": "https"}


class Tunnels:
    """Every WebSocket of one middleware."""

    def __init__(
        self, proxy: SessionProxy, ask: dict[type, Callable[[Any], Awaitable[Any]]]
    ) -> None:
        self._proxy = proxy
        self._ask = ask
        self._transport: WebSocketTransport | None = None
        self._missing = False
        self._sockets = PerLoop(lambda loop: Sockets(loop, proxy, ask[FindSession]))
        proxy.draining.watch_beginning(self._restart)
        proxy.draining.watch(self._break_off)

    async def serve(
        self, scope: Scope, route: Route, receive: Receive, send: Send
    ) -> None:
        """One WebSocket, from the client's handshake to its end."""
        if (await receive())["type"] != "websocket.connect":
            return
        proxy = self._proxy
        relay = Relay(receive, send, proxy.websockets, proxy.timeouts)
        sockets = self._sockets.current()
        request = _request(scope, route)
        flow = tunnel(request, proxy)
        socket: SessionSocket | None = None
        answer: Any
        try:
            step: TunnelStep = next(flow)
            while type(step) is not Reply and type(step) is not Accept:
                try:
                    if type(step) is Connect:
                        sockets.remove(relay)
                        sockets.add(relay, step.outbound.session)
                        relay.watch()
                        answer, socket = await self._connect(step)
                    else:
                        answer = await self._ask[type(step)](step)
                except asyncio.CancelledError:
                    if not relay.interrupted():
                        raise
                    step = flow.throw(relay.cause())
                except Exception as failure:
                    step = flow.throw(failure)
                else:
                    step = flow.send(answer)
            if type(step) is Accept and socket is not None:
                accept: Message = {
                    "type": "websocket.accept",
                    "subprotocol": step.subprotocol,
                    "headers": step.headers,
                }
                step.ending = await relay.run(accept, socket)
                next(flow, None)
            elif type(step) is Reply:
                await relay.unwatch()
                reason, sent = await _refuse(step, scope, send)
                step.ending = Ending(reason, 0, sent, None, relay.passed())
                next(flow, None)
        except StopIteration:  # Its client has left: there is nothing to say.
            pass
        finally:
            flow.close()
            sockets.remove(relay)
            relay.stop()
            if socket is not None and socket.ended is None:
                socket.abort()
        if relay.raised is not None:
            raise relay.raised

    def changed(self, session: Session) -> None:
        """This process has changed the session. From any thread."""
        self._everywhere(lambda sockets: sockets.changed(session))

    def _restart(self) -> None:
        self._everywhere(Sockets.restart)

    def _break_off(self) -> None:
        self._everywhere(Sockets.break_off)

    def _everywhere(self, do: Callable[[Sockets], None]) -> None:
        """Called from another thread: no loop may be touched here."""
        for loop, sockets in self._sockets.items():
            with contextlib.suppress(RuntimeError):  # It is closed.
                loop.call_soon_threadsafe(do, sockets)

    async def _connect(
        self, step: Connect
    ) -> tuple[Connected | Refused, SessionSocket | None]:
        transport = self._transport or self._load()
        socket = await transport.connect(step.outbound, step.offered.subprotocols)
        if not socket.opened:
            return Refused(socket.status, socket.headers, socket.body), None
        return Connected(socket.headers, socket.subprotocol), socket

    def _load(self) -> WebSocketTransport:
        try:
            from .upstream.websocket import WebSocketTransport
        except ImportError as error:
            if not self._missing:
                self._missing = True
                log.warning(
                    "a WebSocket is refused with 501: it needs the extra "
                    "session-proxy-middleware[websocket] (%s)",
                    error,
                )
            raise WebSocketNotInstalled(str(error)) from error
        proxy = self._proxy
        transport = WebSocketTransport(
            proxy.dialler(), proxy.timeouts, proxy.websockets
        )
        self._transport = transport
        return transport


def _request(scope: Scope, route: Route) -> Request:
    client = scope.get("client")
    scheme: str = scope.get("scheme", "ws")
    return Request(
        WEBSOCKET,
        route,
        scope.get("query_string") or None,
        _headers(scope),
        client[0] if client else None,
        _SCHEMES.get(scheme, scheme),
        scope.get("http_version", "1.1"),
        scope,
        websocket=True,
    )


def _headers(scope: Scope) -> Headers:
    """All of the client's: some servers (wsproto's) take the subprotocols out."""
    headers: Headers = scope["headers"]
    offered = scope.get("subprotocols")
    if offered and not any(name == b"sec-websocket-protocol" for name, _ in headers):
        value = ", ".join(offered).encode("latin-1")
        headers = [*headers, (b"sec-websocket-protocol", value)]
    return headers


async def _refuse(reply: Reply, scope: Scope, send: Send) -> tuple[str, int]:
    """As an HTTP response where the server can, else as a close before accept, which
    servers show as 403. How that ended, and the bytes of the body."""
    body = b""
    try:
        if "websocket.http.response" in (scope.get("extensions") or {}):
            body = reply.body or b""
            start = "websocket.http.response.start"
            head = {"type": start, "status": reply.status, "headers": reply.headers}
            await send(head)
            await send({"type": "websocket.http.response.body", "body": body})
        else:
            await send({"type": "websocket.close", "code": 1008})
    except OSError:
        return "client_disconnected", 0
    return "completed", len(body)
