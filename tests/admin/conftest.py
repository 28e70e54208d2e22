"""The admin API under ASGI and under WSGI, by one fixture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from session_proxy_middleware import MemoryStore

from .serving import (
    ADMIN_API,
    KEY,
    Caller,
    Changing,
    ChangingASGI,
    ChangingWSGI,
    Kind,
    serving,
)


@pytest.fixture(scope="session", params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="session")
def served(kind: Kind) -> Iterator[tuple[Changing, int]]:
    """An application to be replaced by that of the test, and its port."""
    app = ChangingASGI() if kind == "asgi" else ChangingWSGI()
    with serving(kind, app) as port:
        yield app, port


@pytest.fixture
def serve(served: tuple[Changing, int]) -> Any:
    """Serve an application; what calls it."""
    changing, port = served

    def begin(app: Any, mount: str = "") -> Caller:
        changing.app = app
        return Caller(port, mount)

    return begin


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def call(kind: Kind, serve: Any, store: MemoryStore) -> Caller:
    """The admin API over an empty store."""
    caller: Caller = serve(ADMIN_API[kind](store, keys={"portal": KEY}))
    return caller
