"""A page's own WebSocket, in a browser that compresses and sends cookies by itself."""

from __future__ import annotations

import json
from typing import Any

from ..support import frames
from ..support.upstream import Conn, Upstream
from ..websocket.conftest import echo
from .chromium import Chromium
from .conftest import Serve
from .portal import API, Portal, page, pages

TALK = """
const [url, protocols, messages] = %s;
const socket = new WebSocket(url, protocols);
socket.binaryType = "arraybuffer";
const got = [];
return new Promise((resolve) => {
  socket.onopen = () => {
    for (const each of messages) {
      socket.send(each);
      socket.send(new TextEncoder().encode(each));
    }
    if (!messages.length) socket.send("go");
  };
  socket.onmessage = ({data}) => {
    got.push(typeof data === "string" ? data : [new TextDecoder().decode(data)]);
    if (got.length === 2 * messages.length) socket.close(4001, "bye");
  };
  socket.onclose = ({code, reason, wasClean}) => resolve({
    got, code, reason, wasClean,
    protocol: socket.protocol, extensions: socket.extensions,
  });
});
"""


def talk(
    browser: Chromium, url: str, messages: list[str], protocols: list[str] | None = None
) -> dict[str, Any]:
    """Say these, as text and as binary, hear them back, and close. Without messages
    it is the session that closes."""
    asked = [url.replace("http", "ws", 1) + "ws", protocols or [], messages]
    found: dict[str, Any] = browser.run(TALK % json.dumps(asked))
    return found


def test_a_page_of_the_portal_talks_to_a_session(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    upstream = serve(echo)
    user.open(portal.url + "/account")
    messages = ["hello", "z\u00fcrich", "x" * 100_000]
    found = talk(user, portal.session(upstream.url), messages)
    assert found["got"] == [back for each in messages for back in (each, [each])]
    assert (found["code"], found["reason"], found["wasClean"]) == (4001, "bye", True)
    assert "permessage-deflate" in found["extensions"]
    # Nothing of the portal's reaches the session.
    assert not upstream.last.has("Cookie")
    assert not upstream.last.has("Sec-WebSocket-Extensions")
    assert upstream.last.one("Origin") == portal.url.encode()


def test_the_sessions_code_reaches_the_page(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        assert frames.take(conn).data == b"go"
        conn.send(frames.closing(4321, "enough"))
        frames.until_closed(conn)

    user.open(portal.url + "/account")
    found = talk(user, portal.session(serve(play).url), [])
    assert (found["code"], found["reason"], found["wasClean"]) == (4321, "enough", True)


def test_a_session_that_ends_tells_the_page(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn)
        assert frames.take(conn).data == b"go"
        portal.store.sessions.end("bot", url.rstrip("/").rpartition("/")[2])
        frames.until_closed(conn)

    url = portal.session(serve(play).url)
    user.open(portal.url + "/account")
    found = talk(user, url, [])
    assert (found["code"], found["reason"]) == (1001, "session ended")


def test_a_page_of_another_origin_gets_nowhere_with_the_users_cookie(
    user: Chromium, portal: Portal, serve: Serve, elsewhere: Upstream
) -> None:
    upstream = serve(echo)
    url = portal.session(upstream.url)
    user.open(elsewhere.url)
    for protocols in ([], ["session-proxy.bearer.anything"]):
        found = talk(user, url, ["hello"], protocols)
        assert (found["got"], found["code"]) == ([], 1006)
    assert upstream.connections == []


def test_neither_does_a_page_of_a_session(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    """It runs in an origin of its own, whatever its address."""
    upstream = serve(pages({"/": page("<title>session</title>")}))
    url = portal.session(upstream.url)
    user.open(url)
    count = len(upstream.connections)
    found = talk(user, url, ["hello"])
    assert (found["got"], found["code"]) == ([], 1006)
    assert len(upstream.connections) == count


def test_a_page_of_another_origin_with_a_key(
    browser: Chromium, portal: Portal, serve: Serve, elsewhere: Upstream
) -> None:
    key = portal.store.keys.create().secret
    entry = f"session-proxy.bearer.{key}"
    upstream = serve(echo)
    url = portal.session(upstream.url, at=API)
    browser.open(elsewhere.url)
    found = talk(browser, url, ["hello"], [entry])
    assert found["got"] == ["hello", ["hello"]]
    assert found["protocol"] == entry
    found = talk(browser, url, ["hello"], ["session-proxy", entry])
    assert found["protocol"] == "session-proxy"
    assert not upstream.last.has("Sec-WebSocket-Protocol")
    assert (key or "").encode() not in upstream.last.raw
    wrong = talk(browser, url, ["hello"], ["session-proxy.bearer.pk_wrong"])
    assert (wrong["got"], wrong["code"]) == ([], 1006)


def test_the_subprotocol_is_the_sessions_choice(
    browser: Chromium, portal: Portal, serve: Serve, elsewhere: Upstream
) -> None:
    def play(conn: Conn) -> None:
        frames.accept(conn, (b"Sec-WebSocket-Protocol", b"chat"))
        assert frames.take(conn).data == b"go"
        conn.send(frames.closing(1000))
        frames.until_closed(conn)

    key = portal.store.keys.create().secret
    upstream = serve(play)
    url = portal.session(upstream.url, at=API)
    browser.open(elsewhere.url)
    offered = ["superchat", f"session-proxy.bearer.{key}", "chat"]
    found = talk(browser, url, [], offered)
    assert (found["protocol"], found["code"]) == ("chat", 1000)
    assert upstream.last.one("Sec-WebSocket-Protocol") == b"superchat, chat"
