"""Bulkheads: how many requests are in flight, and for whom."""

from __future__ import annotations

from math import inf
from threading import Lock

from .errors import Draining, Overloaded, TooManyRequests
from .models import Principal, Session
from .options import Limits


class Limiter:
    """Counts requests from admission to the last byte of their reply.

    One lock for all counters: it is held for a few dictionary operations and never
    across anything that waits, so it serves threads and event loops alike.
    """

    def __init__(self, limits: Limits) -> None:
        self._per_session = inf if limits.per_session is None else limits.per_session
        self._per_key = limits.per_key
        self._total = inf if limits.total is None else limits.total
        self._lock = Lock()
        self._sessions: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self.draining = False
        self.in_flight = 0

    def enter(self, session: Session, principal: Principal) -> None:
        """Take a place; every `enter` that returns needs one `leave`.

        Raises:
            Draining, Overloaded: the proxy takes no request at all.
            TooManyRequests: the session or the key has as many as it may.
        """
        name, sessions = session.name, self._sessions
        self._lock.acquire()  # `with` costs twice as much.
        try:
            if self.draining:
                raise Draining("shutting down")
            count = sessions.get(name, 0)
            if self.in_flight >= self._total:
                raise Overloaded(f"{self.in_flight} requests in flight")
            if count >= self._per_session:
                raise TooManyRequests(f"{count} in flight for the session")
            if self._per_key is not None:
                self._count_key(principal.id, self._per_key)
            sessions[name] = count + 1
            self.in_flight += 1
        finally:
            self._lock.release()

    def _count_key(self, key: str, limit: int) -> None:
        count = self._keys.get(key, 0)
        if count >= limit:
            raise TooManyRequests(f"{count} in flight for the key")
        self._keys[key] = count + 1

    def leave(self, session: Session, principal: Principal) -> None:
        """Give a place back."""
        name, sessions = session.name, self._sessions
        self._lock.acquire()
        try:
            self.in_flight -= 1
            left = sessions.pop(name) - 1
            if left:
                sessions[name] = left
            if self._per_key is not None:
                self._uncount_key(principal.id)
        finally:
            self._lock.release()

    def _uncount_key(self, key: str) -> None:
        left = self._keys.pop(key) - 1
        if left:
            self._keys[key] = left
