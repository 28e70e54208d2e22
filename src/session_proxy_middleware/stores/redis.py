"""A store in Redis or Valkey: for many machines."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Generator
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from ..errors import ConfigError, StoreUnavailable
from .managed import ManagedStore
from .naming import plain, shown
from .redis_backend import Redis, Steps

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds to wait for a connection, and for each answer. `socket_timeout` and
`socket_connect_timeout` in the URL say otherwise."""

SCHEMA = 1
_SCHEMA = "session_proxy:schema"

_UNREADABLE = (
    "it can't be read; in a user name or password '/', '?', '#' and '@' are to be "
    "written %2F, %3F, %23 and %40"
)


class RedisStore(ManagedStore):
    """A `Store` on a Redis or Valkey server: `redis://`, `rediss://` or `unix://`, as
    redis-py writes them (https://redis.readthedocs.io, `Redis.from_url`).

    Nothing is opened before it is used; a forked child, and every event loop, has
    connections of its own.

    Raises:
        ConfigError: redis-py is not installed, or the URL is not one of its.
    """

    def __init__(self, url: str) -> None:
        self._server = Server(url)
        super().__init__(Redis(self._server.operation))

    def close(self) -> None:
        """Close the connections that no event loop has."""
        self._server.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._server.aclose()


class Server:
    """The clients of one Redis server."""

    def __init__(self, url: str) -> None:
        try:
            redis = importlib.import_module("redis")
            redis_asyncio = importlib.import_module("redis.asyncio")
        except ImportError as error:
            raise ConfigError(
                "a redis:// store needs redis-py: "
                'pip install "session-proxy-middleware[redis]"'
            ) from error
        self._failures: type[Exception] = redis.RedisError
        self._make_async = redis_asyncio.Redis.from_url
        self._url = url
        # Once more at once, because a restart of the server leaves dead connections
        # behind; no more than that, because a request is waiting.
        self._options = {
            "socket_timeout": PATIENCE,
            "socket_connect_timeout": PATIENCE,
            "decode_responses": True,
        }
        self._retry = (redis.retry.Retry, redis.asyncio.retry.Retry)
        self._no_backoff = redis.backoff.NoBackoff
        try:
            self._client = redis.Redis.from_url(
                url, retry=self._retry[0](self._no_backoff(), 1), **self._options
            )
            # Not connected, but made: an option of the URL that it does not know would
            # else be told by the first request.
            pool = self._client.connection_pool
            pool.connection_class(**pool.connection_kwargs)
        except (ValueError, TypeError) as error:
            reason = str(error) if plain(url) else _UNREADABLE
            raise ConfigError(f"store {shown(url)!r}: {reason}") from error
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = (
            WeakKeyDictionary()
        )
        self._checked = False

    def operation(self, steps: Steps[T]) -> ServerOperation[T]:
        """Some commands, and what is made of their answers."""
        return ServerOperation(self, steps)

    def perform(self, steps: Steps[T]) -> T:
        """Do it here. Raises `StoreUnavailable`."""
        steps = self._prefixed(steps)
        try:
            command = next(steps)
            while True:
                if isinstance(command, list):
                    pipe = self._client.pipeline(transaction=True)
                    for each in command:
                        pipe.execute_command(*each)
                    answer = pipe.execute()
                else:
                    answer = self._client.execute_command(*command)
                command = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except self._failures as error:
            raise self._failed(error) from error

    async def aperform(self, steps: Steps[T]) -> T:
        """`perform`, awaitable."""
        steps = self._prefixed(steps)
        client = self._of_loop()
        try:
            command = next(steps)
            while True:
                if isinstance(command, list):
                    pipe = client.pipeline(transaction=True)
                    for each in command:
                        pipe.execute_command(*each)
                    answer = await pipe.execute()
                else:
                    answer = await client.execute_command(*command)
                command = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except self._failures as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """See `RedisStore.close`."""
        self._client.close()

    async def aclose(self) -> None:
        """See `RedisStore.aclose`."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _of_loop(self) -> Any:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self._make_async(
                self._url, retry=self._retry[1](self._no_backoff(), 1), **self._options
            )
        return client

    def _prefixed(self, steps: Steps[T]) -> Steps[T]:
        """Look at the schema first, where that was not done since the last failure:
        after one the server may be another."""
        if not self._checked:
            yield ("SET", _SCHEMA, SCHEMA, "NX")
            found = int((yield ("GET", _SCHEMA)))
            if found > SCHEMA:
                raise StoreUnavailable(
                    f"the store has schema {found} and this version knows {SCHEMA}: "
                    "upgrade session-proxy-middleware"
                )
            self._checked = True
        result = yield from steps
        return result

    def _failed(self, error: Exception) -> StoreUnavailable:
        self._checked = False
        return StoreUnavailable(f"{shown(self._url)}: {error}")


class ServerOperation(Generic[T]):
    """An `Operation` on a server."""

    __slots__ = ("_server", "_steps")

    def __init__(self, server: Server, steps: Steps[T]) -> None:
        self._server = server
        self._steps = steps

    def run(self) -> T:
        """Do it here."""
        return self._server.perform(self._steps)

    def __await__(self) -> Generator[Any, None, T]:
        return self._server.aperform(self._steps).__await__()
