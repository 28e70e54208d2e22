"""Each of the 256 bytes in each place where one may stand: passed on exactly, or
refused by an answer that is no accident."""

from __future__ import annotations

import pytest

from ..support.servers import Portal
from ..support.upstream import Conn
from ..support.wire import Broken, Message
from .conftest import Serve

# All but letters and digits, of which one is as good as the other.
BYTES = [
    number for number in range(256) if not (number < 128 and chr(number).isalnum())
]
RESPONSES = {
    "a value": b"HTTP/1.1 200 OK\r\nX-A: a%bz\r\nContent-Length: 2\r\n\r\nok",
    "a name": b"HTTP/1.1 200 OK\r\nX%bA: a\r\nContent-Length: 2\r\n\r\nok",
    "a location": b"HTTP/1.1 302 Found\r\nLocation: /a%bz\r\n"
    b"Content-Length: 2\r\n\r\nok",
    "a reason": b"HTTP/1.1 200 O%bK\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("via", ["", "httpx"])
@pytest.mark.parametrize("where", RESPONSES)
def test_of_a_response(portal: Portal, serve: Serve, where: str, via: str) -> None:
    current = b""

    def play(conn: Conn) -> None:
        while True:
            conn.request()
            conn.send(current)

    site = portal.mount(serve(play), via=via)
    with portal.visit() as visit:
        for number in BYTES:
            byte = bytes([number])
            current = RESPONSES[where] % byte
            answer = visit(site.raw())
            if answer.status == 502:
                assert answer.one("x-session-proxy-error") == b"upstream_protocol"
                continue
            assert answer.status == (302 if where == "a location" else 200), byte
            assert not answer.ours, byte
            assert answer.body == b"ok"
            if where == "a value" and number not in b"\r\n":
                assert answer.one("x-a") == b"a" + byte + b"z"
            elif where == "a name" and number not in b":\r\n":
                assert answer.one(f"x{chr(number)}a") == b"a"


@pytest.mark.parametrize("where", ["path", "query", "value", "name", "method"])
def test_of_a_request(portal: Portal, serve: Serve, where: str) -> None:
    upstream = serve()
    site = portal.mount(upstream)
    for number in BYTES:
        byte = bytes([number])
        raw = {
            "path": site.raw("GET", b"/a" + byte + b"z"),
            "query": site.raw("GET", b"/x?a" + byte + b"z"),
            "value": site.raw("GET", "/x", [(b"X-A", b"a" + byte + b"z")]),
            "name": site.raw("GET", "/x", [(b"X" + byte + b"A", b"a")]),
            "method": b"G" + byte + site.raw("GET", "/x")[2:],
        }[where]
        upstream.requests.clear()
        try:
            with portal.connect() as client:
                client.send(raw)
                answer = client.answer()
        except (Broken, OSError):
            assert upstream.requests == []
            continue
        if answer.status == 500 and not answer.ours:
            assert portal.expected.fails_itself
            continue
        assert answer.status in (200, 400, 404, 405, 501, 505), (byte, answer)
        if answer.status == 200 and not answer.has("x-host"):
            arrived_exactly(upstream.last, where, number)


def arrived_exactly(got: Message, where: str, number: int) -> None:
    byte = bytes([number])
    if where == "path" and byte not in (b"?", b"#", b" "):
        assert got.target == b"/a" + byte + b"z"
    elif where == "query" and byte not in (b"#", b" "):
        assert got.target == b"/x?a" + byte + b"z"
    elif where == "value" and byte not in (b"\r", b"\n"):
        assert got.one("x-a") == b"a" + byte + b"z"
    assert got.method in (b"GET", b"POST", b"PUT")
    assert b"\x00" not in got.raw
