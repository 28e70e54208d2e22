"""Which registrations have ended of late, and the end of what is under way to them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from time import monotonic

from .. import background

log = logging.getLogger("session_proxy")

ENDING = 0.05
"""Seconds until what is under way to a session that has ended is broken off: what it
has said by then may still be on its way."""

KEPT = 60.0
"""Seconds. No request takes so long from looking its session up to having a connection
to it."""


class Endings(dict[int, float]):
    """The epochs of sessions that have ended. What is under way to them is broken off
    when they end; who has looked one up before, and is not under way yet, looks here.

    `epoch in endings` may be asked from any thread; each request does.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()

    def note(self, epoch: int) -> None:
        """This one has ended."""
        now = monotonic()
        with self._lock:
            self.pop(epoch, None)
            self[epoch] = now + KEPT
            # A dictionary's order is that in which they came, and so of their age.
            while self[oldest := next(iter(self))] < now:
                del self[oldest]


class Later:
    """Calls `act` with each value that it is given, `ENDING` later, from a thread that
    lives as long as there is something to wait for."""

    def __init__(self, act: Callable[[int], None]) -> None:
        self._act = act
        self._lock = Lock()
        self._waiting: deque[tuple[float, int]] = deque()

    def add(self, value: int) -> None:
        """Act on this, a little later."""
        with self._lock:
            self._waiting.append((monotonic() + ENDING, value))
            alone = len(self._waiting) == 1
        if alone and not background.began(self._run):
            self._run()  # Now, then.

    def _run(self) -> None:
        while True:
            due, value = self._waiting[0]
            time.sleep(max(0.0, due - monotonic()))
            try:
                self._act(value)
            except Exception:  # The others are waiting.
                log.exception("could not break off")
            with self._lock:
                self._waiting.popleft()
                if not self._waiting:
                    return
