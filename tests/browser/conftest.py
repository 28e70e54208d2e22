"""One browser, one portal; an empty jar for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from ..support.upstream import Play, Upstream
from .chromium import Chromium, chromium
from .portal import Portal, page, pages, running

Serve = Callable[[Play], Upstream]


@pytest.fixture(scope="session")
def started() -> Iterator[Chromium]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Upstream]:
    """A web server of another origin, with an empty page."""
    with Upstream(pages({"/": page("<title>elsewhere</title>")})) as server:
        yield server


@pytest.fixture(scope="session")
def portal_running(elsewhere: Upstream) -> Iterator[Portal]:
    with running(elsewhere.url) as portal:
        yield portal


@pytest.fixture
def portal(portal_running: Portal) -> Portal:
    portal_running.seen.clear()
    return portal_running


@pytest.fixture
def browser(started: Chromium) -> Iterator[Chromium]:
    """A browser that remembers nothing."""
    yield started
    started.forget()


@pytest.fixture
def user(browser: Chromium, portal: Portal) -> Chromium:
    """The browser of somebody who has logged in to the portal."""
    browser.open(portal.url + "/login")
    return browser


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers of sessions; they end with the test."""
    with ExitStack() as stack:
        yield lambda play: stack.enter_context(Upstream(play))
