"""The default under ASGI: the codec and the pool on asyncio.

A Protocol, not streams. A request that ends at once costs one write, one read and
one wake-up: no task, no timer of its own. Works per event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

from ..errors import (
    ConnectFailed,
    ConnectTimeout,
    UpstreamUnreachable,
)
from ..interfaces import AsyncUpload
from ..models import Origin, Outbound, Session
from ..options import Timeouts
from ..rules.networks import Networks
from . import h1
from .connection import RECEIVE_BUFFER, Connection, Response, StaleConnection
from .loops import PerLoop
from .pool import KEEP_IDLE, Pool
from .resolving import aresolve
from .tls import default_context


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
        self._engines = PerLoop(
            lambda loop: Engine(loop, self.timeouts, ssl_context, allowed)
        )

    async def asend(self, outbound: Outbound, upload: AsyncUpload | None) -> Response:
        """See `AsyncTransport.asend`."""
        engine = self._engines.current()
        head = h1.head(outbound)
        connection = engine.take(outbound.session)
        again = connection is not None and h1.retryable(outbound)
        while True:
            if connection is None:
                connection = await engine.connect(outbound.session)
            response = connection.begin(outbound)
            try:
                if upload is None:
                    connection.send(head + h1.framing(outbound, outbound.length))
                else:
                    connection.send_with_body(outbound, head, upload)
                while not response.head:
                    if response.error is not None:
                        raise response.error
                    await response.change()
            except StaleConnection as stale:
                if not again:
                    raise UpstreamUnreachable(str(stale)) from stale
                connection, again = None, False
            except BaseException:
                connection.leave(response)
                raise
            else:
                return response

    def forget(self, session: Session) -> None:
        """Close the idle connections to a session; from any thread."""
        for loop, engine in self._engines.items():
            # A loop that is closed has none left.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(engine.forget, session)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        engine = self._engines.pop()
        if engine is not None:
            engine.close()


class Engine:
    """The connections of one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        ssl_context: ssl.SSLContext | None,
        networks: Networks,
    ) -> None:
        self.loop = loop
        self.timeouts = timeouts
        self.buffer = memoryview(bytearray(RECEIVE_BUFFER))
        # A connection's timer looks at its deadline this often at the least, so a
        # deadline is never further away than the timer that guards it.
        bounds = (timeouts.response, timeouts.idle, timeouts.total or timeouts.idle)
        self.period = min(bounds)
        self._ssl_context = ssl_context
        self._networks = networks
        self._pool: Pool[Connection] = Pool()
        self._connections: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def take(self, session: Session) -> Connection | None:
        """An idle connection to the session, or None."""
        while True:
            connection = self._pool.take(session.pool_key, monotonic())
            if connection is None or connection.usable():
                return connection

    def give(self, connection: Connection) -> None:
        """The connection's exchange ended cleanly."""
        self._pool.give(connection.pool_key, connection, monotonic())
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(KEEP_IDLE / 2, self._sweep)

    def discard(self, connection: Connection) -> None:
        """The connection is closed."""
        self._pool.discard(connection)
        self._connections.discard(connection)

    def forget(self, session: Session) -> None:
        """Close the idle connections to a session."""
        for connection in self._pool.remove(session.pool_key):
            connection.close()

    async def connect(self, session: Session) -> Connection:
        """A new connection. Raises `ConnectFailed` or `ConnectTimeout`."""
        origin = session.origin
        loop = self.loop

        def factory() -> Connection:
            return Connection(self, session.pool_key)

        try:
            async with asyncio.timeout(self.timeouts.connect):
                if origin.scheme == "unix":
                    _, connection = await loop.create_unix_connection(
                        factory, origin.host
                    )
                else:
                    connection = await self._reach(origin, factory)
        except TimeoutError as error:
            raise ConnectTimeout(
                f"no connection to {session.upstream} in {self.timeouts.connect} s"
            ) from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"{session.upstream}: {error}") from error
        self._connections.add(connection)
        return connection

    async def _reach(
        self, origin: Origin, factory: Callable[[], Connection]
    ) -> Connection:
        tls: dict[str, Any] = {}
        if origin.scheme == "https":
            tls["ssl"] = self._ssl_context or default_context()
            tls["server_hostname"] = origin.host
        failure: OSError | None = None
        for address in await aresolve(self.loop, origin, self._networks):
            try:
                _, connection = await self.loop.create_connection(
                    factory, address, origin.port, **tls
                )
            except OSError as error:
                failure = error
            else:
                return connection
        raise failure or OSError("no address")

    def close(self) -> None:
        """Close all connections, idle and busy."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._pool.clear()
        for connection in list(self._connections):
            connection.abort()
        self._connections.clear()

    def _sweep(self) -> None:
        for connection in self._pool.expired(monotonic()):
            connection.close()
        self._sweeper = (
            self.loop.call_later(KEEP_IDLE / 2, self._sweep) if self._pool else None
        )
