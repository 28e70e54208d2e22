"""The end of a proxy, and its beginning again."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from session_proxy_middleware import ConfigError, MemoryStore, Principal, SessionProxy
from session_proxy_middleware.asgi import SessionProxyMiddleware
from session_proxy_middleware.draining import Drain
from tests.unit.values import a_proxy, a_session

PATIENCE = 5.0
ADA = Principal(id="ada")


def told(drain: Drain) -> threading.Event:
    """Set when `drain` breaks things off."""
    event = threading.Event()
    drain.watch(event.set)
    return event


@pytest.mark.parametrize(
    "seconds", [-1, float("inf"), float("nan"), "3", None, True, 1e12, 10**400]
)
def test_a_time_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises(ConfigError, match="drain must be seconds"):
        a_proxy(drain=seconds)


def test_what_is_left_when_the_time_is_up_is_told() -> None:
    drain = Drain(0)
    left, gone = told(drain), threading.Event()
    drain.watch(gone.set)
    drain.unwatch(gone.set)
    drain.begin()
    assert left.wait(PATIENCE)
    assert drain.over
    assert not gone.is_set()
    # Who comes late is told at once.
    assert told(drain).is_set()


def test_the_time_runs_from_the_first_call_on() -> None:
    drain = Drain(0.2)
    left = told(drain)
    drain.begin()
    assert drain.begun
    assert not drain.over
    drain.begin()
    assert left.wait(PATIENCE)


def test_a_host_that_starts_again_is_not_broken_off() -> None:
    drain = Drain(0.05)
    left = told(drain)
    drain.begin()
    drain.resume()
    assert not drain.begun
    assert not left.wait(0.2)
    assert not drain.over


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """A server that handles SIGUSR1."""
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_drains_and_then_reaches_the_server(handled: list[int]) -> None:
    proxy = a_proxy(drain=0)
    left = told(proxy.draining)
    proxy.drain_at(signal.SIGUSR1)
    for _ in range(2):
        signal.raise_signal(signal.SIGUSR1)
    assert handled == [signal.SIGUSR1] * 2
    assert proxy.limiter.draining
    assert left.wait(PATIENCE)


def test_a_host_that_starts_again_does_not_chain_a_second_time(
    handled: list[int],
) -> None:
    proxy = a_proxy()
    for _ in range(2):
        proxy.drain_at(signal.SIGUSR1)
        chained = signal.getsignal(signal.SIGUSR1)
    proxy.drain_at(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is chained
    signal.raise_signal(signal.SIGUSR1)
    assert handled == [signal.SIGUSR1]


def test_a_signal_that_nobody_handles_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = signal.getsignal(signal.SIGUSR2)
    a_proxy().drain_at(signal.SIGUSR2)
    assert signal.getsignal(signal.SIGUSR2) is before
    assert "no server handles SIGUSR2 here" in caplog.text


def test_in_another_thread_than_a_servers_it_is_left_alone(
    handled: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    thread = threading.Thread(target=a_proxy().drain_at, args=(signal.SIGUSR1,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGUSR1) is before
    assert "SIGUSR1" in caplog.text


class Host:
    """An application that remembers what its lifespan was told, and what was so."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.look: Callable[[], Any] = lambda: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while True:
            kind = (await receive())["type"]
            self.seen.append((kind, self.look()))
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return


async def lifespan(app: Any) -> list[str]:
    """From start to end, as a server does it; what it was told."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    return sent


def test_the_host_learns_of_its_end_when_the_last_request_has_ended() -> None:
    host = Host()
    proxy = SessionProxy(MemoryStore(), drain=PATIENCE)
    app = SessionProxyMiddleware(host, proxy)
    session, principal = a_session(), ADA
    host.look = lambda: (proxy.limiter.draining, proxy.limiter.in_flight)

    async def run() -> list[str]:
        proxy.limiter.enter(session, principal)
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, proxy.limiter.leave, session, principal)
        return await lifespan(app)

    # Twice, as test clients do it: what starts again takes requests again.
    for _ in range(2):
        host.seen.clear()
        sent = asyncio.run(run())
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert host.seen == [
            ("lifespan.startup", (False, 1)),
            ("lifespan.shutdown", (True, 0)),
        ]
        proxy.resume()


def test_a_request_that_never_ends_does_not_hold_the_host_up_for_ever() -> None:
    host = Host()
    proxy = SessionProxy(MemoryStore(), drain=0)
    proxy.limiter.enter(a_session(), ADA)
    sent = asyncio.run(lifespan(SessionProxyMiddleware(host, proxy)))
    assert sent[-1] == "lifespan.shutdown.complete"


def test_a_loop_that_is_closed_is_no_trouble_at_the_end() -> None:
    proxy = SessionProxy(MemoryStore(), drain=0)
    app = SessionProxyMiddleware(Host(), proxy)

    async def use() -> None:
        app._lookouts.current()

    asyncio.run(use())
    left = told(proxy.draining)
    proxy.drain()
    assert left.wait(PATIENCE)
    app._break_off()
