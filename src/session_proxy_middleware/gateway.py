"""A gateway: the proxy with no application behind it, as the environment describes it.

`uvicorn --factory session_proxy_middleware.gateway:application`, or any other ASGI
server; `session-proxy serve` does the same.
"""

from __future__ import annotations

import os
import signal

from . import settings
from .asgi import ASGIApp, SessionProxyMiddleware
from .asgi_client import Receive, Scope, Send
from .errors import NotFound
from .proxy import SessionProxy
from .stores import open_store


def application() -> ASGIApp:
    """The gateway; its options are in SESSION_PROXY_STORE and the like.

    Raises:
        ConfigError: one is missing or wrong.
    """
    store = open_store(settings.store_url({}, os.environ))
    said = settings.given(settings.PROXY, {}, os.environ)
    proxy = settings.proxy(store, said)
    return SessionProxyMiddleware(Nothing(proxy), proxy)


class Nothing:
    """What is behind the gateway: 404 for whatever is no session's path."""

    def __init__(self, proxy: SessionProxy) -> None:
        self._proxy = proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(receive, send)
            return
        if kind == "websocket":
            kind = "websocket.http"
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close"})
                return
        reply = NotFound().reply(
            self._proxy.new_request_id(),
            head=scope.get("method") == "HEAD",
            strict=self._proxy.strict,
        )
        start = {"status": reply.status, "headers": reply.headers}
        await send({"type": f"{kind}.response.start", **start})
        await send({"type": f"{kind}.response.body", "body": reply.body})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            event = (await receive())["type"]
            if event == "lifespan.startup":
                self._proxy.drain_at(signal.SIGTERM, signal.SIGINT)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
