"""How a driver gets the answers that a flow asks a registry for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .exchange import FindAgain, FindKey, FindService, FindSession
from .proxy import SessionProxy
from .stores.cache import CachedStore
from .stores.remembered import MISSING

Answers = dict[type, Callable[[Any], Any]]
Awaitables = dict[type, Callable[[Any], Awaitable[Any]]]


def at_once(proxy: SessionProxy) -> Answers:
    """What can be answered without waiting, or is `MISSING`."""
    store = proxy.lookups
    if not isinstance(store, CachedStore):
        return blocking(proxy)
    key, service = store.keys.peek, store.services.peek
    # One call less than through `sessions.peek`: this is every request's path.
    session = store.sessions.remembered.peek
    return {
        FindKey: lambda step: key(step.digest),
        FindService: lambda step: service(step.name),
        FindSession: lambda step: session((step.service, step.id)),
        FindAgain: lambda step: MISSING,
    }


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
