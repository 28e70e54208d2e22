"""A store in front of a store: what it sees of changes, and of failures."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import pytest

from session_proxy_middleware import (
    Caching,
    MemoryStore,
    Session,
    SessionProxy,
    StoreUnavailable,
    lookups,
)
from session_proxy_middleware.errors import ProxyError
from session_proxy_middleware.exchange import (
    FindKey,
    FindService,
    FindSession,
    RoundTrip,
    exchange,
)
from session_proxy_middleware.interfaces import UNKNOWN
from session_proxy_middleware.models import Key
from session_proxy_middleware.rules.credential import digest
from session_proxy_middleware.stores import remembered
from session_proxy_middleware.stores.cache import CachedStore
from session_proxy_middleware.stores.keys import Keys
from session_proxy_middleware.stores.watching import Watchers
from tests.unit.values import HOST_FIELD, ID, a_request, a_session

URL = "http://10.0.3.7:8080"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands in for `time.monotonic`: a test cannot wait for a clock and be exact."""
    clock = Clock()
    monkeypatch.setattr(remembered, "monotonic", clock)
    return clock


class Elsewhere(MemoryStore):
    """A store that another process shares: it is not immediate, and it counts."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.failure: Exception | None = None
        for part in ("services", "sessions", "keys"):
            self._count(part)

    def _count(self, part: str) -> None:
        table: Any = getattr(self, part)
        lookup = table.lookup

        def counted(*name: Any) -> Any:
            self.asked.append(part)
            if self.failure is not None:
                raise self.failure
            return lookup(*name)

        async def acounted(*name: Any) -> Any:
            return counted(*name)

        table.lookup, table.alookup = counted, acounted


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def listen(self, kind: str, value: Any) -> None:
        self.heard.append((kind, value))


def shared() -> tuple[Elsewhere, CachedStore]:
    store = Elsewhere()
    return store, CachedStore(store, Caching())


def secret_digest(key: Key) -> bytes:
    assert key.secret is not None
    return digest(key.secret.encode())


def test_what_this_process_changes_is_seen_at_once(clock: Clock) -> None:
    store, cached = shared()
    assert cached.services.lookup("bot") is None
    assert cached.sessions.lookup("bot", ID) is None
    session = store.sessions.register("bot", ID, URL)
    assert cached.services.lookup("bot") is not None
    assert cached.sessions.lookup("bot", ID) == session
    assert cached.sessions.peek("bot", ID) == session
    store.services.put("bot", ready=False)
    service = cached.services.lookup("bot")
    assert service is not None
    assert not service.ready
    store.sessions.end("bot", ID)
    assert cached.sessions.lookup("bot", ID) is None
    key = store.keys.create()
    assert cached.keys.lookup(secret_digest(key)) is not None
    store.keys.revoke(key.id)
    assert cached.keys.lookup(secret_digest(key)) is None


def test_a_key_that_was_not_there_is_seen_when_it_is_made_here(clock: Clock) -> None:
    store, cached = shared()
    secret = "pk_mine_0123456789abcdef01234567"
    assert cached.keys.lookup(digest(secret.encode())) is None
    store.keys.create(secret=secret)
    assert cached.keys.lookup(digest(secret.encode())) is not None


def elsewhere(store: Elsewhere) -> Any:
    """What another process does: nobody here is told."""
    return store.backend


def test_what_another_process_changes_is_seen_after_the_time(clock: Clock) -> None:
    store, cached = shared()
    session = store.sessions.register("bot", ID, URL)
    ear = Ear()
    cached.watch(ear.listen)
    assert cached.sessions.lookup("bot", ID) == session
    ended = replace(session, state="ended", expires_at=time.time())
    elsewhere(store).change_session("bot", ID, lambda old: ended).run()
    clock.now += 0.9
    assert cached.sessions.lookup("bot", ID) == session
    clock.now += 0.1
    assert cached.sessions.lookup("bot", ID) is None
    [(kind, told)] = ear.heard
    assert (kind, told.state, told.pool_key) == ("session", "ended", session.pool_key)


def test_a_session_registered_anew_elsewhere_replaces_the_old_one(clock: Clock) -> None:
    store, cached = shared()
    session = store.sessions.register("bot", ID, URL)
    ear = Ear()
    cached.watch(ear.listen)
    cached.sessions.lookup("bot", ID)
    clock.now += 1
    cached.sessions.lookup("bot", ID)
    assert ear.heard == []
    elsewhere(store).put_session(replace(session, epoch=7)).run()
    clock.now += 1
    found = cached.sessions.lookup("bot", ID)
    assert found is not None
    assert found.epoch == 7
    # What is under way to it goes on: its server may be the same.
    assert ear.heard == [("replaced", session)]


def test_a_key_that_was_rotated_elsewhere_is_refused_after_its_time(
    clock: Clock,
) -> None:
    store, cached = shared()
    key = store.keys.create()
    assert cached.keys.lookup(secret_digest(key)) is not None
    other = Keys(elsewhere(store), Watchers())  # As in another process.
    successor = other.rotate(key.id, overlap=0)
    assert successor is not None
    assert cached.keys.lookup(secret_digest(successor)) is not None
    assert cached.keys.lookup(secret_digest(key)) is not None
    clock.now += 5
    assert cached.keys.lookup(secret_digest(key)) is None
    assert cached.keys.lookup(secret_digest(successor)) is not None


def test_a_revoked_key_is_refused_after_its_time(clock: Clock) -> None:
    store, cached = shared()
    key = store.keys.create()
    assert cached.keys.lookup(secret_digest(key)) is not None
    elsewhere(store).remove_key(key.id).run()
    clock.now += 4.9
    assert cached.keys.peek(secret_digest(key)) is not UNKNOWN
    clock.now += 0.1
    assert cached.keys.lookup(secret_digest(key)) is None


def test_nothing_is_remembered_beyond_its_own_end(clock: Clock) -> None:
    store = Elsewhere()
    cached = CachedStore(store, Caching(found=3600, keys=3600))
    store.sessions.register("bot", ID, URL, ttl=30)
    key = store.keys.create(expires_at=time.time() + 30)
    assert cached.sessions.lookup("bot", ID) is not None
    assert cached.keys.lookup(secret_digest(key)) is not None
    clock.now += 30
    assert cached.sessions.peek("bot", ID) is UNKNOWN
    assert cached.keys.peek(secret_digest(key)) is UNKNOWN


@pytest.mark.parametrize("way", ["sync", "async"])
def test_asking_again_asks_the_store(way: str, clock: Clock) -> None:
    store, cached = shared()
    session = store.sessions.register("bot", ID, URL)
    cached.sessions.lookup("bot", ID)
    moved = replace(session, epoch=7)
    elsewhere(store).put_session(moved).run()
    if way == "sync":
        found = cached.sessions.again("bot", ID)
    else:
        found = asyncio.run(cached.sessions.aagain("bot", ID))
    assert found == moved
    assert cached.sessions.peek("bot", ID) == moved


@pytest.mark.parametrize("failure", [OSError("db away"), StoreUnavailable("db away")])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_outage_is_logged_once_and_so_is_its_end(
    way: str, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store, cached = shared()
    session = store.sessions.register("bot", ID, URL)

    def lookup(service: str, id: str = ID) -> Session | None:
        if way == "sync":
            return cached.sessions.lookup(service, id)
        return asyncio.run(cached.sessions.alookup(service, id))

    store.failure = failure
    for number in range(5):
        with pytest.raises(StoreUnavailable) as raised:
            lookup(f"s{number}")
        assert raised.value.reported
    store.failure = None
    assert [lookup("bot") for _ in range(3)] == [session] * 3
    assert [(each.levelno, each.getMessage()) for each in caplog.records] == [
        (
            logging.ERROR,
            "the store fails, requests are refused with 503: db away",
        ),
        (logging.WARNING, "the store works again"),
    ]


def test_a_bug_in_a_store_is_no_outage() -> None:
    store, cached = shared()
    store.failure = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        cached.services.lookup("bot")
    assert not isinstance(store.failure, ProxyError)


def test_a_store_in_memory_is_not_cached_and_any_other_is() -> None:
    memory, other = MemoryStore(), Elsewhere()
    assert SessionProxy(memory).lookups is memory
    assert isinstance(SessionProxy(other).lookups, CachedStore)
    assert SessionProxy(other).store is other


def test_what_is_remembered_is_no_step_of_a_request() -> None:
    store = Elsewhere()
    secret = "pk_mine_0123456789abcdef01234567"
    store.keys.create(secret=secret)
    session = store.sessions.register("bot", ID, URL)
    proxy = SessionProxy(store)
    fields = [HOST_FIELD, (b"authorization", b"Bearer " + secret.encode())]

    def first_steps() -> list[type]:
        flow = exchange(a_request(headers=fields), proxy)
        step, answers = next(flow), lookups.blocking(proxy)
        steps = [type(step)]
        while not isinstance(step, RoundTrip):
            step = flow.send(answers[type(step)](step))
            steps.append(type(step))
        flow.close()
        assert step.outbound.session == session
        return steps

    assert first_steps() == [FindKey, FindService, FindSession, RoundTrip]
    assert first_steps() == [RoundTrip]
    assert store.asked == ["keys", "services", "sessions"]


def test_a_store_that_tells_nothing_is_cached_too() -> None:
    class Mute:
        services, sessions, keys = (
            getattr(MemoryStore(), part) for part in ("services", "sessions", "keys")
        )

    cached = CachedStore(Mute(), Caching())
    assert cached.sessions.lookup("bot", a_session().id) is None
