"""The opening: who may, what crosses, and what the session's word is worth."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, unix_serve

from ..support import contract, frames
from ..support.contract import Row, check
from ..support.frames import upgrade
from ..support.portal import KEY
from ..support.recorded import key_id
from ..support.servers import Portal, Site
from ..support.upstream import Conn, Play, response
from ..support.wire import PATIENCE, Message
from .conftest import Connect, Serve, echo, record

KEYED = f"session-proxy.bearer.{KEY}"


def refused(answer: Message, row: Row, name: str) -> None:
    """The answer is that row's, where the server lets an application answer."""
    if name == "daphne":
        assert answer.status == 403
        assert not answer.ours
        return
    # wsproto's and hypercorn's end with the connection; their own fields differ.
    check(answer, row)


def ask(site: Site, *fields: tuple[bytes, bytes], key: str | None = KEY) -> Message:
    """The answer to a handshake that is refused."""
    return site.request("GET", "/ws", upgrade(*fields), key=key)


@pytest.mark.engine
@pytest.mark.engine
@pytest.mark.parametrize(
    ("key", "service", "row"),
    [
        (None, "my-agent", contract.NO_CREDENTIAL),
        ("pk_wrong", "my-agent", contract.WRONG_CREDENTIAL),
        ("pk_expired", "my-agent", contract.WRONG_CREDENTIAL),
        ("pk_other", "my-agent", contract.SERVICE_NOT_FOUND),
        (KEY, "unready", contract.NOT_READY),
        # A GET that becomes a shell is no GET.
        ("pk_get", "my-agent", contract.FORBIDDEN),
    ],
)
def test_the_contract_holds(
    portal: Portal, serve: Serve, name: str, key: str | None, service: str, row: Row
) -> None:
    upstream = serve(echo)
    site = portal.mount(upstream)
    site.service = service
    site.public = site.public.replace("my-agent", service)
    path = "/status" if key == "pk_get" else "/ws"
    answer = site.request("GET", path, upgrade(), key=key)
    refused(answer, row, name)
    assert upstream.connections == []


def test_more_of_the_contract(portal: Portal, serve: Serve, name: str) -> None:
    upstream = serve(echo)
    site = portal.mount(upstream)
    for path, row in (
        ("/bot", contract.RESERVED_PATH),
        ("/a/%2e%2e/b", contract.MALFORMED_PATH),
    ):
        refused(site.request("GET", path, upgrade()), row, name)
    twice = [(b"Via", b"1.1 session-proxy, 1.1 session-proxy")]
    refused(ask(site, *twice), contract.LOOP, name)
    refused(ask(portal.mount(upstream, via="drained")), contract.DRAINING, name)
    gone = portal.mount(upstream)
    portal.control("end", service="my-agent", id=gone.id)
    refused(ask(gone), contract.SESSION_NOT_FOUND, name)
    starting = portal.mount(upstream, via="v1", state="starting")
    refused(ask(starting), contract.STARTING, name)
    assert upstream.connections == []


def test_a_key_that_names_websocket_opens_nothing_else(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    site = portal.mount(serve(echo))
    client = connect(site, headers={"Authorization": "Bearer pk_socket"})
    client.send("x")
    assert client.recv(10) == "x"
    check(site.request("GET", "/ws", key="pk_socket"), contract.FORBIDDEN)


def test_no_request_has_a_websockets_method(portal: Portal, serve: Serve) -> None:
    upstream = serve(echo)
    site = portal.mount(upstream)
    answer = site.request("WEBSOCKET", "/ws", key="pk_socket")
    assert answer.status in (400, 405)
    assert upstream.connections == []


def test_nothing_reaches_a_registry_before_the_key_is_known(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve(echo))
    portal.control("asked")
    ask(site, key="pk_wrong")
    assert portal.control("asked") == ["key"]


def test_a_key_among_the_subprotocols(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    def play(conn: Conn) -> None:
        asked.append(frames.accept(conn, (b"Sec-WebSocket-Protocol", b"chat")))
        frames.until_closed(conn)

    asked: list[Message] = []
    upstream = serve(play)
    site = portal.mount(upstream)
    client = connect(site, headers={}, subprotocols=[KEYED, "superchat", "chat"])
    assert client.subprotocol == "chat"
    client.close()
    assert upstream.all_gone(5)  # And so it has said what it was asked.
    assert asked[0].all("Sec-WebSocket-Protocol") == [b"superchat, chat"]
    assert KEY.encode() not in asked[0].raw
    assert record(site)["principal"] == key_id(KEY)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([KEYED], KEYED), (["session-proxy", KEYED], "session-proxy")],
    ids=["alone", "named"],
)
def test_a_browser_that_offers_a_key_alone_is_told_one_of_its_own(
    portal: Portal, serve: Serve, connect: Connect, offered: list[str], chosen: str
) -> None:
    upstream = serve(echo)
    client = connect(portal.mount(upstream), headers={}, subprotocols=offered)
    assert client.subprotocol == chosen
    assert not upstream.last.has("Sec-WebSocket-Protocol")


