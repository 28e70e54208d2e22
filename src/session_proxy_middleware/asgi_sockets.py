"""What may happen to all WebSockets at once: their sessions end, the proxy drains, and
time passes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from .asgi_relay import ENDED, Relay
from .errors import Draining, StoreUnavailable
from .exchange import FindSession
from .models import Session
from .proxy import SessionProxy
from .rules.handshake import GOING_AWAY, RESTART

CHECK_EVERY = 2.0
"""Seconds between two looks at whether the sessions are still there: another process
may have ended them, or their time."""

PACE = 0.005
"""Seconds between two look-ups: many sessions take longer, not more of the store."""

SPREAD = 0.8
"""Of the time for draining: over so much of it the closes are spread, so that not all
clients come back at once, and that the last ones still get theirs in time."""


class Sockets:
    """The WebSockets of one event loop. One timer serves all."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        proxy: SessionProxy,
        find: Callable[[FindSession], Awaitable[Session | None]],
    ) -> None:
        self._loop = loop
        self._proxy = proxy
        self._find = find
        self._sessions: dict[Relay, Session] = {}
        self._relays: dict[str, set[Relay]] = {}
        idle, ping = proxy.timeouts.idle, proxy.websockets.ping_interval
        bounds = (idle, ping or idle, proxy.timeouts.total or idle)
        self._period = min(CHECK_EVERY, *(each / 4 for each in bounds))
        self._timer: asyncio.TimerHandle | None = None
        self._checked_at = 0.0
        self._check: asyncio.Task[None] | None = None

    def add(self, relay: Relay, session: Session) -> None:
        """It is being opened, for this session."""
        self._sessions[relay] = session
        self._relays.setdefault(session.name, set()).add(relay)
        if self._timer is None:
            self._timer = self._loop.call_later(self._period, self._look)
        if self._proxy.draining.begun:
            self._restart_later(relay)

    def remove(self, relay: Relay) -> None:
        """It is over, or has never been added."""
        session = self._sessions.pop(relay, None)
        if session is not None:
            relays = self._relays[session.name]
            relays.discard(relay)
            if not relays:
                del self._relays[session.name]

    def changed(self, session: Session) -> None:
        """This process has changed the session. Those that are for it are closed if it
        has ended, or is another one now."""
        for relay in list(self._relays.get(session.name, ())):
            same = self._sessions[relay].epoch == session.epoch
            if same == (session.state == "ended"):
                relay.close(GOING_AWAY, "session ended", ENDED)

    def restart(self) -> None:
        """The proxy begins to drain."""
        for relay in list(self._sessions):
            self._restart_later(relay)

    def break_off(self) -> None:
        """The time for draining is up."""
        for relay in list(self._sessions):
            relay.break_off(RESTART, Draining.slug)

    def _restart_later(self, relay: Relay) -> None:
        most = self._proxy.draining.seconds * SPREAD
        after = random.uniform(0, most)  # noqa: S311 - There is nothing to guess.
        self._loop.call_later(after, self._restart, relay)

    def _restart(self, relay: Relay) -> None:
        if self._proxy.draining.begun:
            relay.close(RESTART, "restarting", Draining.slug)

    def _look(self) -> None:
        self._timer = None
        if not self._relays:
            return
        now = self._loop.time()
        activity = self._proxy.activity
        for relay, session in list(self._sessions.items()):
            if relay.look(now) and activity is not None:
                activity.note(session)
        checking = self._check is not None and not self._check.done()
        if now - self._checked_at >= CHECK_EVERY and not checking:
            self._checked_at = now
            self._check = self._loop.create_task(self._look_up())
        self._timer = self._loop.call_later(self._period, self._look)

    async def _look_up(self) -> None:
        """One after the other, at `PACE`."""
        for session in {each.name: each for each in self._sessions.values()}.values():
            try:
                found = await self._find(FindSession(session.service, session.id))
            except (OSError, StoreUnavailable):
                continue  # What is open stays open.
            self.changed(found or replace(session, state="ended"))
            await asyncio.sleep(PACE)
