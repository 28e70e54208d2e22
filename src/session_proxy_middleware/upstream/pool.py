"""Which idle connection to reuse: bookkeeping without I/O.

Keyed by (origin, session epoch): a new registration of the same address starts with
fresh sockets, so a reused address never sees an old session's connection.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Generic, TypeVar

Connection = TypeVar("Connection")
PoolKey = tuple[str, int]

KEEP_IDLE = 3.0
"""Seconds. uvicorn drops idle connections after 5, node after 5, gunicorn after 2:
the sooner one gives up, the rarer a request meets a connection being closed."""

DEFAULT_MAX_IDLE = 4096


class Pool(Generic[Connection]):
    """Idle connections, newest first. Taking one and giving it back cost the same,
    however many origins there are; `expired` looks at each, now and then. Not
    thread-safe: guard it where threads share one.

    Times are seconds on any monotonic clock, handed in by the caller.
    """

    def __init__(
        self, *, keep_idle: float = KEEP_IDLE, max_idle: int = DEFAULT_MAX_IDLE
    ) -> None:
        self._keep_idle = keep_idle
        self._max_idle = max_idle
        # Of each key in the order they became idle, which they expire in. A list that
        # has become empty stays for the next, until `expired` comes by.
        self._idle: dict[PoolKey, list[tuple[Connection, float]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))

    def take(self, key: PoolKey, now: float) -> Connection | None:
        """A connection that has not been idle too long, or None."""
        waiting = self._idle.get(key)
        if not waiting:
            return None
        connection, since = waiting[-1]
        if now - since > self._keep_idle:
            return None  # The others are older still; `expired` will have them.
        del waiting[-1]
        return connection

    def give(self, key: PoolKey, connection: Connection, now: float) -> None:
        """The connection is idle from now on."""
        waiting = self._idle.get(key)
        if waiting is None:
            self._idle[key] = [(connection, now)]
        else:
            waiting.append((connection, now))

    def remove(self, key: PoolKey) -> list[Connection]:
        """Those to one session; the caller must close them."""
        return [connection for connection, _ in self._idle.pop(key, ())]

    def discard(self, key: PoolKey, connection: Connection) -> None:
        """The connection is gone. One that is not idle is ignored."""
        waiting = self._idle.get(key, [])
        for at, (each, _) in enumerate(waiting):
            if each is connection:
                del waiting[at]
                return

    def expired(self, now: float) -> list[Connection]:
        """Those idle too long, and the oldest above the maximum; they are no longer
        in the pool and the caller must close them."""
        found: list[Connection] = []
        for key, waiting in list(self._idle.items()):
            old = 0
            while old < len(waiting) and now - waiting[old][1] > self._keep_idle:
                found.append(waiting[old][0])
                old += 1
            del waiting[:old]
            if not waiting:
                del self._idle[key]
        excess = len(self) - self._max_idle
        return found + self._oldest(excess) if excess > 0 else found

    def clear(self) -> list[Connection]:
        """All of them; the caller must close them."""
        return [each for key in list(self._idle) for each in self.remove(key)]

    def _oldest(self, number: int) -> list[Connection]:
        every = [
            (since, key, connection)
            for key, waiting in self._idle.items()
            for connection, since in waiting
        ]
        every.sort(key=itemgetter(0))
        for _, key, connection in every[:number]:
            self.discard(key, connection)
        return [connection for _, _, connection in every[:number]]