@pytest.mark.parametrize(
    "offered",
    [
        b"session-proxy.bearer.pk_wrong",
        b"session-proxy.bearer.",
        b"session-proxy.bearer.pk_wrong, session-proxy.bearer." + KEY.encode(),
    ],
    ids=["wrong", "empty", "two"],
)
def test_a_key_among_the_subprotocols_that_opens_nothing(
    portal: Portal, serve: Serve, name: str, offered: bytes
) -> None:
    upstream = serve(echo)
    site = portal.mount(upstream)
    answer = ask(site, (b"Sec-WebSocket-Protocol", offered), key=None)
    refused(answer, contract.WRONG_CREDENTIAL, name)
    # A good key in the field does not make up for another one.
    answer = ask(site, (b"Sec-WebSocket-Protocol", offered))
    refused(answer, contract.WRONG_CREDENTIAL, name)
    assert upstream.connections == []


def test_what_the_session_is_asked(portal: Portal, serve: Serve) -> None:
    upstream = serve(echo)
    site = portal.mount(upstream)
    fields = upgrade(
        (b"Origin", b"https://anywhere.example"),
        (b"Sec-WebSocket-Protocol", b"chat, superchat"),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),
        (b"X-Custom", b"kept"),
        (b"X-Daily-Session-Id", b"forged"),
        (b"Cookie", b"login=ada"),
    )
    with site.open("GET", "/a%2Fb/ws?x=%20&y", fields) as client:
        assert client.head().status == 101
    asked = upstream.last
    assert asked.start == b"GET /a%2Fb/ws?x=%20&y HTTP/1.1"
    assert asked.one("Upgrade") == b"websocket"
    assert asked.one("Connection") == b"Upgrade"
    assert asked.one("Sec-WebSocket-Version") == b"13"
    assert asked.one("Sec-WebSocket-Key") not in [value for _, value in fields]
    assert asked.one("Sec-WebSocket-Protocol") == b"chat, superchat"
    assert not asked.has("Sec-WebSocket-Extensions")
    assert asked.one("Origin") == b"https://anywhere.example"
    assert asked.one("X-Custom") == b"kept"
    assert asked.one("X-Daily-Session-Id") == site.id.encode()
    assert asked.one("X-Forwarded-Proto") == b"http"
    assert asked.one("X-Forwarded-Host") == b"portal.test"
    assert not asked.has("Cookie")
    assert not asked.has("Authorization")
    assert not asked.has("Content-Length")


def test_what_the_client_is_told(portal: Portal, serve: Serve, name: str) -> None:
    def play(conn: Conn) -> None:
        frames.accept(
            conn,
            (b"Sec-WebSocket-Protocol", b"chat"),
            (b"Set-Cookie", b"sid=1; Path=/"),
            (b"X-Custom", b"kept"),
            (b"X-Session-Proxy-Error", b"forged"),
            (b"Strict-Transport-Security", b"max-age=1"),
            (b"Server", b"bot"),
        )
        frames.until_closed(conn)

    site = portal.mount(serve(play))
    fields = upgrade((b"Sec-WebSocket-Protocol", b"superchat, chat"))
    with site.open("GET", "/ws", fields) as client:
        head = client.head()
    assert head.status == 101
    assert head.one("Sec-WebSocket-Protocol") == b"chat"
    assert not head.has("X-Session-Proxy-Error")
    assert not head.has("Content-Security-Policy")
    assert not head.has("Strict-Transport-Security")
    assert head.all("Server") != [b"bot"]
    if name not in ("daphne", "granian"):  # They take no fields from an application.
        assert head.one("X-Custom") == b"kept"
        cookie = head.one("Set-Cookie")
        assert cookie.startswith(b"sp_")
        assert b"Path=" + site.public.encode() in cookie
        assert head.has("X-Request-Id")


