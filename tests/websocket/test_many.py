"""2,000 sockets open at once. `tests/benchmarks/load.py sockets` compares them."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ..benchmarks.servers import echo
from ..support import frames
from ..support.servers import Portal, Site
from ..support.wire import Wire

SOCKETS = 2000
BATCH = 50
"""Opened at once: more would have to wait for a place in a queue of the kernel."""
DESCRIPTORS = 2 * SOCKETS + 500
SECONDS = 90
"""Before a silent server fails it: all of them at once are some seconds of work."""
MOST = 100
"""KiB for each in the server's process, of which a third is uvicorn's own share."""


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Portal]:
    """A server that may have so many files open, like this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS:
        pytest.skip(f"needs {DESCRIPTORS} open files, and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    try:
        with Portal("uvicorn", tmp_path) as running:
            yield running
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def echoing() -> Iterator[str]:
    """Where a session echoes, on one thread for all its sockets."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(echo.Connection, "127.0.0.1", 0, backlog=BATCH)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


def opened(site: Site, count: int) -> list[Wire]:
    """So many more sockets."""
    made = [site.open("GET", "/ws", frames.upgrade()) for _ in range(count)]
    for client in made:
        client.sock.settimeout(SECONDS)
        assert client.head().status == 101
    return made


def test_two_thousand_sockets_are_open_at_once(roomy: Portal) -> None:
    with echoing() as url, ExitStack() as stack:
        site = roomy.mount(url, via="many")
        before = roomy.control("state", collect=True)
        clients: list[Wire] = []
        while len(clients) < SOCKETS:
            clients += [stack.enter_context(each) for each in opened(site, BATCH)]
        for number, client in enumerate(clients):
            client.send(frames.frame(frames.TEXT, b"%d" % number, masked=True))
        for number, client in enumerate(clients):
            assert frames.take(client).data == b"%d" % number
        state = roomy.control("state", collect=True)
        assert state["in_flight"]["many"] == SOCKETS
        each = (state["memory"] - before["memory"]) / 1024 / SOCKETS
        print(f"{each:.1f} KiB a socket")
        assert each < MOST
        for client in clients:
            client.send(frames.closing(1000, masked=True))
        for client in clients:
            assert frames.take(client).code == 1000
        assert site.idle(within=SECONDS)
