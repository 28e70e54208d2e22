"""A session to reach, and a Redis server to kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.redis_server import RedisServer
from ..support.upstream import Upstream, answering


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(answering()) as running:
        yield running


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(params=["gunicorn", "uvicorn"])
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["gunicorn on SQLite", "uvicorn on Redis"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, int]:
    """Which server, on which store, with how many workers."""
    if request.param == "gunicorn on SQLite":
        return "gunicorn", f"sqlite:///{tmp_path}/s.db", 4
    server: RedisServer = request.getfixturevalue("redis_server")
    return "uvicorn", server.url, 2