@pytest.mark.engine
def test_the_sessions_cookies_come_back(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        conn.reply(headers=[(b"Set-Cookie", b"sid=1; Path=/")])
        frames.accept(conn)

    upstream = serve(play)
    site = portal.mount(upstream)
    given = site.request().one("Set-Cookie").split(b";")[0]
    upstream.play = echo
    fields = upgrade((b"Cookie", b"login=ada; " + given))
    with site.open("GET", "/ws", fields) as client:
        assert client.head().status == 101
    assert upstream.last.one("Cookie") == b"sid=1"


def answering(*pieces: bytes) -> Play:
    def play(conn: Conn) -> None:
        conn.request()
        for piece in pieces:
            conn.send(piece)

    return play


@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
def test_a_refusal_of_the_session_reaches_the_client(
    portal: Portal, serve: Serve, name: str, framing: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()
        head = b"HTTP/1.1 418 Short And Stout\r\nX-Why: teapot\r\n"
        if framing == "chunks":
            conn.send(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n")
            conn.send(b"1\r\n!\r\n0\r\n\r\n")
        elif framing == "length":
            conn.send(head + b"Content-Length: 3\r\n\r\nno!")
        else:
            conn.send(head + b"\r\nno!")
            frames.end(conn)

    site = portal.mount(serve(play))
    answer = ask(site)
    if name == "daphne":
        assert answer.status == 403
    else:
        assert (answer.status, answer.body) == (418, b"no!")
        assert answer.one("X-Why") == b"teapot"
        assert answer.end in ("whole", "eof")
    assert not answer.ours
    assert site.idle()
    assert record(site)["status"] == 418
    assert record(site)["answered_by"] == "session"


def test_a_redirect_is_passed_on_and_never_followed(
    portal: Portal, serve: Serve, name: str
) -> None:
    other = serve(echo)
    location = other.url.encode() + b"/elsewhere"
    upstream = serve(
        answering(response(status="302 Found", headers=[(b"Location", location)]))
    )
    answer = ask(portal.mount(upstream))
    if name != "daphne":
        assert (answer.status, answer.one("Location")) == (302, location)
    assert other.connections == []
    assert len(upstream.connections) == 1


def tampered(**changes: bytes | None) -> Play:
    """Accepts, with fields of the answer changed or left out."""

    def play(conn: Conn) -> None:
        request = conn.request()
        for name, value in changes.items():
            field = name.replace("_", "-").encode()
            answer = frames.acceptance(request)
            lines = [
                line
                for line in answer.split(b"\r\n")
                if not line.lower().startswith(field.lower() + b":")
            ]
            if value is not None:
                lines.insert(1, field + b": " + value)
            conn.send(b"\r\n".join(lines))

    return play


@pytest.mark.parametrize(
    "play",
    [
        tampered(Sec_WebSocket_Accept=b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        tampered(Sec_WebSocket_Accept=None),
        tampered(Upgrade=b"h2c"),
        tampered(Upgrade=None),
        tampered(Connection=b"close"),
        tampered(Sec_WebSocket_Protocol=b"unasked"),
        tampered(Sec_WebSocket_Extensions=b"permessage-deflate"),
        answering(response(b"fine")),
        answering(b"HTTP/1.1 204 No Content\r\n\r\n"),
        answering(b"SSH-2.0-OpenSSH_9.2\r\n"),
        answering(
            b"HTTP/1.1 403 No\r\nContent-Length: 9999999\r\n\r\n", *[bytes(65536)] * 17
        ),
        tampered(X=b"\r\n".join([b"y"] + [b"X: y"] * 300)),
        tampered(X=b"y" * 200_000),
    ],
    ids=[
        *("another accept", "no accept", "another upgrade", "no upgrade"),
        *("no connection", "a subprotocol", "an extension", "200", "204", "no HTTP"),
        *("endless refusal", "many fields", "large head"),
    ],
)
def test_an_answer_that_is_none_to_a_handshake(
    portal: Portal, serve: Serve, name: str, play: Play
) -> None:
    upstream = serve(play)
    site = portal.mount(upstream)
    refused(ask(site), contract.PROTOCOL, name)
    assert upstream.all_gone(5)
    assert site.idle()


def test_sessions_that_cannot_be_reached(
    portal: Portal, serve: Serve, name: str
) -> None:
    def closing(conn: Conn) -> None:
        conn.request()
        conn.abort()

    def inside(conn: Conn) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 101 Switch")
        frames.end(conn)

    def silent(conn: Conn) -> None:
        conn.request()

    nobody = portal.mount("http://127.0.0.1:1")
    refused(ask(nobody), contract.UNREACHABLE, name)
    refused(ask(portal.mount(serve(closing))), contract.UNREACHABLE, name)
    refused(ask(portal.mount(serve(inside))), contract.PROTOCOL, name)
    upstream = serve(silent)
    refused(ask(portal.mount(upstream, via="quick")), contract.TIMEOUT, name)
    assert upstream.all_gone(5)
    metadata = portal.mount("http://169.254.169.254")
    refused(ask(metadata), contract.UNREACHABLE, name)


def test_an_open_socket_holds_a_place(
    portal: Portal, serve: Serve, connect: Connect, name: str
) -> None:
    site = portal.mount(serve(echo), via="few")
    clients = [connect(site), connect(site)]
    assert site.in_flight() == 2
    refused(ask(site), contract.TOO_MANY, name)
    clients[0].close()
    end = time.monotonic() + PATIENCE
    while site.in_flight() > 1:
        assert time.monotonic() < end
        time.sleep(0.02)
    connect(site).send("x")


def test_a_client_that_leaves_before_the_session_has_accepted(
    portal: Portal, serve: Serve, name: str
) -> None:
    def play(conn: Conn) -> None:
        conn.request()

    upstream = serve(play)
    site = portal.mount(upstream, via="quick")
    with site.open("GET", "/ws", upgrade()):
        upstream.connection()
    assert upstream.connection().gone.wait(PATIENCE)
    found = record(site)
    if name == "granian":  # It tells nobody until the session has accepted.
        assert (found["status"], found["end_reason"]) == (504, "upstream_timeout")
    else:
        assert (found["status"], found["end_reason"]) == (499, "client_disconnected")
    assert site.idle()


@pytest.mark.parametrize(
    ("origin", "fields", "admitted"),
    [
        (b"http://portal.test", [(b"Cookie", b"login=ada")], True),
        (b"https://PORTAL.test:443", [(b"Cookie", b"login=ada")], True),
        (b"https://friend.example", [(b"Cookie", b"login=ada")], True),
        (None, [(b"Cookie", b"login=ada")], True),
        (b"https://evil.example", [(b"Cookie", b"login=ada")], False),
        (b"https://portal.test.evil.example", [(b"Cookie", b"login=ada")], False),
        (b"http://portal.test:8080", [(b"Cookie", b"login=ada")], False),
        (b"null", [(b"Cookie", b"login=ada")], False),
        (b"https://evil.example", [(b"Authorization", b"Bearer own")], True),
        # Any page can say this, while its browser sends the cookie.
        (
            b"https://evil.example",
            [
                (b"Cookie", b"login=ada"),
                (b"Sec-WebSocket-Protocol", b"session-proxy.bearer.x"),
            ],
            False,
        ),
    ],
)
def test_pages_of_other_origins(
    portal: Portal,
    serve: Serve,
    name: str,
    origin: bytes | None,
    fields: list[tuple[bytes, bytes]],
    admitted: bool,
) -> None:
    upstream = serve(echo)
    site = portal.mount(upstream, via="login")
    sent = upgrade(*fields)
    if origin is not None:
        sent.append((b"Origin", origin))
    with site.open("GET", "/ws", sent, key=None) as client:
        answer = client.response_head() if not admitted else client.head()
        if admitted:
            assert answer.status == 101
        else:
            refused(client.body(answer), contract.ORIGIN, name)
    assert len(upstream.connections) == admitted


@pytest.mark.engine
def test_over_a_unix_socket(portal: Portal, connect: Connect, tmp_path: Path) -> None:
    def answer(ws: ServerConnection) -> None:
        asked.append(ws.request)
        for message in ws:
            ws.send(message)

    asked: list[object] = []
    path = tmp_path / "s"
    with unix_serve(answer, str(path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = connect(portal.mount(f"unix://{path}"))
        client.send("x")
        assert client.recv(10) == "x"
        client.close()
        server.shutdown()
        thread.join()
    assert len(asked) == 1


def test_the_client_that_wants_another_subprotocol_is_not_lied_to(
    portal: Portal, serve: Serve, connect: Connect
) -> None:
    """The session chooses none, so the client is told none."""
    client = connect(portal.mount(serve(echo)), subprotocols=["chat"])
    assert client.subprotocol is None
