"""The client's side of a request under ASGI: its body, and whether it is still there
and takes what it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from .activity import Activity
from .errors import (
    SESSION_ENDED,
    ClientDisconnected,
    Draining,
    SessionNotFound,
    StoreUnavailable,
)
from .interfaces import AsyncTransport
from .models import Ending, Session
from .rules.body import BodyMeter
from .upstream.endings import ENDING

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Ended = Callable[[list[Session]], Awaitable[list[Session]]]
"""Which of these sessions have ended, as the store says."""

log = logging.getLogger("session_proxy")

DRAINING = Draining.slug

_LOOKS = 4
"""How often in `Timeouts.idle` a client that takes nothing is looked at."""

END_WITHIN = 1.0
"""Seconds, at most, that a client whose body is whole may take to end its request, and
that what is left of an upload is taken after its request."""

LOOK_EVERY = 0.04
"""Seconds. A request that ends sooner never pays for watching its client. One that is
there at two looks does: its client is seen leaving within 100 ms."""


class Client:
    """The client's side of one request: its body (an `AsyncUpload`), and whether it
    is still there and takes what it is sent."""

    # Defaults of the class: most requests end before anything of it changes.
    active = True
    reason = ""
    """Why the request was last interrupted, if it was."""
    aged = False
    """Whether it has seen a look, and been passed by."""
    meter: BodyMeter | None = None
    ended = True
    """Whether the last of its body was given."""
    owing = False
    """Whether its body is whole, and its server has not yet said that it ends."""
    sent = 0
    """Bytes it was sent of a body that comes in pieces."""
    turns = 0
    """Odd while something is being sent to the client."""
    cancelled = False
    """Whether its task was cancelled from here, and has not noticed yet."""
    whole = False
    """Whether the session has said all it will: only the client is waited for."""
    unread = False
    """Whether nobody reads what may be left of its body, and its answer has begun: a
    server asked for more of it says `100 Continue` no more."""
    lasts = False
    """Whether it was under way when the store was last asked."""
    _settled: asyncio.Future[None] | None = None
    _watcher: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    # What the last look saw, and how many have seen the same.
    _seen: tuple[int, int] | None = None
    _same = 0

    def __init__(
        self, receive: Receive, lookout: Lookout, session: Session | None
    ) -> None:
        self.session = session
        self._receive = receive
        self._lookout = lookout
        self._task = asyncio.current_task(lookout.loop)
        lookout.young.add(self)
        if not lookout.due:
            lookout.begin()

    def expect(self, meter: BodyMeter) -> None:
        """A body comes, to be counted with this."""
        self.meter = meter
        self.ended = False

    @property
    def received(self) -> int:
        """Bytes of the body so far."""
        return self.meter.received if self.meter is not None else 0

    async def read(self) -> bytes:
        """See `AsyncUpload.read`."""
        try:
            message = await self._receive()
        except OSError as error:
            raise ClientDisconnected("in the middle of its upload") from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnected("in the middle of its upload")
        data: bytes = message.get("body", b"")
        ended = not message.get("more_body", False)
        if self.meter is not None:
            self.meter.count(data, ended)
            # Some servers say so only with an empty message of its own, later.
            self.owing = not ended and self.meter.whole
            ended = ended or self.owing
        self.ended = ended
        self.flowed()
        return data

    async def settle(self) -> None:
        """Receive the end of a request that is still `owing` it, before its reply ends:
        one that ends sooner costs a client its whole connection, where it ends its
        streams of HTTP/2 in a frame of its own and the server is hypercorn."""
        self._settled = self._lookout.loop.create_future()
        self.watch()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(END_WITHIN, self._lookout.idle / 2)):
                await self._settled

    def flowed(self) -> None:
        """Bytes have flowed: the session is in use."""
        activity = self._lookout.activity
        if activity is not None and self.session is not None:
            activity.note(self.session)

    def watch(self) -> None:
        """From now on, interrupt the request as soon as the client leaves. Nobody else
        may receive any more."""
        if self._watcher is None:
            self._watcher = self._lookout.loop.create_task(self._watch())

    def time(self) -> None:
        """From now on, interrupt it when the client has taken nothing of what it is
        sent, and sent nothing itself, for `Timeouts.idle`."""
        if self._timer is None:
            loop, idle = self._lookout.loop, self._lookout.idle
            self._timer = loop.call_later(idle / _LOOKS, self._look, idle)

    async def _watch(self) -> None:
        try:
            while (message := await self._receive())["type"] != "http.disconnect":
                if message.get("more_body", False):
                    # Held up, hypercorn reads nothing else of the connection.
                    await asyncio.sleep(0)
                    continue
                self._settle()
                # Servers wait until it leaves. What replays a body that it has read
                # may answer at once, and for ever: the loop must turn all the same.
                await asyncio.sleep(LOOK_EVERY)
        except OSError:
            self._interrupt("client_disconnected")
        except Exception:
            if self.active:
                log.exception("a client could not be watched")
            self._settle()
        else:
            self._interrupt("client_disconnected")

    def _settle(self) -> None:
        self.owing = False
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _look(self, idle: float) -> None:
        now = (self.turns, self.received)
        stuck = self.turns & 1 and now == self._seen
        self._seen = now
        self._same = self._same + 1 if stuck else 0
        if self._same >= _LOOKS:
            self._interrupt("client_idle")
        else:
            loop = self._lookout.loop
            self._timer = loop.call_later(idle / _LOOKS, self._look, idle)

    def _interrupt(self, reason: str) -> None:
        if self.active and not self.cancelled and self._task is not None:
            self.reason = reason
            self.cancelled = True
            self._task.cancel()

    def interrupted(self) -> bool:
        """Whether the cancellation just caught is ours, for the client's sake, and
        nobody else's."""
        ours, self.cancelled = self.cancelled, False
        return ours and not (self._task and self._task.uncancel())

    def cause(self, total: float) -> Exception:
        """What a request that was interrupted before its reply ends with. `total`:
        seconds since it began."""
        if self.reason == DRAINING:
            return Draining("broken off: the proxy is shutting down")
        if self.reason == SESSION_ENDED:
            return SessionNotFound("ended while the request was under way")
        gone = ClientDisconnected("before the reply")
        gone.ending = self.departed(total)
        return gone

    def departed(self, total: float) -> Ending:
        """What is known of a request whose client left before its reply."""
        reason = self.reason or "client_disconnected"
        return Ending(reason, self.received, 0, None, total)

    def break_off(self) -> None:
        """The proxy is shutting down and the time is up."""
        self._interrupt(DRAINING)

    def end(self) -> None:
        """The session has ended."""
        if not self.whole:
            self._interrupt(SESSION_ENDED)

    def close(self) -> None:
        """The request is over."""
        lookout = self._lookout
        if self.aged:
            lookout.aged.discard(self)
            lookout.watched.discard(self)
            if self._timer is not None:
                self._timer.cancel()
        else:
            lookout.young.discard(self)
        if self._watcher is not None:
            self._watcher.cancel()
        self.active = False

    def pass_over(self) -> None:
        """The request is over, broken off in the middle of its upload: what is left of
        that is still taken, for a moment. hypercorn closes a connection only once it
        has put a last message in a queue that may be full of it."""
        loop = self._lookout.loop
        loop.call_later(END_WITHIN, loop.create_task(self._watch()).cancel)


