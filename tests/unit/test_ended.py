"""Sessions that end under requests: the cases that no test can bring about from
outside, because they are a matter of moments, or of a store that fails."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from session_proxy_middleware import MemoryStore, Session, SessionProxy
from session_proxy_middleware.asgi import SessionProxyMiddleware
from session_proxy_middleware.errors import StoreUnavailable
from session_proxy_middleware.lookups import aended, ended
from session_proxy_middleware.patrol import Patrol
from session_proxy_middleware.upstream import endings
from session_proxy_middleware.upstream.endings import ENDING, Endings, Later
from session_proxy_middleware.wsgi import SessionProxyMiddleware as WSGIMiddleware
from tests.support.upstream import Conn, Upstream, answering, response
from tests.support.wire import PATIENCE
from tests.unit.values import ID, AskedStore, a_session

KEY = "pk_a_secret_of_ones_own_0123456789abcdef"
PATH = f"/bot/sessions/{ID}/x"
HEADERS = {"authorization": f"Bearer {KEY}"}


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("not the host's")


def via_asgi(proxy: SessionProxy) -> int:
    async def get() -> int:
        app = SessionProxyMiddleware(nobody, proxy)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://p") as http:
            status = (await http.get(PATH, headers=HEADERS)).status_code
        await app._transport.aclose()
        return status

    return asyncio.run(get())


def via_wsgi(proxy: SessionProxy) -> int:
    app = WSGIMiddleware(lambda environ, start_response: [], proxy)
    transport = httpx.WSGITransport(app=app)
    with httpx.Client(transport=transport, base_url="http://p") as http:
        status = http.get(PATH, headers=HEADERS).status_code
    app._transport.close()
    return status


@pytest.fixture(params=[via_asgi, via_wsgi], ids=["asgi", "wsgi"])
def get(request: pytest.FixtureRequest) -> Callable[[SessionProxy], int]:
    chosen: Callable[[SessionProxy], int] = request.param
    return chosen


def holding(store: MemoryStore, url: str) -> MemoryStore:
    """With a key and a session."""
    store.keys.create(secret=KEY)
    store.sessions.register("bot", ID, url)
    return store


class EndsBehind(AskedStore):
    """A session ends in the very moment in which it has been looked up."""

    def __init__(self) -> None:
        super().__init__()
        find = self.sessions.lookup

        def lookup(service: str, id: str) -> Session | None:
            found = find(service, id)
            self.sessions.end(service, id)
            return found

        async def alookup(service: str, id: str) -> Session | None:
            return lookup(service, id)

        self.sessions.lookup = lookup  # type: ignore[method-assign]
        self.sessions.alookup = alookup  # type: ignore[method-assign]


def test_a_session_that_ended_since_it_was_looked_up_is_not_reached(
    get: Callable[[SessionProxy], int],
) -> None:
    with Upstream(answering(response(b"ok"))) as upstream:
        assert get(SessionProxy(holding(AskedStore(), upstream.url))) == 200
        assert get(SessionProxy(holding(EndsBehind(), upstream.url))) == 404
        assert len(upstream.requests) == 1


def test_what_a_session_has_said_in_full_reaches_a_slow_reader() -> None:
    """There is nothing left to break off when it ends."""
    taking, taken = asyncio.Event(), asyncio.Event()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            taking.set()
            await taken.wait()

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def read_slowly(url: str) -> None:
        store = holding(MemoryStore(), url)
        app = SessionProxyMiddleware(nobody, SessionProxy(store))
        scope = {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "headers": [(b"authorization", f"Bearer {KEY}".encode())],
        }
        asked = asyncio.create_task(app(scope, receive, send))
        await taking.wait()
        assert store.sessions.end("bot", ID)
        await asyncio.sleep(3 * ENDING)
        taken.set()
        await asked
        await app._transport.aclose()

    with Upstream(answering(response(b"all of it"))) as upstream:
        asyncio.run(read_slowly(upstream.url))
    assert sent[-1] == {"type": "http.response.body", "body": b"all of it"}


class Streams:
    """A session that says a first word, and waits to be told to go on."""

    def __init__(self) -> None:
        self.first = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
        self.go_on = threading.Event()

    def play(self, conn: Conn) -> None:
        conn.request()
        conn.send(self.first)
        assert self.go_on.wait(PATIENCE)
        conn.send(b"done")


@contextmanager
def patrolled(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[list[Session]], list[Session]]
) -> Iterator[tuple[SessionProxy, Streams]]:
    """A proxy that often asks `ask` whether sessions have ended."""
    streams = Streams()
    with Upstream(streams.play) as upstream:
        store = holding(MemoryStore(), upstream.url)

        async def aask(sessions: list[Session]) -> list[Session]:
            return ask(sessions)

        monkeypatch.setattr(store.sessions, "ended", ask)
        monkeypatch.setattr(store.sessions, "aended", aask)
        proxy = SessionProxy(store)
        proxy.patrol = 0.05
        yield proxy, streams


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        (StoreUnavailable("db"), logging.DEBUG),
        (OSError("db"), logging.DEBUG),
        (RuntimeError("a bug in a store"), logging.ERROR),
    ],
)
def test_a_store_that_cannot_say_breaks_nothing_off(
    get: Callable[[SessionProxy], int],
    failure: Exception,
    level: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "session_proxy")
    asked: list[list[str]] = []

    def ask(sessions: list[Session]) -> list[Session]:
        asked.append([each.id for each in sessions])
        if len(asked) == 3:
            streams.go_on.set()
        raise failure

    with patrolled(monkeypatch, ask) as (proxy, streams):
        assert get(proxy) == 200
    assert asked[:3] == [[ID]] * 3
    said = [each for each in caplog.records if "sessions have ended" in each.message]
    assert {each.levelno for each in said} == {level}


def test_what_the_store_says_has_ended_is_broken_off(
    get: Callable[[SessionProxy], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with patrolled(monkeypatch, lambda sessions: sessions) as (proxy, streams):
        streams.first = b""
        assert get(proxy) == 404
        streams.go_on.set()


def test_a_short_request_is_not_asked_after(
    get: Callable[[SessionProxy], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Session]] = []

    def ask(sessions: list[Session]) -> list[Session]:
        asked.append(sessions)
        return []

    with patrolled(monkeypatch, ask) as (proxy, streams):
        streams.go_on.set()
        proxy.patrol = 0.0
        assert get(proxy) == 200
        time.sleep(0.1)
    assert asked == []


class Plain:
    """A store of a host's own: it can be asked, and no more."""

    def __init__(self, inner: MemoryStore) -> None:
        self.services = inner.services
        self.keys = inner.keys
        self.sessions = PlainSessions(inner)


