"""How a driver gets the answers that a flow asks a registry for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .exchange import FindKey, FindService, FindSession
from .fence import FindAgain
from .models import Session
from .proxy import SessionProxy
from .stores.cache import CachedStore

Answers = dict[type, Callable[[Any], Any]]
Awaitables = dict[type, Callable[[Any], Awaitable[Any]]]


class Closer:
    """Closes connections to a session that has ended: the idle ones, where the
    transport can, and by `end` what is under way.

    A store keeps those who watch it weakly: the driver holds this.
    """

    def __init__(
        self,
        proxy: SessionProxy,
        transport: Any,
        end: Callable[[Session], None],
        *others: Callable[[Session], None],
    ) -> None:
        """`end` is told of sessions that have ended, `others` of all that change."""
        self._end = end
        self._others = others
        self.forget: Callable[[Session], None]
        self.forget = getattr(transport, "forget", nothing)
        watch = getattr(proxy.lookups, "watch", None)
        if watch is not None:
            watch(self.changed)

    def changed(self, kind: str, value: Any) -> None:
        """See `interfaces.Store`."""
        if kind == "replaced":
            self.forget(value)
        elif kind == "session":
            if value.state == "ended":
                self.forget(value)
                self._end(value)
            for tell in self._others:
                tell(value)


def nothing(session: Session) -> None:
    """What a transport does that can do no more."""


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


def ended(proxy: SessionProxy) -> Callable[[list[Session]], list[Session]]:
    """Which of some sessions have ended, as the store says."""
    at_once: Any = getattr(proxy.store.sessions, "ended", None)
    find = proxy.lookups.sessions.lookup

    def asked(sessions: list[Session]) -> list[Session]:
        if at_once is None:
            return [each for each in sessions if find(each.service, each.id) is None]
        return list(at_once(sessions))

    return asked


def aended(proxy: SessionProxy) -> Callable[[list[Session]], Awaitable[list[Session]]]:
    """`ended`, awaitable."""
    at_once: Any = getattr(proxy.store.sessions, "aended", None)
    find = proxy.lookups.sessions.alookup

    async def asked(sessions: list[Session]) -> list[Session]:
        if at_once is None:
            return [s for s in sessions if await find(s.service, s.id) is None]
        return list(await at_once(sessions))

    return asked