class Lookout:
    """Starts watching the clients of requests that did not end at once. No request
    pays for a task or a timer of its own until it has taken `LOOK_EVERY` seconds.

    While there are such requests, `ended` is asked every `patrol` seconds about the
    sessions of those that were there the last time: another process may have ended
    them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        idle: float,
        activity: Activity | None,
        ended: Ended,
        patrol: float,
        transport: AsyncTransport,
    ) -> None:
        self.loop = loop
        here = getattr(transport, "here", None)
        self.asend = transport.asend if here is None else here().asend
        """The transport's, without a look for the loop on each request."""
        self.idle = idle
        self.activity = activity
        # Sets, which a request leaves as soon as it is over: kept until the next look,
        # what hangs on it would cool the caches and age for the collector.
        self.young: set[Client] = set()
        """Those since the last look."""
        self.aged: set[Client] = set()
        """Those of before: watched from the next look on, unless their upload is still
        under way and would see them leave."""
        self.watched: set[Client] = set()
        self.due = False
        self._ended = ended
        self._patrol = patrol
        self._rounds: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """A request has begun: there is something to look at, in a while."""
        self.due = True
        self.loop.call_later(LOOK_EVERY, self._look)

    def break_off(self) -> None:
        """Interrupt every request there is."""
        for client in self._all():
            client.break_off()

    def _all(self) -> Iterator[Client]:
        # Copied: whoever looks at them may end some.
        return iter((*self.young, *self.aged, *self.watched))

    def end(self, session: Session) -> None:
        """Interrupt every request to a session that has ended."""
        self.loop.call_later(ENDING, self._end, session.epoch)

    def _end(self, epoch: int) -> None:
        for client in self._all():
            if client.session is not None and client.session.epoch == epoch:
                client.end()

    def _go_round(self) -> None:
        self._rounds = None
        lasting: dict[int, Session] = {}
        for client in self._all():
            if client.lasts and client.session is not None:
                lasting[client.session.epoch] = client.session
            client.lasts = True
        if lasting and (self._asking is None or self._asking.done()):
            self._asking = self.loop.create_task(self._ask(list(lasting.values())))
        if self.aged or self.watched:
            self._rounds = self.loop.call_later(self._patrol, self._go_round)

    async def _ask(self, lasting: list[Session]) -> None:
        try:
            for session in await self._ended(lasting):
                self.end(session)
        except (OSError, StoreUnavailable) as error:
            # What is under way goes on: that it has ended nobody says.
            log.debug("whether sessions have ended is not known: %s", error)
        except Exception:
            log.exception("whether sessions have ended could not be asked")

    def _look(self) -> None:
        for client in self.aged:
            client.time()
        ended = {client for client in self.aged if client.ended or client.unread}
        for client in ended:
            client.watch()
        self.watched |= ended
        self.aged -= ended
        for client in self.young:
            client.aged = True
        self.aged |= self.young
        self.young.clear()
        if self._rounds is None and (self.aged or self.watched):
            self._rounds = self.loop.call_later(self._patrol, self._go_round)
        self.due = bool(self.aged)
        if self.due:
            self.loop.call_later(LOOK_EVERY, self._look)
