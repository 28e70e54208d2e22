"""When the time of a draining proxy is up, a blocking transport lets go of sessions
that say nothing, over TLS as well."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme

from session_proxy_middleware import Timeouts
from session_proxy_middleware.draining import Drain
from session_proxy_middleware.errors import Draining, ResponseTruncated
from session_proxy_middleware.upstream.blocking import HTTP11Transport
from tests.transport.conftest import Serve
from tests.transport.drivers import BlockingDriver
from tests.transport.requests import get, session_at
from tests.transport.servers import Peer

PATIENT = Timeouts(connect=5.0, response=5.0, idle=5.0)


class Contexts:
    """For both ends of TLS, or for none."""

    def __init__(self, tls: bool) -> None:
        self.server: ssl.SSLContext | None = None
        self.client: ssl.SSLContext | None = None
        if tls:
            authority = trustme.CA()
            self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("127.0.0.1").configure_cert(self.server)
            self.client = ssl.create_default_context()
            authority.configure_trust(self.client)


@pytest.fixture(params=["plain", "tls"])
def contexts(request: pytest.FixtureRequest) -> Contexts:
    return Contexts(request.param == "tls")


@pytest.fixture
def drain() -> Drain:
    return Drain(0.2)


@pytest.fixture
def driver(serve: Serve, contexts: Contexts, drain: Drain) -> Iterator[BlockingDriver]:
    """`serve` first, so that sessions see what stays open."""
    transport = HTTP11Transport(
        timeouts=PATIENT, ssl_context=contexts.client, drain=drain
    )
    driver = BlockingDriver(transport)
    yield driver
    driver.close()


def test_a_wait_for_the_head_ends(
    driver: BlockingDriver, serve: Serve, contexts: Contexts, drain: Drain
) -> None:
    def script(peer: Peer) -> None:
        while peer.request() is not None:
            pass

    up = serve(script, ssl_context=contexts.server)
    sending = driver.begin(get(session_at(up.url)))
    drain.begin()
    with pytest.raises(Draining):
        sending.result(5)


def test_a_wait_for_more_of_the_body_ends(
    driver: BlockingDriver, serve: Serve, contexts: Contexts, drain: Drain
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        peer.request()  # Until the proxy closes it.

    up = serve(script, ssl_context=contexts.server)
    answer = driver.send(get(session_at(up.url)))
    assert answer.read() == b"half"
    drain.begin()
    with pytest.raises(ResponseTruncated) as caught:
        answer.read()
    assert caught.value.reason == "draining"


def test_a_stream_that_never_pauses_ends(
    driver: BlockingDriver, serve: Serve, contexts: Contexts, drain: Drain
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(bytes(1000))

    up = serve(script, ssl_context=contexts.server)
    answer = driver.send(get(session_at(up.url)))
    drain.begin()
    with pytest.raises(ResponseTruncated) as caught:
        while answer.read():
            pass
    assert caught.value.reason == "draining"
