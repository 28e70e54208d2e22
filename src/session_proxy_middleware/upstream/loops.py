"""The running event loop, without a system call."""

from __future__ import annotations

import asyncio
from threading import get_ident


class RunningLoop:
    """Remembers which loop runs in which thread.

    `asyncio.get_running_loop` asks for the process id every time before Python 3.12,
    which costs as much as the rest of a look-up. A thread runs one loop at a time, so
    the one remembered for it is the one, as long as it runs.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # One attribute, so that two threads never see half of each other's.
        self._known: tuple[int, asyncio.AbstractEventLoop] | None = None

    def current(self) -> asyncio.AbstractEventLoop:
        """The loop that runs here. Raises `RuntimeError` where none does."""
        known = self._known
        if known is not None and known[0] == get_ident() and known[1].is_running():
            return known[1]
        loop = asyncio.get_running_loop()
        self._known = (get_ident(), loop)
        return loop
