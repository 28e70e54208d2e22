"""The real command, on a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..support.redis_server import RedisServer
from .running import Command, Here


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.ask("FLUSHALL")
        return server.url
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def command(url: str, tmp_path: Path) -> Command:
    return Command(url, tmp_path)


@pytest.fixture
def managing(url: str, tmp_path: Path) -> Command:
    """For many commands in a row: a process each on one of the stores."""
    return (Here if url.startswith("redis") else Command)(url, tmp_path)


@pytest.fixture
def on_file(tmp_path: Path) -> Command:
    """On SQLite alone, where the store makes no difference."""
    return Command(f"sqlite:///{tmp_path}/store.db", tmp_path)


@pytest.fixture
def without_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """For commands in this process: nothing in the environment but what is set."""
    for name in ("STORE", "STORE_FILE", "PREFIX", "KEY", "SECRET"):
        monkeypatch.delenv(f"SESSION_PROXY_{name}", raising=False)

    def put(name: str, value: str) -> None:
        monkeypatch.setenv(f"SESSION_PROXY_{name}", value)

    return put


@pytest.fixture
def here(tmp_path: Path) -> Command:
    """The same in this process."""
    return Here(f"sqlite:///{tmp_path}/store.db", tmp_path)
