"""One fixture for the sessions, one for the transports; both close what they open
and complain about what the transport left open."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from session_proxy_middleware import Timeouts
from tests.transport.drivers import KINDS, Driver, open_driver
from tests.transport.servers import Script, Upstream, listening

PATIENT = Timeouts(connect=5.0, response=5.0, idle=5.0)


class Serve:
    """Starts sessions. `serve(script)`; they end with the test."""

    def __init__(self) -> None:
        self.running: list[Upstream] = []

    def __call__(
        self, script: Script, *, ssl_context: ssl.SSLContext | None = None
    ) -> Upstream:
        return self.keep(listening(script, ssl_context=ssl_context))

    def keep(self, upstream: Upstream) -> Upstream:
        self.running.append(upstream)
        return upstream


class Open:
    """Opens drivers of one kind. `open_with(response=0.2)`; they end with the test."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.drivers: list[Driver] = []

    def __call__(
        self,
        timeouts: Timeouts = PATIENT,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Driver:
        driver = open_driver(self.kind, timeouts, ssl_context)
        self.drivers.append(driver)
        return driver


@pytest.fixture
def serve() -> Iterator[Serve]:
    serve = Serve()
    yield serve
    for upstream in serve.running:
        upstream.stop()


@pytest.fixture(params=KINDS)
def open_with(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Open]:
    """`serve` first: sessions stop after the drivers, and so see what stays open."""
    opened = Open(request.param)
    yield opened
    for driver in opened.drivers:
        driver.close()


@pytest.fixture
def driver(open_with: Open) -> Driver:
    return open_with()
