"""Request bodies as a driver hands them over, paced by the test; and the body of an
async response."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from session_proxy_middleware.interfaces import AsyncResponse

Item = bytes | Exception | threading.Event
"""A piece, a failure, or a stop until the test sets the event."""


class Body:
    """What a client uploads. `given` counts the bytes handed out so far."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.position = 0
        self.given = 0

    @property
    def ended(self) -> bool:
        return self.position >= len(self.items)

    def step(self) -> bytes | threading.Event:
        """The next item, unless it is a stop that still stands."""
        item = self.items[self.position]
        if isinstance(item, threading.Event) and not item.is_set():
            return item
        self.position += 1
        if isinstance(item, threading.Event):
            return b"" if self.ended else self.step()
        if isinstance(item, Exception):
            raise item
        self.given += len(item)
        return item


class SyncUpload:
    """An `Upload` of a body."""

    def __init__(self, body: Body) -> None:
        self._body = body

    @property
    def ended(self) -> bool:
        return self._body.ended

    def read(self) -> bytes:
        while not isinstance(item := self._body.step(), bytes):
            item.wait(10)
        return item


class AsyncUpload:
    """An `AsyncUpload` of a body."""

    def __init__(self, body: Body) -> None:
        self._body = body

    @property
    def ended(self) -> bool:
        return self._body.ended

    async def read(self) -> bytes:
        while not isinstance(item := self._body.step(), bytes):  # noqa: ASYNC110
            # The event is a thread's: the test sets it outside of the loop.
            await asyncio.sleep(0.002)
        return item


async def whole_of(response: AsyncResponse) -> bytes:
    """All that is left of it."""
    data = b""
    while not response.complete or response.pieces:
        data += await response.read()
    return data
