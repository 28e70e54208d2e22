"""Waiting for a session: what is shared, what fails, and what it asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import sleep
from typing import Any

import pytest

from session_proxy_middleware import (
    MemoryStore,
    Session,
    SessionProxy,
    StoreUnavailable,
)
from session_proxy_middleware.errors import ConnectFailed
from session_proxy_middleware.models import Headers, Outbound
from session_proxy_middleware.probing import AsyncProber, Prober, Question
from tests.unit.test_exchange_order import Head
from tests.unit.values import ID, a_session

PATIENCE = 10.0
URL = "http://10.0.3.7:8080/base"


class Answer:
    status = 200

    def __init__(self, transport: Transport) -> None:
        self.headers: Headers = []
        self._transport = transport

    def close(self) -> None:
        self._transport.closed += 1

    async def aclose(self) -> None:
        self._transport.closed += 1


class Transport:
    """Both kinds at once; refuses connections so often, then answers."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.sent: list[Outbound] = []
        self.closed = 0
        self.asked = threading.Event()

    def send(self, outbound: Outbound, upload: Any, departure: Any = None) -> Answer:
        self.sent.append(outbound)
        self.asked.set()
        if len(self.sent) <= self.refusals:
            raise ConnectFailed("not yet")
        return Answer(self)

    async def asend(self, outbound: Outbound, upload: Any) -> Answer:
        return self.send(outbound, upload)

    def close(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


def begun(transport: Transport, wait: float = 5.0) -> tuple[SessionProxy, Session]:
    store = MemoryStore()
    session = store.sessions.register("bot", ID, URL, state="starting")
    return SessionProxy(store, transport=transport, ready_wait=wait), session


def sync(proxy: SessionProxy, session: Session, count: int) -> list[Any]:
    """So many threads wait; what each of them gets."""
    prober = Prober(proxy)
    answers: list[Any] = []

    def wait() -> None:
        try:
            answers.append(prober.wait(session))
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return answers


def awaited(proxy: SessionProxy, session: Session, count: int) -> list[Any]:
    """The same with tasks."""

    async def wait() -> list[Any]:
        prober = AsyncProber(proxy)
        waiting = (prober.wait(session) for _ in range(count))
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(wait())


Wait = Callable[[SessionProxy, Session, int], list[Any]]
both = pytest.mark.parametrize("wait", [sync, awaited])


@both
def test_all_who_wait_share_the_attempts(wait: Wait) -> None:
    transport = Transport(refusals=2)
    proxy, session = begun(transport)
    answers = wait(proxy, session, 10)
    assert [each.state for each in answers] == ["running"] * 10
    assert {each.pool_key for each in answers} == {session.pool_key}
    assert len(transport.sent) == 3
    assert transport.closed == 1
    assert [each.state for each in proxy.store.sessions.list()] == ["running"]  # type: ignore[attr-defined]


@both
def test_a_session_that_never_answers_is_waited_for_no_longer(wait: Wait) -> None:
    transport = Transport(refusals=10_000)
    proxy, session = begun(transport, wait=0.25)
    assert [each.state for each in wait(proxy, session, 3)] == ["starting"] * 3
    assert 1 <= len(transport.sent) <= 4


@both
@pytest.mark.parametrize("failure", [StoreUnavailable("db"), TimeoutError("db")])
def test_a_store_that_fails_fails_all_who_wait(
    wait: Wait, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = Transport()
    proxy, session = begun(transport)

    def lookup(service: str, id: str) -> Session:
        raise failure

    async def alookup(service: str, id: str) -> Session:
        raise failure

    monkeypatch.setattr(proxy.store.sessions, "lookup", lookup)
    monkeypatch.setattr(proxy.store.sessions, "alookup", alookup)
    answers = wait(proxy, session, 3)
    assert [type(each) for each in answers] == [type(failure)] * 3
    assert transport.sent == []


def test_what_stops_the_one_who_probes_stops_nobody_who_waits() -> None:
    """A host may stop a greenlet by what is no Exception: its own `gevent.Timeout`."""

    class Stopped(BaseException):
        pass

    class Stopping(Transport):
        def send(
            self, outbound: Outbound, upload: Any, departure: Any = None
        ) -> Answer:
            answer = super().send(outbound, upload, departure)
            if len(self.sent) > 1:
                return answer
            while len(waiting) < 2:  # The others share the attempt.
                sleep(0.01)
            sleep(0.1)
            raise Stopped

    transport = Stopping()
    proxy, session = begun(transport)
    prober = Prober(proxy)
    answers: list[Session | None] = []
    waiting: list[None] = []

    def wait() -> None:
        assert transport.asked.wait(PATIENCE)
        waiting.append(None)
        answers.append(prober.wait(session))

    others = [threading.Thread(target=wait) for _ in range(2)]
    for thread in others:
        thread.start()
    with pytest.raises(Stopped):
        prober.wait(session)
    for thread in others:
        thread.join(PATIENCE)
    assert [each.state for each in answers if each] == ["running"] * 2


@both
def test_a_store_that_cannot_be_written_holds_nobody_back(
    wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, session = begun(Transport())

    def confirm(session: Session) -> bool:
        raise StoreUnavailable("disk full")

    async def aconfirm(session: Session) -> bool:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(proxy.store.sessions, "confirm", confirm)
    monkeypatch.setattr(proxy.store.sessions, "aconfirm", aconfirm)
    assert [each.state for each in wait(proxy, session, 2)] == ["running"] * 2


@both
def test_a_session_that_is_gone_is_told(wait: Wait) -> None:
    proxy, session = begun(Transport())
    proxy.store.sessions.end("bot", ID)  # type: ignore[attr-defined]
    assert wait(proxy, session, 2) == [None, None]


@both
def test_a_registry_that_takes_no_word_is_not_told(wait: Wait) -> None:
    """A store of one's own need not know how to confirm."""
    inner = MemoryStore()
    session = inner.sessions.register("bot", ID, URL, state="starting")

    class Sessions:
        lookup, alookup = inner.sessions.lookup, inner.sessions.alookup

    class Store:
        services, sessions, keys = inner.services, Sessions(), inner.keys

    proxy = SessionProxy(Store(), transport=Transport(), ready_wait=5)
    assert [each.state for each in wait(proxy, session, 1)] == ["running"]
    assert [each.state for each in inner.sessions.list()] == ["starting"]


def test_a_client_that_leaves_takes_nothing_with_it() -> None:
    transport = Transport(refusals=1)
    proxy, session = begun(transport)

    async def wait() -> tuple[bool, Any]:
        prober = AsyncProber(proxy)
        first, second = (asyncio.create_task(prober.wait(session)) for _ in range(2))
        while not transport.asked.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0)
        first.cancel()
        return (await asyncio.wait({first}))[0] == {first}, await second

    left, found = asyncio.run(wait())
    assert left
    assert found.state == "running"


@pytest.mark.parametrize(
    ("path", "method", "target", "ready"),
    [
        (None, b"HEAD", b"/base/", {200: True, 302: True, 404: True, 503: True}),
        ("/readyz", b"GET", b"/base/readyz", {200: True, 204: True, 302: False}),
        ("/readyz?full", b"GET", b"/base/readyz?full", {404: False, 503: False}),
    ],
)
def test_what_a_probe_asks_and_takes_for_a_yes(
    path: str | None, method: bytes, target: bytes, ready: dict[int, bool]
) -> None:
    session = a_session(URL)
    question = Question(SessionProxy("memory://", ready_path=path))
    outbound = question.outbound(session)
    assert (outbound.method, outbound.target) == (method, target)
    assert outbound.headers[0] == (b"host", b"10.0.3.7:8080")
    assert (b"x-daily-session-id", ID.encode()) in outbound.headers
    for status, expected in ready.items():
        response = Head(status)
        assert question.answered(response, session) is expected


@pytest.mark.parametrize("path", [None, "/readyz"])
def test_a_guard_that_refuses_a_probe_says_that_the_session_is_not_there_yet(
    path: str | None,
) -> None:
    session = a_session(URL)
    question = Question(SessionProxy("memory://", ready_path=path))
    assert not question.answered(
        Head(421, [(b"x-session-proxy-guard", ID.encode())]), session
    )
    assert question.answered(Head(421), session) is (path is None)
