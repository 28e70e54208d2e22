"""Which registrations have ended of late."""

from __future__ import annotations

from threading import Lock
from time import monotonic

KEPT = 60.0
"""Seconds. No request takes so long from looking its session up to having a connection
to it."""


class Endings:
    """The epochs of sessions that have ended. What is under way to them is broken off
    when they end; who has looked one up before, and is not under way yet, looks here.

    `epoch in endings` may be asked from any thread.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._until: dict[int, float] = {}

    def __contains__(self, epoch: int) -> bool:
        return epoch in self._until

    def note(self, epoch: int) -> None:
        """This one has ended."""
        now = monotonic()
        with self._lock:
            self._until.pop(epoch, None)
            self._until[epoch] = now + KEPT
            # A dictionary's order is that in which they came, and so of their age.
            while self._until[oldest := next(iter(self._until))] < now:
                del self._until[oldest]
