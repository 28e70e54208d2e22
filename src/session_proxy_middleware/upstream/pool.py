"""Which idle connection to reuse: bookkeeping without I/O.

Keyed by (origin, session epoch): a new registration of the same address starts with
fresh sockets, so a reused address never sees an old session's connection.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Connection = TypeVar("Connection")
PoolKey = tuple[str, int]

KEEP_IDLE = 3.0
"""Seconds. uvicorn drops idle connections after 5, node after 5, gunicorn after 2:
the sooner one gives up, the rarer a request meets a connection being closed."""

DEFAULT_MAX_IDLE = 4096


class Pool(Generic[Connection]):
    """Idle connections, newest first. Every operation is O(1) amortised, however
    many origins there are. Not thread-safe: guard it where threads share one.

    Times are seconds on any monotonic clock, handed in by the caller.
    """

    def __init__(
        self, *, keep_idle: float = KEEP_IDLE, max_idle: int = DEFAULT_MAX_IDLE
    ) -> None:
        self._keep_idle = keep_idle
        self._max_idle = max_idle
        self._by_key: dict[PoolKey, list[Connection]] = {}
        # In the order they became idle, which is the order they expire in.
        self._idle: dict[Connection, tuple[PoolKey, float]] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, key: PoolKey, now: float) -> Connection | None:
        """A connection that has not been idle too long, or None."""
        waiting = self._by_key.get(key)
        if not waiting:
            return None
        connection = waiting[-1]
        if now - self._idle[connection][1] > self._keep_idle:
            return None  # The others are older still; `expired` will have them.
        del self._idle[connection]
        waiting.pop()
        if not waiting:
            del self._by_key[key]
        return connection

    def give(self, key: PoolKey, connection: Connection, now: float) -> None:
        """The connection is idle from now on."""
        waiting = self._by_key.get(key)
        if waiting is None:
            self._by_key[key] = [connection]
        else:
            waiting.append(connection)
        self._idle[connection] = (key, now)

    def remove(self, key: PoolKey) -> list[Connection]:
        """Those to one session; the caller must close them."""
        found = self._by_key.pop(key, [])
        for connection in found:
            del self._idle[connection]
        return found

    def discard(self, connection: Connection) -> None:
        """The connection is gone. Unknown ones are ignored."""
        if connection in self._idle:
            self._forget(connection)

    def expired(self, now: float) -> list[Connection]:
        """Those idle too long, and the oldest above the maximum; they are no longer
        in the pool and the caller must close them."""
        found: list[Connection] = []
        excess = len(self._idle) - self._max_idle
        for connection, (_, since) in self._idle.items():
            if len(found) >= excess and now - since <= self._keep_idle:
                break
            found.append(connection)
        for connection in found:
            self._forget(connection)
        return found

    def clear(self) -> list[Connection]:
        """All of them; the caller must close them."""
        found = list(self._idle)
        self._idle.clear()
        self._by_key.clear()
        return found

    def _forget(self, connection: Connection) -> None:
        key, _ = self._idle.pop(connection)
        waiting = self._by_key[key]
        waiting.remove(connection)
        if not waiting:
            del self._by_key[key]