class PlainSessions:
    def __init__(self, inner: MemoryStore) -> None:
        self.lookup = inner.sessions.lookup
        self.alookup = inner.sessions.alookup


def test_a_store_that_knows_of_one_session_at_a_time_is_asked_for_each() -> None:
    inner = MemoryStore()
    here = inner.sessions.register("bot", ID, "http://10.0.3.7:8080")
    gone = a_session()
    for store in (inner, Plain(inner)):
        proxy = SessionProxy(store)
        other = [here, Session(**{**_values(gone), "service": "gone"})]
        assert ended(proxy)(other) == other[1:]
        assert asyncio.run(_awaited(aended(proxy), other)) == other[1:]


def _values(session: Session) -> dict[str, Any]:
    names = ("id", "service", "origin", "base_path", "epoch")
    return {name: getattr(session, name) for name in names}


async def _awaited(ask: Any, sessions: list[Session]) -> list[Session]:
    found: list[Session] = await ask(sessions)
    return found


def test_endings_are_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(endings, "monotonic", lambda: now)
    found = Endings()
    for epoch in (1, 2, 1):
        found.note(epoch)
        now += 1.0
    now += endings.KEPT - 1.5
    found.note(3)
    assert [each in found for each in (1, 2, 3)] == [True, False, True]


def test_what_is_put_off_is_done_in_its_order_and_by_one_thread_at_a_time() -> None:
    done: list[tuple[int, str]] = []
    began = time.monotonic()
    later = Later(lambda value: done.append((value, threading.current_thread().name)))
    for turn in range(3):
        for value in range(3):
            later.add(3 * turn + value)
        end = time.monotonic() + PATIENCE
        while len(done) < 3 * turn + 3:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert [value for value, _ in done] == list(range(9))
    assert {name for _, name in done} == {"session-proxy"}
    assert time.monotonic() - began >= 3 * ENDING


def test_one_that_fails_keeps_no_other_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[int] = []

    def act(value: int) -> None:
        done.append(10 // value)

    later = Later(act)
    for value in (0, 5):
        later.add(value)
    end = time.monotonic() + PATIENCE
    while not done:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert done == [2]
    assert "could not break off" in caplog.text


class NoThreads:
    """Stands in for a process that may start no more of them."""

    def __init__(self, **_: Any) -> None:
        return

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_where_there_are_no_more_threads_it_is_done_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "Thread", NoThreads)
    done: list[int] = []
    Later(done.append).add(1)
    assert done == [1]


class Idle:
    """A transport without a request."""

    def __init__(self) -> None:
        self.in_flight = False
        self.lingers: Any = None
        self.rounds = 0

    def lasting(self) -> list[Session]:
        self.rounds += 1
        return []


def test_a_round_that_could_not_begin_begins_with_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = Idle()
    Patrol(transport, lambda sessions: [], every=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", NoThreads)
        transport.lingers()
    assert transport.rounds == 0
    transport.lingers()
    end = time.monotonic() + PATIENCE
    while not transport.rounds:
        assert time.monotonic() < end
        time.sleep(0.01)
