"""One of a thing for each event loop, found without a system call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import get_ident
from typing import Generic, TypeVar

Value = TypeVar("Value")


class PerLoop(Generic[Value]):
    """What `make` makes of a loop, once for each loop that is running.

    `asyncio.get_running_loop` asks for the process id every time before Python 3.12,
    which costs as much as the rest of a look-up. A thread runs one loop at a time, so
    the one remembered for it is the one, as long as it runs.
    """

    __slots__ = ("_known", "_make", "_values")

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], Value]) -> None:
        self._make = make
        self._values: dict[asyncio.AbstractEventLoop, Value] = {}
        # One attribute, so that two threads never see half of each other's.
        self._known: tuple[int, asyncio.AbstractEventLoop, Value] | None = None

    def current(self) -> Value:
        """That of the loop that runs here. Raises `RuntimeError` where none does."""
        known = self._known
        if known is not None and known[0] == get_ident() and known[1].is_running():
            return known[2]
        loop = asyncio.get_running_loop()
        if loop not in self._values:
            for closed in [each for each in list(self._values) if each.is_closed()]:
                self._values.pop(closed, None)
            self._values[loop] = self._make(loop)
        value = self._values[loop]
        self._known = (get_ident(), loop, value)
        return value

    def items(self) -> list[tuple[asyncio.AbstractEventLoop, Value]]:
        """Those there are; from any thread."""
        return list(self._values.items())
