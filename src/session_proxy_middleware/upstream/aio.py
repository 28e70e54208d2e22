"""The default under ASGI: the codec and the pool on asyncio.

A Protocol, not streams. A request that ends at once costs one write, one read and
one wake-up: no task, no timer of its own. Works per event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from time import monotonic

from ..errors import UpstreamUnreachable
from ..interfaces import AsyncTransport, AsyncUpload
from ..models import Outbound, Session
from ..options import Timeouts
from ..rules.networks import Networks
from . import h1
from .connection import RECEIVE_BUFFER, Connection, Response, StaleConnection
from .dialling import Dialler
from .loops import PerLoop
from .pool import KEEP_IDLE, Pool


class AsyncHTTP11Transport:
    """An `AsyncTransport` of this package's own. Nothing is opened before the first
    request, and nothing is shared between event loops."""

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        networks: Networks | None = None,
    ) -> None:
        self.timeouts = timeouts if timeouts is not None else Timeouts()
        allowed = networks if networks is not None else Networks()
        self.dialler = Dialler(self.timeouts.connect, ssl_context, allowed)
        self._engines = PerLoop(lambda loop: Engine(loop, self.timeouts, self.dialler))

    async def asend(self, outbound: Outbound, upload: AsyncUpload | None) -> Response:
        """See `AsyncTransport.asend`."""
        return await self._engines.current().asend(outbound, upload)

    def here(self) -> AsyncTransport:
        """What `asend` asks: for whoever sends often from the loop that runs here."""
        return self._engines.current()

    def forget(self, session: Session) -> None:
        """Close the idle connections to a session; from any thread."""
        for loop, engine in self._engines.items():
            # A loop that is closed has none left.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(engine.forget, session)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._engines.current().aclose()


class Engine:
    """The connections of one event loop: an `AsyncTransport` there."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        dialler: Dialler,
    ) -> None:
        self.loop = loop
        self.timeouts = timeouts
        self.buffer = memoryview(bytearray(RECEIVE_BUFFER))
        # A connection's timer looks at its deadline this often at the least, so a
        # deadline is never further away than the timer that guards it.
        bounds = (timeouts.response, timeouts.idle, timeouts.total or timeouts.idle)
        self.period = min(bounds)
        self._dialler = dialler
        self.pool: Pool[Connection] = Pool()
        """Those that are idle."""
        self._connections: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    async def asend(self, outbound: Outbound, upload: AsyncUpload | None) -> Response:
        """See `AsyncTransport.asend`."""
        if upload is None:
            head = h1.head(outbound, h1.framing(outbound, outbound.length))
        else:
            head = h1.head(outbound)
        session = outbound.session
        take, key, now = self.pool.take, session.pool_key, monotonic()
        connection = take(key, now)
        while connection is not None and not connection.usable():
            connection = take(key, now)
        reused = connection is not None
        while True:
            if connection is None:
                connection = await self.connect(session)
                now = monotonic()
            response = connection.begin(outbound, now)
            try:
                if upload is None:
                    connection.send(head)
                else:
                    connection.send_with_body(outbound, head, upload)
                while not response.head:
                    if response.error is not None:
                        raise response.error
                    await response.change()
            except StaleConnection as stale:
                if not reused or not h1.retryable(outbound):
                    raise UpstreamUnreachable(str(stale)) from stale
                connection, reused = None, False
            except BaseException:
                connection.leave(response)
                raise
            else:
                return response

    def discard(self, connection: Connection) -> None:
        """The connection is closed."""
        self.pool.discard(connection.pool_key, connection)
        self._connections.discard(connection)

    def forget(self, session: Session) -> None:
        """Close the idle connections to a session."""
        for connection in self.pool.remove(session.pool_key):
            connection.close()

    async def connect(self, session: Session) -> Connection:
        """A new connection. Raises `ConnectFailed` or `ConnectTimeout`."""
        connection = await self._dialler.dial(
            self.loop, session, lambda: Connection(self, session.pool_key)
        )
        self._connections.add(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(KEEP_IDLE / 2, self._sweep)
        return connection

    async def aclose(self) -> None:
        """Close all connections, idle and busy."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self.pool.clear()
        for connection in list(self._connections):
            connection.abort()
        self._connections.clear()

    def _sweep(self) -> None:
        for connection in self.pool.expired(monotonic()):
            connection.close()
        self._sweeper = (
            self.loop.call_later(KEEP_IDLE / 2, self._sweep)
            if self._connections
            else None
        )
