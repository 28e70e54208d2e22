"""Every ASGI server, by one fixture; clients and sessions of both kinds: the library
`websockets`, and raw sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_to

from ..support import frames
from ..support.portal import KEY
from ..support.servers import Portal, Site
from ..support.upstream import Conn, Play, Upstream
from ..support.wire import PATIENCE, Wire

SERVERS = {
    "uvicorn": ("uvicorn", "auto"),
    "uvicorn-wsproto": ("uvicorn", "wsproto"),
    "hypercorn": ("hypercorn", "auto"),
    "granian": ("granian", "auto"),
    "daphne": ("daphne", "auto"),
}

Serve = Callable[..., Upstream]
Connect = Callable[..., ClientConnection]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every server; for what is marked `engine`, one of them."""
    if "portal" in metafunc.fixturenames:
        engine = metafunc.definition.get_closest_marker("engine") is not None
        names = ["uvicorn"] if engine else list(SERVERS)
        metafunc.parametrize("portal", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def portal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    """The portal under a real server, each started once."""
    name, library = SERVERS[request.param]
    folder = tmp_path_factory.mktemp("portal")
    with Portal(name, folder, websockets=library) as running:
        yield running
    assert running.troubles == []


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Which of `SERVERS` it is."""
    found: str = request.node.callspec.params["portal"]
    return found


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start sessions that play what they are given; they end with the test."""
    with ExitStack() as stack:

        def start(play: Play, **options: Any) -> Upstream:
            return stack.enter_context(Upstream(play, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open a WebSocket to a session; it is closed with the test."""
    with ExitStack() as stack:

        def start(site: Site, path: str = "/ws", **options: Any) -> ClientConnection:
            headers = options.pop("headers", {"Authorization": f"Bearer {KEY}"})
            host, port = site.portal.address
            made: ClientConnection = connect_to(
                f"ws://{host}:{port}{site.public}{path}",
                additional_headers=headers,
                proxy=None,
                **options,
            )
            stack.enter_context(made)
            return made

        yield start


def raw(site: Site, path: str = "/ws", *, receive_buffer: int | None = None) -> Wire:
    """A WebSocket on a socket of one's own, opened."""
    client = site.portal.connect(receive_buffer=receive_buffer)
    client.send(site.raw("GET", path, frames.upgrade()))
    head = client.head()
    assert head.status == 101, head.raw
    return client


def echo(conn: Conn) -> None:
    """Send each message back as it came, fragments and all; close when told to."""
    frames.accept(conn)
    while True:
        got = frames.take(conn)
        if got.opcode in (frames.PING, frames.PONG):
            continue
        conn.send(frames.frame(got.opcode, got.data, fin=got.fin))
        if got.opcode == frames.CLOSE:
            frames.end(conn)
            return


def record(site: Site) -> dict[str, Any]:
    """The access record of the session's only request, once it is there."""
    end = time.monotonic() + PATIENCE
    while not (found := site.portal.control("recorded", id=site.id)):
        assert time.monotonic() < end, "no access record"
        time.sleep(0.02)
    [only] = found
    return dict(only)
