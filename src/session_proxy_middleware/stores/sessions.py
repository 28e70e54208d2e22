"""The sessions of a store: what is checked before, whichever backend keeps them."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from ..errors import ConfigError
from ..interfaces import Backend
from ..models import SESSION_TTL, Session, State
from ..rules import life
from ..rules.route import canonical
from .address import parse
from .services import checked_service
from .watching import Watchers

_ID = re.compile(r"[\x21-\x2e\x30-\x7e]+")
_BEGINNINGS = ("running", "starting")
_STATES = ("starting", "running", "draining", "ended")

Change = Callable[[Session], Session | None]

Page = list[Session]
"""Inside the class `list` is its method."""


class Sessions:
    """The sessions: `register`, `lookup`, `find`, `touch`, `ready`, `drain`, `end`,
    `list`.

    Raises (from every method): `StoreUnavailable`.
    """

    def __init__(self, backend: Backend, watchers: Watchers) -> None:
        self._backend = backend
        self._watchers = watchers

    def register(
        self,
        service: str,
        id: str,
        upstream: str,
        *,
        state: Literal["running", "starting"] = "running",
        ttl: float = SESSION_TTL,
    ) -> Session:
        """Make a session known; one of the same id is replaced. An unknown service
        is created, ready.

        `upstream` is `http://`, `https://` or `unix:///path`, with an optional base
        path (`unix:///path:/base`). One that is `starting` is held back until it is
        `ready`. After `ttl` seconds without a `touch` it has ended.

        Raises:
            ConfigError: one of these is not valid.
        """
        session = _new(service, id, upstream, state, ttl)
        self._backend.put_session(session).run()
        self._watchers.tell("session", session)
        return session

    def lookup(self, service: str, id: str, /) -> Session | None:
        """The session, or None: also when it has ended."""
        found = self._backend.find_session(service, id).run()
        return found if found is not None and life.alive(found, time.time()) else None

    def find(self, service: str, id: str) -> Session | None:
        """The session as `list` shows it: also when it has ended within the last
        hour."""
        return _seen(self._backend.session_of(service, canonical(id)).run())

    def touch(self, service: str, id: str, *, ttl: float | None = None) -> bool:
        """Its time to live begins anew, or another one with `ttl`. False when it is
        not known or has ended."""
        return self._change(service, id, _touched(ttl))

    def ready(self, service: str, id: str) -> bool:
        """From `starting` to `running`. False when it is in no such state."""
        return self._change(service, id, _now(life.readied))

    def drain(self, service: str, id: str) -> bool:
        """Let its requests finish and refuse new ones, with 503. False when it is not
        known, has ended or drains already."""
        return self._change(service, id, _now(life.drained))

    def end(self, service: str, id: str) -> bool:
        """It has ended: 404 from now on, and idle connections to it are closed. False
        when it was not known or had ended."""
        return self._change(service, id, _now(life.ended))

    def confirm(self, session: Session) -> bool:
        """`ready`, for this very registration: a probe has reached it."""
        change = _now(partial(life.readied, epoch=session.epoch))
        return self._change(session.service, session.id, change)

    def list(
        self,
        *,
        service: str | None = None,
        state: State | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Page:
        """Sessions in a stable order, `limit` of them at most; the next page comes
        `after` the `name` of the last. Those that ended within the last hour are
        among them, as `ended`.

        Raises:
            ConfigError: a filter is not valid.
        """
        return self._backend.list_sessions(
            **_page(service, state, after, limit), now=time.time()
        ).run()

    def note(self, active_at: Mapping[tuple[str, str], float]) -> None:
        """Bytes flowed, at these times, for these (service, id)."""
        self._backend.note_sessions(active_at).run()

    async def aregister(
        self,
        service: str,
        id: str,
        upstream: str,
        *,
        state: Literal["running", "starting"] = "running",
        ttl: float = SESSION_TTL,
    ) -> Session:
        """`register`, awaitable."""
        session = _new(service, id, upstream, state, ttl)
        await self._backend.put_session(session)
        self._watchers.tell("session", session)
        return session

    async def alookup(self, service: str, id: str, /) -> Session | None:
        """`lookup`, awaitable."""
        found = await self._backend.find_session(service, id)
        return found if found is not None and life.alive(found, time.time()) else None

    async def afind(self, service: str, id: str) -> Session | None:
        """`find`, awaitable."""
        return _seen(await self._backend.session_of(service, canonical(id)))

    async def atouch(self, service: str, id: str, *, ttl: float | None = None) -> bool:
        """`touch`, awaitable."""
        return await self._achange(service, id, _touched(ttl))

    async def aready(self, service: str, id: str) -> bool:
        """`ready`, awaitable."""
        return await self._achange(service, id, _now(life.readied))

    async def adrain(self, service: str, id: str) -> bool:
        """`drain`, awaitable."""
        return await self._achange(service, id, _now(life.drained))

    async def aend(self, service: str, id: str) -> bool:
        """`end`, awaitable."""
        return await self._achange(service, id, _now(life.ended))

    async def aconfirm(self, session: Session) -> bool:
        """`confirm`, awaitable."""
        change = _now(partial(life.readied, epoch=session.epoch))
        return await self._achange(session.service, session.id, change)

    async def alist(
        self,
        *,
        service: str | None = None,
        state: State | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Page:
        """`list`, awaitable."""
        return await self._backend.list_sessions(
            **_page(service, state, after, limit), now=time.time()
        )

    async def anote(self, active_at: Mapping[tuple[str, str], float]) -> None:
        """`note`, awaitable."""
        await self._backend.note_sessions(active_at)

    def _change(self, service: str, id: str, change: Change) -> bool:
        changed = self._backend.change_session(service, canonical(id), change).run()
        return self._told(changed)

    async def _achange(self, service: str, id: str, change: Change) -> bool:
        changed = await self._backend.change_session(service, canonical(id), change)
        return self._told(changed)

    def _told(self, changed: Session | None) -> bool:
        if changed is not None:
            self._watchers.tell("session", changed)
        return changed is not None


def _new(service: str, id: str, upstream: str, state: State, ttl: float) -> Session:
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise ConfigError(
            f"a session's id must be one path segment of printable ASCII, not {id!r}"
        )
    origin, base_path = parse(upstream)
    if state not in _BEGINNINGS:
        raise ConfigError(f"state must be 'running' or 'starting', not {state!r}")
    now = time.time()
    return Session(
        id=canonical(id),
        service=checked_service(service),
        origin=origin,
        base_path=base_path,
        # Random, not counted: it stays unique when a store is lost or restored.
        epoch=secrets.randbits(63),
        state=state,
        ttl=_seconds(ttl),
        registered_at=now,
        expires_at=now + ttl,
    )


def _seen(found: Session | None) -> Session | None:
    return None if found is None else life.seen_at(found, time.time())


def _seconds(ttl: float) -> float:
    number = isinstance(ttl, int | float) and not isinstance(ttl, bool)
    if not number or not math.isfinite(ttl) or ttl <= 0:
        raise ConfigError(f"ttl must be a positive number of seconds, not {ttl!r}")
    return float(ttl)


def _now(change: Callable[[Session, float], Session | None]) -> Change:
    # The clock is read when the change is made, not when it is asked for.
    return lambda session: change(session, time.time())


def _touched(ttl: float | None) -> Change:
    return _now(partial(life.touched, ttl=None if ttl is None else _seconds(ttl)))


def checked_limit(limit: int) -> int:
    """How many to list.

    Raises:
        ConfigError: not a positive whole number.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ConfigError(f"limit must be a whole number from 1 up, not {limit!r}")
    return limit


def _page(service: str | None, state: str | None, after: str, limit: int) -> Any:
    if state is not None and state not in _STATES:
        raise ConfigError(f"state must be one of {', '.join(_STATES)}, not {state!r}")
    before, _, id = after.partition("/")
    return {
        "service": service,
        "state": state,
        "after": (before, id),
        "limit": checked_limit(limit),
    }
