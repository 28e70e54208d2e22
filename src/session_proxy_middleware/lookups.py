"""How a driver gets the answers that a flow asks a registry for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .exchange import FindAgain, FindKey, FindService, FindSession
from .models import Session
from .proxy import SessionProxy
from .stores.cache import CachedStore

Answers = dict[type, Callable[[Any], Any]]
Awaitables = dict[type, Callable[[Any], Awaitable[Any]]]


class Closer:
    """Closes idle connections to a session that has ended, where the transport can.

    A store keeps those who watch it weakly: the driver holds this.
    """

    def __init__(
        self,
        proxy: SessionProxy,
        transport: Any,
        changed: Callable[[Session], None] | None = None,
    ) -> None:
        """`changed` is told of every session that this process changes."""
        self._forget: Callable[[Session], None] | None
        self._forget = getattr(transport, "forget", None)
        self._changed = changed
        watch = getattr(proxy.lookups, "watch", None)
        if watch is not None:
            watch(self.changed)

    def changed(self, kind: str, value: Any) -> None:
        """See `interfaces.Store`."""
        if kind != "session":
            return
        if value.state == "ended" and self._forget is not None:
            self._forget(value)
        if self._changed is not None:
            self._changed(value)


def blocking(proxy: SessionProxy) -> Answers:
    """Every answer, waited for."""
    store = proxy.lookups
    key, service = store.keys.lookup, store.services.lookup
    session = store.sessions.lookup
    again = store.sessions.again if isinstance(store, CachedStore) else session
    return {
        FindKey: lambda step: key(step.digest),
        FindService: lambda step: service(step.name),
        FindSession: lambda step: session(step.service, step.id),
        FindAgain: lambda step: again(step.service, step.id),
    }


def awaited(proxy: SessionProxy) -> Awaitables:
    """Every answer, awaited."""
    store = proxy.lookups
    key, service = store.keys.alookup, store.services.alookup
    session = store.sessions.alookup
    again = store.sessions.aagain if isinstance(store, CachedStore) else session
    return {
        FindKey: lambda step: key(step.digest),
        FindService: lambda step: service(step.name),
        FindSession: lambda step: session(step.service, step.id),
        FindAgain: lambda step: again(step.service, step.id),
    }
