"""Both drivers, by one fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ..support.servers import Portal
from ..support.upstream import Play, Upstream, answering

Serve = Callable[..., Upstream]


@pytest.fixture(scope="session", params=["asgi", "wsgi"])
def portal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    """The portal under uvicorn and under gunicorn, started once each."""
    with Portal(request.param, tmp_path_factory.mktemp("portal")) as running:
        yield running
    for trouble in ("never retrieved", "was destroyed but", "ResourceWarning"):
        assert trouble not in running.log


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start upstreams that play what they are given; they end with the test."""
    with ExitStack() as stack:

        def start(play: Play | None = None, **options: Any) -> Upstream:
            return stack.enter_context(Upstream(play or answering(), **options))

        yield start
