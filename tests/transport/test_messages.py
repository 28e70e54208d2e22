"""Requests and responses cross unchanged, however they are framed."""

from __future__ import annotations

import threading
from hashlib import sha256

import pytest

from tests.transport.bodies import Body
from tests.transport.conftest import Serve
from tests.transport.drivers import Driver
from tests.transport.requests import REQUEST_ID, get, post, session_at
from tests.transport.servers import Peer, Received, Script, ok, replying, saying

MEGABYTE = bytes(range(256)) * 4096


def recording(into: list[Received], response: bytes) -> Script:
    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            into.append(request)
            peer.send(response)

    return script


@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"DELETE"])
def test_a_request_without_a_body_arrives_as_it_was_given(
    method: bytes, driver: Driver, serve: Serve
) -> None:
    seen: list[Received] = []
    session = session_at(serve(recording(seen, ok(b"hello"))).url)
    fields = [(b"x-a", b"1"), (b"accept", b"*/*"), (b"x-a", b"2"), (b"x-empty", b"")]
    target = b"/a%2Fb//c;d/%zz?x=%20&x=+;y&&"
    answer = driver.send(get(session, target, fields, method=method))
    assert (answer.status, answer.body()) == (200, b"hello")
    [request] = seen
    assert (request.method, request.target) == (method, target)
    sent = [(name.lower(), value) for name, value in request.headers]
    if not driver.expected.reuses:
        sent.remove((b"connection", b"close"))
    assert sent == [session.host_field, *fields, (b"x-request-id", REQUEST_ID)]


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
def test_a_small_body_arrives_with_its_length(
    method: bytes, driver: Driver, serve: Serve
) -> None:
    seen: list[Received] = []
    session = session_at(serve(recording(seen, ok())).url)
    answer = driver.send(post(session, 5, method=method), Body([b"12", b"345"]))
    assert answer.body() == b"ok"
    [request] = seen
    assert request.values(b"content-length") == [b"5"]
    assert (request.method, request.body) == (method, b"12345")
    assert not request.chunked


def test_a_body_of_unknown_length_is_sent_in_chunks(
    driver: Driver, serve: Serve
) -> None:
    seen: list[Received] = []
    session = session_at(serve(recording(seen, ok())).url)
    pieces = [b"a" * 10, b"", b"b" * 70_000, b"c"]
    assert driver.send(post(session, None), Body(pieces)).body() == b"ok"
    [request] = seen
    assert request.chunked
    assert not request.values(b"content-length")
    assert request.body == b"".join(pieces)


def test_a_body_whose_end_is_told_late_is_sent_whole(
    driver: Driver, serve: Serve
) -> None:
    seen: list[Received] = []
    session = session_at(serve(recording(seen, ok())).url)
    for length in (None, 3):
        assert driver.send(post(session, length), Body([b"abc", b""])).body() == b"ok"
    assert [request.body for request in seen] == [b"abc", b"abc"]


def test_an_empty_post_says_content_length_zero(driver: Driver, serve: Serve) -> None:
    seen: list[Received] = []
    session = session_at(serve(recording(seen, ok())).url)
    assert driver.send(post(session, 0)).body() == b"ok"
    assert seen[0].values(b"content-length") == [b"0"]
    assert not seen[0].chunked


