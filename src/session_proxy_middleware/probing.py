"""Waiting for a session that is starting: one probe at a time, however many wait.

An attempt asks the store whether the session has become ready, and if not the session
itself. Everybody who waits for that session shares it.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from threading import Lock
from time import monotonic, sleep
from typing import Any

from . import lookups
from .errors import ProxyError, StoreUnavailable
from .fence import FindAgain, Head, refused
from .guard import MISDIRECTED
from .models import Block, Headers, Outbound, Session
from .options import Timeouts
from .proxy import SessionProxy
from .stores.remembered import fail

PAUSE = 0.1
"""Seconds between two attempts."""

PROBE = Timeouts(connect=1.0, response=2.0, idle=2.0, total=2.0)


class Question:
    """What a probe asks, and which answer is the right one.

    With a path, a GET that must be answered 2xx. Without one, a HEAD, and any answer
    will do: a server that accepts connections may still be loading.
    """

    def __init__(self, proxy: SessionProxy) -> None:
        path = proxy.ready_path
        self._new_id = proxy.new_request_id
        self._method = b"HEAD" if path is None else b"GET"
        self._path = b"/" if path is None else path.encode("ascii")
        self._any = path is None
        self._id_header = proxy.header_policy.session_id_name

    def outbound(self, session: Session) -> Outbound:
        """The request."""
        headers: Headers = [
            session.host_field,
            (b"user-agent", b"session-proxy"),
            (self._id_header, session.id_bytes),
        ]
        target = session.base_path + self._path
        return Outbound(
            session,
            self._method,
            target,
            (Block(headers),),
            self._new_id(),
            False,
            None,
        )

    def answered(self, response: Head, session: Session) -> bool:
        """Whether the session is ready."""
        if response.status == MISDIRECTED:
            return not refused(response, session) and self._any
        return self._any or 200 <= response.status < 300


class AsyncProber:
    """Waits under ASGI."""

    def __init__(self, proxy: SessionProxy) -> None:
        self._wait = proxy.ready_wait
        self._question = Question(proxy)
        self._again = lookups.awaited(proxy)[FindAgain]
        self._confirm = getattr(proxy.store.sessions, "aconfirm", None)
        self._transport = proxy.async_transport(PROBE)
        self._attempts: dict[Any, asyncio.Task[Session | None]] = {}

    async def wait(self, session: Session) -> Session | None:
        """See `AwaitReady`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait
        name = loop, session.name
        while True:
            attempt = self._attempts.get(name)
            if attempt is None:
                attempt = loop.create_task(self._attempt(session))
                self._attempts[name] = attempt
                attempt.add_done_callback(lambda done: self._over(name, done))
            # Not awaited itself: whoever gives up leaves the others theirs.
            done, _ = await asyncio.wait({attempt}, timeout=deadline - loop.time())
            if not done:
                return session
            found = attempt.result()
            if found is None or found.state != "starting":
                return found
            session = found

    def _over(self, name: Any, attempt: asyncio.Task[Session | None]) -> None:
        del self._attempts[name]
        if not attempt.cancelled():
            attempt.exception()  # Whoever waited may have left.

    async def _attempt(self, session: Session) -> Session | None:
        step = FindAgain(session.service, session.id)
        found: Session | None = await self._again(step)
        if found is None or found.state != "starting":
            return found
        if not await self._answers(found):
            await asyncio.sleep(PAUSE)
            return found
        if self._confirm is not None:
            # A store that can't be written now is told by whoever asks next.
            with contextlib.suppress(OSError, StoreUnavailable):
                await self._confirm(found)
        return replace(found, state="running")

    async def _answers(self, session: Session) -> bool:
        try:
            response = await self._transport.asend(
                self._question.outbound(session), None
            )
        except ProxyError:
            return False
        await response.aclose()
        return self._question.answered(response, session)


class Prober:
    """Waits under WSGI."""

    def __init__(self, proxy: SessionProxy) -> None:
        self._wait = proxy.ready_wait
        self._question = Question(proxy)
        self._again = lookups.blocking(proxy)[FindAgain]
        self._confirm = getattr(proxy.store.sessions, "confirm", None)
        self._transport = proxy.blocking_transport(PROBE)
        self._lock = Lock()
        self._attempts: dict[str, Future[Session | None]] = {}

    def wait(self, session: Session) -> Session | None:
        """See `AwaitReady`. The thread that makes an attempt may wait longer than it
        wants to by the time of one."""
        deadline = monotonic() + self._wait
        while (left := deadline - monotonic()) > 0:
            with self._lock:
                attempt = self._attempts.get(session.name)
                mine = attempt is None
                if attempt is None:
                    attempt = self._attempts[session.name] = Future()
            if mine:
                self._make(attempt, session)
            try:
                found = attempt.result(left)
            except TimeoutError:
                if attempt.done():
                    raise
                break
            except CancelledError:
                continue  # Whoever made it was stopped.
            if found is None or found.state != "starting":
                return found
            session = found
        return session

    def _make(self, attempt: Future[Session | None], session: Session) -> None:
        try:
            found = self._attempt(session)
        except BaseException as error:
            self._over(session)
            fail(attempt, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._over(session)
            attempt.set_result(found)

    def _over(self, session: Session) -> None:
        with self._lock:
            del self._attempts[session.name]

    def _attempt(self, session: Session) -> Session | None:
        found: Session | None = self._again(FindAgain(session.service, session.id))
        if found is None or found.state != "starting":
            return found
        if not self._answers(found):
            sleep(PAUSE)
            return found
        if self._confirm is not None:
            with contextlib.suppress(OSError, StoreUnavailable):
                self._confirm(found)
        return replace(found, state="running")

    def _answers(self, session: Session) -> bool:
        try:
            response = self._transport.send(self._question.outbound(session), None)
        except ProxyError:
            return False
        response.close()
        return self._question.answered(response, session)
