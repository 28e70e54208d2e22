"""A store in front of a store: it remembers answers for a moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import StoreUnavailable
from ..interfaces import Store
from ..models import Key, Service, Session
from ..options import Caching
from .remembered import Remembered
from .watching import Listener, Watchers

T = TypeVar("T")

log = logging.getLogger("session_proxy")


class CachedStore:
    """A `Store` that asks another one, seldom. `peek` of each part answers without
    waiting, or with `UNKNOWN`; `again` asks the store itself.

    A failure of the store is raised as `StoreUnavailable` and never remembered.
    """

    def __init__(self, store: Store, caching: Caching) -> None:
        self._watchers = Watchers()
        outage = Outage()
        self.services = CachedServices(store, caching, outage)
        self.sessions = CachedSessions(store, caching, outage, self._gone)
        self.keys = CachedKeys(store, caching, outage)
        watch = getattr(store, "watch", None)
        if watch is not None:
            watch(self.changed)

    def watch(self, listener: Listener) -> None:
        """Tell the listener what changes, here or as far as is noticed elsewhere."""
        self._watchers.add(listener)

    def changed(self, kind: str, value: Any) -> None:
        """This process has changed something: what is remembered of it goes."""
        if kind == "service":
            self.services.remembered.drop(value)
        elif kind == "session":
            self.sessions.remembered.drop((value.service, value.id))
            self.services.remembered.drop(value.service)
        else:
            self.keys.remembered.drop_where(lambda key: key.id == value)
        self._watchers.tell(kind, value)

    def _gone(self, old: Session, new: Session | None) -> None:
        """Another process has ended or replaced a session."""
        if new is None:
            self._watchers.tell("session", replace(old, state="ended"))
        elif new.epoch != old.epoch:
            self._watchers.tell("replaced", old)


class CachedServices:
    """See `interfaces.Services`."""

    def __init__(self, store: Store, caching: Caching, outage: Outage) -> None:
        self.remembered: Remembered[str, Service] = Remembered(
            outage.watched(store.services.lookup),
            outage.awatched(store.services.alookup),
            lasts=lambda service: caching.found,
            absent=caching.absent,
            entries=caching.entries,
        )
        self.peek = self.remembered.peek
        self.lookup = self.remembered.get
        self.alookup = self.remembered.aget


class CachedSessions:
    """See `interfaces.Sessions`."""

    def __init__(
        self,
        store: Store,
        caching: Caching,
        outage: Outage,
        replaced: Callable[[Session, Session | None], None],
    ) -> None:
        lookup, alookup = store.sessions.lookup, store.sessions.alookup

        def ask(name: tuple[str, str]) -> Session | None:
            return lookup(*name)

        def aask(name: tuple[str, str]) -> Awaitable[Session | None]:
            return alookup(*name)

        def lasts(session: Session) -> float:
            return min(caching.found, session.expires_at - time.time())

        self.remembered: Remembered[tuple[str, str], Session] = Remembered(
            outage.watched(ask),
            outage.awatched(aask),
            lasts=lasts,
            absent=caching.absent,
            entries=caching.entries,
            replaced=replaced,
        )

    def peek(self, service: str, id: str, /) -> Any:
        """What is remembered, or `UNKNOWN`."""
        return self.remembered.peek((service, id))

    def lookup(self, service: str, id: str, /) -> Session | None:
        """The session, or None."""
        return self.remembered.get((service, id))

    async def alookup(self, service: str, id: str, /) -> Session | None:
        """`lookup`, awaitable."""
        return await self.remembered.aget((service, id))

    def again(self, service: str, id: str, /) -> Session | None:
        """The session as the store itself says now: what is remembered was wrong."""
        self.remembered.drop((service, id))
        return self.remembered.get((service, id))

    async def aagain(self, service: str, id: str, /) -> Session | None:
        """`again`, awaitable."""
        self.remembered.drop((service, id))
        return await self.remembered.aget((service, id))


class CachedKeys:
    """See `interfaces.Keys`."""

    def __init__(self, store: Store, caching: Caching, outage: Outage) -> None:
        def lasts(key: Key) -> float:
            if key.expires_at is None:
                return caching.keys
            return min(caching.keys, key.expires_at - time.time())

        self.remembered: Remembered[bytes, Key] = Remembered(
            outage.watched(store.keys.lookup),
            outage.awatched(store.keys.alookup),
            lasts=lasts,
            absent=min(caching.absent, caching.keys),
            entries=caching.entries,
        )
        self.peek = self.remembered.peek
        self.lookup = self.remembered.get
        self.alookup = self.remembered.aget


class Outage:
    """Says once that the store fails, and once that it works again."""

    def __init__(self) -> None:
        self._failing = False

    def watched(self, ask: Callable[[Any], T]) -> Callable[[Any], T]:
        """`ask`, its failures counted."""

        def watched(name: Any) -> T:
            try:
                answer = ask(name)
            except (OSError, StoreUnavailable) as error:
                raise self._failed(error) from error
            self._worked()
            return answer

        return watched

    def awatched(
        self, ask: Callable[[Any], Awaitable[T]]
    ) -> Callable[[Any], Awaitable[T]]:
        """`watched`, awaitable."""

        async def watched(name: Any) -> T:
            try:
                answer = await ask(name)
            except (OSError, StoreUnavailable) as error:
                raise self._failed(error) from error
            self._worked()
            return answer

        return watched

    def _failed(self, error: Exception) -> StoreUnavailable:
        if not self._failing:
            self._failing = True
            log.error("the store fails, requests are refused with 503: %s", error)
        return StoreUnavailable(str(error), reported=True)

    def _worked(self) -> None:
        if self._failing:
            self._failing = False
            log.warning("the store works again")
