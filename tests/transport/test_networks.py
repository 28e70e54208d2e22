"""An address that is refused is not connected to, whatever name leads to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from session_proxy_middleware import Timeouts
from session_proxy_middleware.errors import ConnectFailed
from session_proxy_middleware.rules.networks import Networks
from session_proxy_middleware.upstream.aio import AsyncHTTP11Transport
from session_proxy_middleware.upstream.blocking import HTTP11Transport
from tests.transport.conftest import Serve
from tests.transport.drivers import AsyncDriver, BlockingDriver, Driver
from tests.transport.requests import get, session_at
from tests.transport.servers import Upstream, saying

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BRIEF = Timeouts(connect=2.0, response=2.0, idle=2.0)
Opener = Callable[..., Driver]


@pytest.fixture(params=["aio", "blocking"])
def open_to(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Opener]:
    """A transport with `allowed_networks`; `serve` first, so that it ends last."""
    opened: list[Driver] = []

    def start(*allowed: str) -> Driver:
        networks = Networks(allowed or None)
        driver: Driver
        if request.param == "aio":
            driver = AsyncDriver(
                lambda: AsyncHTTP11Transport(timeouts=BRIEF, networks=networks),
                asyncio.SelectorEventLoop,
            )
        else:
            driver = BlockingDriver(HTTP11Transport(timeouts=BRIEF, networks=networks))
        opened.append(driver)
        return driver

    yield start
    for driver in opened:
        driver.close()


@pytest.fixture
def upstream(serve: Serve) -> Upstream:
    return serve(saying(OK))


def resolver(
    monkeypatch: pytest.MonkeyPatch, *answers: list[str]
) -> list[tuple[Any, ...]]:
    """A name service that says these, one after the other; what it was asked."""
    asked: list[tuple[Any, ...]] = []
    left = list(answers)

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append((host, port))
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in left.pop(0)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def port_of(upstream: Upstream) -> int:
    return int(upstream.url.rpartition(":")[2])


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "[::ffff:0.0.0.0]"])
def test_a_refused_address_is_not_connected_to(
    open_to: Opener, upstream: Upstream, host: str
) -> None:
    """Without the check each of these reaches the server on 127.0.0.1."""
    session = session_at(f"http://{host}:{port_of(upstream)}")
    with pytest.raises(ConnectFailed, match="this host"):
        open_to().send(get(session))
    assert upstream.connections == 0


def test_what_is_listed_is_connected_to(open_to: Opener, upstream: Upstream) -> None:
    driver = open_to("0.0.0.0/8")
    session = session_at(f"http://0.0.0.0:{port_of(upstream)}")
    assert driver.send(get(session)).status == 200
    with pytest.raises(ConnectFailed, match="none of allowed_networks"):
        driver.send(get(session_at(upstream.url)))


def test_a_name_is_connected_to_at_the_address_that_was_checked(
    open_to: Opener, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2022-3294, CVE-2020-8562 (Kubernetes): it was looked up twice."""
    asked = resolver(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    driver = open_to()
    session = session_at(f"http://rebound.test:{port_of(upstream)}")
    assert driver.send(get(session)).status == 200
    assert len(asked) == 1
    with pytest.raises(ConnectFailed, match="link-local"):
        driver.send(get(session_at(f"http://rebound.test:{port_of(upstream)}")))
    assert len(asked) == 2
    assert upstream.connections == 1


def test_of_the_addresses_of_a_name_the_refused_are_left_out(
    open_to: Opener, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver(monkeypatch, ["0.0.0.0", "169.254.169.254", "127.0.0.9", "127.0.0.1"])
    session = session_at(f"http://several.test:{port_of(upstream)}")
    # Nobody listens on 127.0.0.9, so the last is the one.
    assert open_to().send(get(session)).status == 200


def test_every_reason_is_told_once(
    open_to: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver(monkeypatch, ["169.254.169.254", "169.254.169.254", "0.0.0.0"])
    with pytest.raises(ConnectFailed) as caught:
        open_to().send(get(session_at("http://several.test:80")))
    assert str(caught.value).count("169.254.0.0/16") == 1
    assert "0.0.0.0/8" in str(caught.value)
