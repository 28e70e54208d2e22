"""What was looked up a moment ago, and one look-up for all who ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any, Generic, TypeVar

from ..interfaces import UNKNOWN

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Name, Value]):
    """Answers of a registry, each kept for a moment.

    `peek` answers at once what is remembered. `get` and `aget` ask for what is not:
    once, however many want to know. `drop` forgets an answer, and one that is under
    way is then not remembered either.

    `lasts` says for how many seconds a value may be kept, `replaced` is told a value
    that is no longer the answer. What is there and what is not are kept apart, so
    that whoever asks for what is not there pushes nothing out.
    """

    def __init__(
        self,
        ask: Callable[[Name], Value | None],
        aask: Callable[[Name], Awaitable[Value | None]],
        *,
        lasts: Callable[[Value], float],
        absent: float,
        entries: int,
        replaced: Callable[[Value, Value | None], None] | None = None,
    ) -> None:
        self._ask = ask
        self._aask = aask
        self._lasts = lasts
        self._absent_for = absent
        self._entries = entries
        self._replaced = replaced
        self._found: dict[Name, tuple[Value, float]] = {}
        self._absent: dict[Name, float] = {}
        self._flights: dict[Name, Future[Value | None]] = {}
        self._tasks: dict[
            Name, dict[asyncio.AbstractEventLoop, asyncio.Task[Value | None]]
        ] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._found) + len(self._absent)

    def peek(self, name: Name) -> Any:
        """What is remembered, or `UNKNOWN`. Takes no lock and never waits."""
        entry = self._found.get(name)
        if entry is not None:
            return entry[0] if monotonic() < entry[1] else UNKNOWN
        until = self._absent.get(name)
        return None if until is not None and monotonic() < until else UNKNOWN

    def get(self, name: Name) -> Value | None:
        """The answer. Raises what asking raises, for all who wait for it."""
        while True:
            known: Value | None = self.peek(name)
            if known is not UNKNOWN:
                return known
            with self._lock:
                flight = self._flights.get(name)
                if flight is None:
                    flight = self._flights[name] = Future()
                    break
            with suppress(CancelledError):
                return flight.result()
        try:
            value = self._ask(name)
        except BaseException as error:
            self._land(name, flight)
            fail(flight, error)
            raise
        self._land(name, flight, keep=value)
        flight.set_result(value)
        return value

    async def aget(self, name: Name) -> Value | None:
        """`get`, awaitable. Who gives up waiting leaves the others theirs."""
        known: Value | None = self.peek(name)
        if known is not UNKNOWN:
            return known
        loop = asyncio.get_running_loop()
        with self._lock:
            tasks = self._tasks.setdefault(name, {})
            task = tasks.get(loop)
            if task is None:
                task = tasks[loop] = loop.create_task(self._fetch(name, tasks))
                task.add_done_callback(_retrieved)
        # Waiting does not cancel what is waited for, as awaiting it would.
        await asyncio.wait({task})
        return task.result()

    def drop(self, name: Name) -> None:
        """Forget it: it has changed, or may have."""
        with self._lock:
            self._flights.pop(name, None)
            self._tasks.pop(name, None)
            self._absent.pop(name, None)
            self._found.pop(name, None)

    def drop_where(self, matches: Callable[[Value], bool]) -> None:
        """Forget what matches, and all that is under way."""
        with self._lock:
            self._flights.clear()
            self._tasks.clear()
            self._absent.clear()
            for name in [n for n, (value, _) in self._found.items() if matches(value)]:
                del self._found[name]

    async def _fetch(
        self,
        name: Name,
        tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[Value | None]],
    ) -> Value | None:
        loop = asyncio.get_running_loop()
        value: Any = UNKNOWN
        old: Value | None = None
        try:
            value = await self._aask(name)
        finally:
            with self._lock:
                del tasks[loop]
                if self._tasks.get(name) is tasks:
                    if not tasks:
                        del self._tasks[name]
                    old = self._put(name, value)
        self._tell(old, value)
        found: Value | None = value
        return found

    def _land(
        self, name: Name, flight: Future[Value | None], *, keep: Any = UNKNOWN
    ) -> None:
        """The flight is over. What it brought is kept unless somebody has dropped the
        name since it began: looked at and kept under one lock, or a drop in between
        would be undone."""
        old: Value | None = None
        with self._lock:
            if self._flights.get(name) is flight:
                del self._flights[name]
                old = self._put(name, keep)
        self._tell(old, keep)

    def _put(self, name: Name, value: Any) -> Value | None:
        """Keep an answer, under the lock. Answers what was kept before."""
        if value is UNKNOWN:
            return None
        # Taken out first, so that a dictionary's order is the order of age.
        old = self._found.pop(name, None)
        self._absent.pop(name, None)
        if value is None:
            if self._absent_for:
                _bounded(self._absent, self._entries)
                self._absent[name] = monotonic() + self._absent_for
        elif (lasts := self._lasts(value)) > 0:
            _bounded(self._found, self._entries)
            self._found[name] = value, monotonic() + lasts
        return None if old is None else old[0]

    def _tell(self, old: Value | None, value: Any) -> None:
        if old is not None and self._replaced is not None:
            self._replaced(old, value)


def fail(flight: Future[Value], error: BaseException) -> None:
    """Tell all who wait. What is no `Exception` (a greenlet's time-out, say) stops the
    one who asks and nobody else: to the others the flight is cancelled, and one of them
    asks."""
    if isinstance(error, Exception):
        flight.set_exception(error)
    else:
        flight.cancel()


def _bounded(entries: dict[Name, Value], most: int) -> None:
    """Make room for one more: the oldest goes."""
    if len(entries) >= most:
        del entries[next(iter(entries))]


def _retrieved(task: asyncio.Task[Value]) -> None:
    """Whoever waited may have left before it failed."""
    if not task.cancelled():
        task.exception()