@pytest.mark.parametrize("length", [4 * len(MEGABYTE), None])
def test_a_large_upload_arrives_byte_for_byte(
    length: int | None, driver: Driver, serve: Serve
) -> None:
    def digesting(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            peer.send(ok(sha256(request.body).hexdigest().encode()))

    session = session_at(serve(digesting).url)
    answer = driver.send(post(session, length), Body([MEGABYTE] * 4))
    assert answer.body() == sha256(MEGABYTE * 4).hexdigest().encode()


@pytest.mark.parametrize("framed", ["length", "chunks", "close"])
def test_a_large_response_arrives_byte_for_byte(
    framed: str, driver: Driver, serve: Serve
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        field = {
            "length": b"content-length: %d\r\n" % (4 * len(MEGABYTE)),
            "chunks": b"transfer-encoding: chunked\r\n",
            "close": b"connection: close\r\n",
        }[framed]
        peer.send(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n")
        for _ in range(4):
            size = b"%x\r\n" % len(MEGABYTE)
            chunked = framed == "chunks"
            peer.send(size + MEGABYTE + b"\r\n" if chunked else MEGABYTE)
        if framed == "chunks":
            peer.send(b"0\r\n\r\n")
        if framed != "close":
            assert peer.gone(5)

    answer = driver.send(get(session_at(serve(script).url)))
    digest = sha256()
    while not answer.ended:
        digest.update(answer.read())
    assert digest.hexdigest() == sha256(MEGABYTE * 4).hexdigest()


@pytest.mark.parametrize(
    ("method", "response", "status", "length"),
    [
        (b"HEAD", b"200 OK\r\ncontent-length: 1234", 200, [b"1234"]),
        (b"HEAD", b"200 OK\r\ntransfer-encoding: chunked", 200, []),
        (b"HEAD", b"404 Not Found", 404, []),
        (b"GET", b"204 No Content", 204, []),
        (b"GET", b"304 Not Modified\r\netag: x", 304, []),
        (b"GET", b"304 Not Modified\r\ncontent-length: 7", 304, [b"7"]),
        (b"GET", b"205 Reset Content\r\ncontent-length: 0", 205, [b"0"]),
        (b"GET", b"200 OK\r\ncontent-length: 0", 200, [b"0"]),
    ],
)
def test_a_response_without_a_body_ends_at_its_head(
    method: bytes,
    response: bytes,
    status: int,
    length: list[bytes],
    driver: Driver,
    serve: Serve,
) -> None:
    up = serve(replying(b"HTTP/1.1 " + response + b"\r\n\r\n"))
    session = session_at(up.url)
    for _ in range(2):
        answer = driver.send(get(session, method=method))
        assert answer.status == status
        assert answer.values(b"content-length") == length
        assert answer.body() == b""
    assert up.connections == (1 if driver.expected.reuses else 2)


def test_chunks_are_joined_and_trailers_stay_behind(
    driver: Driver, serve: Serve
) -> None:
    response = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
        b"3;a=b\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nx-sum: 1\r\n\r\n"
    )
    session = session_at(serve(replying(response)).url)
    answer = driver.send(get(session))
    assert answer.body() == b"abc0123456789abcdef"
    assert not answer.values(b"x-sum")


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_body_without_framing_ends_with_the_connection(
    version: bytes, driver: Driver, serve: Serve
) -> None:
    session = session_at(serve(saying(b"HTTP/%b 200 OK\r\n\r\nall" % version)).url)
    for _ in range(2):
        assert driver.get(get(session)) == b"all"


def test_http_1_0_with_a_length_is_understood(driver: Driver, serve: Serve) -> None:
    up = serve(saying(b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nall"))
    session = session_at(up.url)
    for _ in range(2):
        assert driver.get(get(session)) == b"all"
    assert up.connections == 2


def test_response_fields_keep_order_duplicates_and_bytes(
    driver: Driver, serve: Serve
) -> None:
    fields = [
        b"Set-Cookie: a=1, b",
        b"x-latin: caf\xe9",
        b"Set-Cookie: b=2",
        b"x-empty:",
        b"Content-Encoding: gzip",
    ]
    session = session_at(serve(replying(ok(b"not gzip at all", *fields))).url)
    answer = driver.send(get(session))
    assert answer.headers == [
        (b"content-length", b"15"),
        (b"set-cookie", b"a=1, b"),
        (b"x-latin", b"caf\xe9"),
        (b"set-cookie", b"b=2"),
        (b"x-empty", b""),
        (b"content-encoding", b"gzip"),
    ]
    assert answer.body() == b"not gzip at all"


@pytest.mark.parametrize("status", [200, 302, 404, 429, 500, 503])
def test_the_sessions_own_errors_are_answers_like_any_other(
    status: int, driver: Driver, serve: Serve
) -> None:
    response = b"HTTP/1.1 %d X\r\nlocation: /x\r\ncontent-length: 2\r\n\r\nno" % status
    up = serve(replying(response))
    answer = driver.send(get(session_at(up.url)))
    assert (answer.status, answer.body()) == (status, b"no")
    assert up.connections == 1


def test_interim_responses_are_swallowed(driver: Driver, serve: Serve) -> None:
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\nx-step: 1\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"
    )
    session = session_at(serve(replying(interim + ok(b"final"))).url)
    answer = driver.send(post(session, 1), Body([b"x"]))
    assert (answer.status, answer.body()) == (200, b"final")
    assert answer.headers == [(b"content-length", b"5")]


def test_bytes_are_passed_on_as_they_come(driver: Driver, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            peer.send(b"1\r\n%d\r\n" % number)
            # The next goes out only after the reader has this one.
            reads[number].wait(5)
        peer.send(b"0\r\n\r\n")

    reads = [threading.Event() for _ in range(3)]
    answer = driver.send(get(session_at(serve(script).url)))
    for number in range(3):
        assert answer.read() == b"%d" % number
        assert not answer.ended
        reads[number].set()
    assert answer.body() == b""
    assert answer.ended
