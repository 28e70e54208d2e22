"""A page of another origin calls a session with a key, and reads the answers."""

from __future__ import annotations

import threading

import pytest

from ..support.upstream import Conn, Upstream
from ..support.wire import chunked
from .chromium import Chromium
from .conftest import Serve
from .portal import API, SAFE, Portal

CALLS = """
const call = async (method, headers) => {
  const reply = await fetch(URL + "echo", {
    method, headers: {"Content-Type": "application/json", ...headers},
    body: JSON.stringify({method}),
  })
  return [reply.status, await reply.json(), reply.headers.get("X-Session-Proxy-Error"),
          reply.headers.has("X-Request-Id"), reply.headers.get("X-Turn")]
}
const key = {Authorization: "Bearer KEY"}
"""


class Bot:
    """Says back what it got, and streams a second event when the first is read."""

    def __init__(self) -> None:
        self.first_is_read = threading.Event()

    def __call__(self, conn: Conn) -> None:
        while True:
            asked = conn.request()
            if asked.target == b"/events":
                self.stream(conn)
            else:
                if asked.target == b"/read":
                    self.first_is_read.set()
                fields = [
                    (b"Content-Type", b"application/json"),
                    (b"X-Turn", b"1"),
                    (b"Access-Control-Allow-Origin", b"https://somebody.example"),
                ]
                conn.reply(asked.body, headers=fields)

    def stream(self, conn: Conn) -> None:
        conn.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
            + chunked(b"data: first\n\n", last=False)
        )
        assert self.first_is_read.wait(10)
        conn.send(chunked(b"data: second\n\n"))


@pytest.fixture
def key(portal: Portal) -> str:
    secret = portal.store.keys.create().secret
    assert secret is not None
    return secret


def script(url: str, key: str, body: str) -> str:
    return CALLS.replace("URL", f'"{url}"').replace("KEY", key) + body


def test_it_posts_then_patches_then_reads_a_stream_and_a_refusal(
    browser: Chromium, portal: Portal, elsewhere: Upstream, serve: Serve, key: str
) -> None:
    bot = Bot()
    upstream = serve(bot)
    url = portal.session(upstream.url, API)
    browser.open(elsewhere.url)

    def run(body: str) -> object:
        return browser.run(script(url, key, body))

    for method in ("POST", "PATCH"):
        answer = run(f'return call("{method}", key)')
        assert answer == [200, {"method": method}, None, True, None]
    methods = [each.method for each in upstream.requests]
    assert methods == [b"POST", b"PATCH"]
    assert run(
        f"""const reply = await fetch("{url}events", {{headers: key}})
        const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader()
        const first = (await reader.read()).value
        await fetch("{url}read", {{headers: key}})
        let rest = ""
        for (let part; !(part = await reader.read()).done; ) rest += part.value
        return [reply.headers.get("Content-Type"), first, rest]"""
    ) == ["text/event-stream", "data: first\n\n", "data: second\n\n"]
    assert run('return call("POST", {Authorization: "Bearer wrong"})') == [
        401,
        {"error": "Unauthorized / token expired", "code": "401"},
        "unauthenticated",
        True,
        None,
    ]


@pytest.mark.parametrize("where", ["another origin", "no cors"])
def test_a_page_that_is_not_allowed_can_send_nothing_and_read_nothing(
    browser: Chromium,
    portal: Portal,
    elsewhere: Upstream,
    serve: Serve,
    key: str,
    where: str,
) -> None:
    upstream = serve(Bot())
    url = portal.session(upstream.url, API if where == "another origin" else SAFE)
    page = elsewhere.url
    if where == "another origin":
        page = page.replace("127.0.0.1", "localhost")
    browser.open(page)
    call = 'return call("PATCH", key).catch((error) => error.name)'
    assert browser.run(script(url, key, call)) == "TypeError"
    assert upstream.requests == []
