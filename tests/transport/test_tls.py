"""`https` sessions: verified, reused, truncation seen."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme

from session_proxy_middleware import Timeouts
from session_proxy_middleware.errors import (
    ConnectFailed,
    RequestTimeout,
    ResponseTruncated,
)
from tests.transport.bodies import Body
from tests.transport.conftest import Open, Serve
from tests.transport.requests import get, post, session_at
from tests.transport.servers import Peer, ok, untaking


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def echoing(peer: Peer) -> None:
    while (request := peer.request()) is not None:
        peer.send(ok(request.target + request.body))


def test_requests_cross_and_connections_are_reused(
    open_with: Open,
    serve: Serve,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    driver = open_with(ssl_context=client_context)
    up = serve(echoing, ssl_context=server_context)
    session = session_at(up.url)
    large = bytes(1 << 20)
    for _ in range(3):
        assert driver.get(get(session, b"/a")) == b"/a"
        answer = driver.send(post(session, len(large)), Body([large]))
        assert answer.body() == b"/" + large
    assert up.connections == (1 if driver.expected.reuses else 6)


@pytest.mark.parametrize("late", [0.0, 0.1])
def test_an_upload_arrives_on_a_new_connection(
    open_with: Open,
    serve: Serve,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    late: float,
) -> None:
    """The tickets of TLS 1.3 come right after the handshake, and are no answer."""
    up = serve(echoing, ssl_context=server_context)
    driver = open_with(ssl_context=client_context)
    for _ in range(10):
        come = threading.Event()
        timer = threading.Timer(late, come.set)
        timer.start()
        answer = driver.send(post(session_at(up.url), 5), Body([come, b"hello"]))
        assert answer.body() == b"/hello"
        timer.join()
    assert up.connections == 10


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_connection_whose_upload_was_not_taken_is_not_used_again(
    open_with: Open,
    serve: Serve,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    done = threading.Event()
    driver = open_with(ssl_context=client_context)
    session = session_at(serve(untaking(done), ssl_context=server_context).url)
    pieces = [bytes(1 << 16)] * 16
    answer = driver.send(post(session, 1 << 20, b"/1"), Body(pieces))
    assert answer.body() == b"/1"
    assert driver.get(get(session, b"/2")) == b"/2"
    done.set()


def test_a_ticket_that_comes_while_the_client_stalls_is_no_answer(
    open_with: Open, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    driver = open_with(Timeouts(connect=5, response=5), ssl_context=client_context)
    come = threading.Event()
    stalls = RequestTimeout("the client stopped sending")
    with late_tickets(server_context, come) as url:
        with pytest.raises(RequestTimeout):
            driver.send(post(session_at(url), 10), Body([b"hello", come, stalls]))
        assert come.is_set()


@contextmanager
def late_tickets(context: ssl.SSLContext, sent: threading.Event) -> Iterator[str]:
    """A session that holds its tickets back until the upload has begun, and says no
    more. `sent` is set once they are out."""

    def serve() -> None:
        sock, _ = listener.accept()
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(coming, going, server_side=True)
        done = begun = False
        with sock, suppress(OSError):  # It is left in the middle.
            while received := sock.recv(65_536):
                coming.write(received)
                with suppress(ssl.SSLWantReadError):
                    if not done:
                        tls.do_handshake()
                        done = True
                    begun = bool(tls.read()) or begun
                if not done or begun:
                    sock.sendall(going.read())
                if begun:
                    time.sleep(0.1)
                    sent.set()

    listener = socket.create_server(("127.0.0.1", 0))
    serving = threading.Thread(target=serve)
    serving.start()
    with listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        serving.join(10)


def test_an_unknown_authority_is_a_failed_connect(
    open_with: Open, serve: Serve, server_context: ssl.SSLContext
) -> None:
    driver = open_with()
    up = serve(echoing, ssl_context=server_context)
    body = Body([b"secret"])
    with pytest.raises(ConnectFailed):
        driver.send(post(session_at(up.url), 6), body)
    assert body.given == 0
    assert up.raw == b""


def test_a_certificate_of_another_name_is_a_failed_connect(
    open_with: Open,
    serve: Serve,
    authority: trustme.CA,
    client_context: ssl.SSLContext,
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("other.example").configure_cert(context)
    driver = open_with(ssl_context=client_context)
    up = serve(echoing, ssl_context=context)
    with pytest.raises(ConnectFailed):
        driver.send(get(session_at(up.url)))


def test_https_to_a_plain_port_is_a_failed_connect(
    open_with: Open, serve: Serve, client_context: ssl.SSLContext
) -> None:
    def plain(peer: Peer) -> None:
        peer.sock.recv(1000)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    driver = open_with(ssl_context=client_context)
    url = serve(plain).url.replace("http:", "https:")
    with pytest.raises(ConnectFailed):
        driver.send(get(session_at(url)))


def test_a_truncated_body_over_tls_is_truncated(
    open_with: Open,
    serve: Serve,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        peer.close()

    driver = open_with(ssl_context=client_context)
    session = session_at(serve(script, ssl_context=server_context).url)
    answer = driver.send(get(session))
    with pytest.raises(ResponseTruncated):
        answer.body()
    answer.close()


def test_a_large_response_over_tls_arrives_whole(
    open_with: Open,
    serve: Serve,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(ok(bytes(3 << 20)))

    driver = open_with(ssl_context=client_context)
    session = session_at(serve(script, ssl_context=server_context).url)
    assert driver.get(get(session)) == bytes(3 << 20)


@pytest.mark.parametrize("said", [True, False], ids=["closed", "cut"])
def test_only_a_close_that_tls_tells_ends_a_body_without_a_length(
    open_with: Open,
    serve: Serve,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    said: bool,
) -> None:
    """RFC 9112 §9.8: anybody on the way can end a TCP connection."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        if said:
            peer.close()
        else:
            peer.sock.close()

    driver = open_with(ssl_context=client_context)
    session = session_at(serve(script, ssl_context=server_context).url)
    answer = driver.send(get(session))
    if said or not driver.expected.sees_cut_tls:
        assert answer.body() == b"abc"
    else:
        with pytest.raises(ResponseTruncated):
            answer.body()
    answer.close()
