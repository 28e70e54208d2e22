"""The host's start and end, as ASGI tells them."""

from __future__ import annotations

import asyncio

from .asgi_client import Message, Receive, Send
from .interfaces import AsyncTransport
from .proxy import SessionProxy

LOOK_EVERY = 0.02
"""Seconds between looks at whether the last request has ended."""

GRACE = 1.0
"""Seconds for what was broken off to end."""


class Lifespan:
    """Drains the proxy before the application learns of the end, since what that then
    closes (a store, an authenticator's database) the last requests may need; and
    closes the transport after it."""

    def __init__(
        self,
        proxy: SessionProxy,
        transport: AsyncTransport,
        receive: Receive,
        send: Send,
    ) -> None:
        self._proxy = proxy
        self._transport = transport
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """What the application gets."""
        message = await self._receive()
        if message["type"] == "lifespan.startup":
            self._proxy.resume()
        elif message["type"] == "lifespan.shutdown":
            await self._drained()
        return message

    async def send(self, message: Message) -> None:
        """What the server gets."""
        if message["type"].startswith("lifespan.shutdown."):
            await self._transport.aclose()
            await self._proxy.aclose()
        await self._send(message)

    async def _drained(self) -> None:
        """Most servers end their connections first, and nothing is left to wait for."""
        proxy = self._proxy
        proxy.drain()
        loop = asyncio.get_running_loop()
        last_moment = loop.time() + proxy.draining.seconds + GRACE
        # Looked at rather than told, so that no request pays for telling it.
        while proxy.limiter.in_flight and loop.time() < last_moment:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY)
