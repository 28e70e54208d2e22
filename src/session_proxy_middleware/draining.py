"""The end of a proxy: no new requests, time for those under way, then an end."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable
from typing import Any


class Drain:
    """What is to be broken off, `seconds` after draining has begun.

    `begun` and `over` may be read at any time. Everything here is safe from any
    thread and from a signal handler, which may interrupt anything: it takes no lock.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = False
        self.over = False
        self._round = 0
        self._cuts: set[Callable[[], None]] = set()
        self._beginnings: set[Callable[[], None]] = set()

    def watch(self, cut: Callable[[], None]) -> None:
        """Call `cut`, from another thread, when the time is up; now if it is."""
        self._cuts.add(cut)
        if self.over:
            cut()

    def watch_beginning(self, told: Callable[[], None]) -> None:
        """Call `told`, from another thread, when the time begins to run."""
        self._beginnings.add(told)

    def unwatch(self, cut: Callable[[], None]) -> None:
        """No longer."""
        self._cuts.discard(cut)

    def begin(self) -> None:
        """The time runs from the first call on."""
        if not self.begun:
            self.begun = True
            # Not `threading.Thread`: starting one takes a lock that the thread which
            # a signal interrupts may be holding.
            _thread.start_new_thread(self._wait, (self._round,))

    def resume(self) -> None:
        """As if it had never begun: the host starts a second time."""
        self._round += 1
        self.begun = self.over = False

    def _wait(self, round: int) -> None:
        for told in list(self._beginnings):
            told()
        time.sleep(self.seconds)
        if round == self._round:
            self.over = True
            for cut in list(self._cuts):
                cut()


class Chain:
    """Calls `first` when a signal comes, and then what handled it before."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._first = first
        self._handlers: dict[int, Any] = {}

    def add(self, number: int) -> bool:
        """False where there is nothing to call before: no server handles the signal,
        or this is not the main thread, and so not a server's."""
        handler = signal.getsignal(number)
        if handler is not None and handler is self._handlers.get(number):
            return True
        here = threading.current_thread() is threading.main_thread()
        if not callable(handler) or not here:
            return False

        def handle(received: int, frame: Any) -> None:
            self._first()
            handler(received, frame)

        self._handlers[number] = handle
        signal.signal(number, handle)
        return True
