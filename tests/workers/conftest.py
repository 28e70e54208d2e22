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
