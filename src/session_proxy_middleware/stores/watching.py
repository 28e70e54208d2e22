"""Who wants to know what this process changes in a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

Listener = Callable[[str, Any], None]
"""Told a kind (`service`, `session`, `key`) and what has changed: a name, a `Session`,
an id. A `CachedStore` also tells `replaced`, and a session that another registration
has taken the place of elsewhere."""


class Watchers:
    """Listeners, kept weakly: a store outlives the proxies that look into it."""

    def __init__(self) -> None:
        self._listeners: list[WeakMethod[Listener]] = []

    def add(self, listener: Listener) -> None:
        """From now on, tell this bound method."""
        alive = [each for each in self._listeners if each() is not None]
        self._listeners = [*alive, WeakMethod(listener)]

    def tell(self, kind: str, value: Any) -> None:
        """Something has changed."""
        for each in self._listeners:
            listener = each()
            if listener is not None:
                listener(kind, value)
