"""Every kind of store, fresh for each test; each method with and without await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from session_proxy_middleware import open_store
from session_proxy_middleware.models import Key
from session_proxy_middleware.rules.credential import digest
from session_proxy_middleware.stores.managed import ManagedStore

from ..support.redis_server import RedisServer

Open = Callable[[], ManagedStore]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sessions.db"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.ask("FLUSHALL")
        return server.url
    return "memory://"


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


class Part:
    """`services`, `sessions` or `keys`, called one way or the other."""

    def __init__(self, part: Any, runner: asyncio.Runner | None) -> None:
        self._part = part
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        runner = self._runner
        if runner is None:
            method: Callable[..., Any] = getattr(self._part, name)
            return method
        twin = getattr(self._part, f"a{name}")

        def call(*arguments: Any, **options: Any) -> Any:
            return runner.run(twin(*arguments, **options))

        return call


class Face:
    """A store as the tests use it."""

    def __init__(self, store: ManagedStore, runner: asyncio.Runner | None) -> None:
        self.store = store
        self.services = Part(store.services, runner)
        self.sessions = Part(store.sessions, runner)
        self.keys = Part(store.keys, runner)


@pytest.fixture(params=["sync", "async"])
def opened(
    request: pytest.FixtureRequest, url: str, runner: asyncio.Runner
) -> Iterator[Callable[[], Face]]:
    """Open the store, once more each time it is called."""
    stores: list[ManagedStore] = []

    def face() -> Face:
        stores.append(open_store(url))
        return Face(stores[-1], runner if request.param == "async" else None)

    yield face
    for each in stores:
        each.close()
        runner.run(each.aclose())


@pytest.fixture
def store(opened: Callable[[], Face]) -> Face:
    return opened()


def hashed(key: Key) -> bytes:
    """What a store finds a new key by."""
    assert key.secret is not None
    return digest(key.secret.encode())
