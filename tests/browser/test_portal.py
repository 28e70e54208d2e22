"""A page of a session, inside a portal, in front of somebody who is logged in."""

from __future__ import annotations

import pytest

from ..support.upstream import Conn, response
from .chromium import Chromium
from .conftest import Serve
from .portal import LOGIN, OFF, Portal, page, pages

ATTACK = """<!doctype html><title>session</title><a id=next href=next>next</a>
<form id=form method=post action=/transfer><button id=send>send</button></form>
<script>
const attempt = async (work) => {
  try { return String(await work()) } catch (error) { return "no: " + error.name }
}
const framed = () => new Promise((resolve, reject) => {
  const frame = document.createElement("iframe")
  frame.onload = () => {
    try { resolve(frame.contentWindow.document.body.innerText) }
    catch (error) { reject(error) }
  }
  frame.src = "/account"
  document.body.append(frame)
})
const all = {credentials: "include"}
window.attack = async () => ({
  cookie: await attempt(() => document.cookie),
  api: await attempt(async () => (await fetch("/me", all)).text()),
  post: await attempt(async () =>
    (await fetch("/transfer", {...all, method: "POST", mode: "no-cors"})).type),
  frame: await attempt(framed),
  storage: await attempt(() => localStorage.length),
  worker: await attempt(async () =>
    (await navigator.serviceWorker.register("worker.js", {scope: "/"})).scope),
  set: await attempt(() => document.cookie = "portal_login=evil; Path=/"),
})
</script>"""
WORKER = page(
    "", (b"Service-Worker-Allowed", b"/"), type="text/javascript; charset=utf-8"
)
SITE = pages(
    {
        "/": page(ATTACK),
        "/next": page("<title>the next page</title>"),
        "/worker.js": WORKER,
    }
)


def test_its_inline_scripts_run_and_its_links_into_the_session_work(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    url = portal.session(serve(SITE).url)
    user.open(url)
    assert user.run("return typeof attack") == "function"
    user.click("#next")
    user.titled("the next page")
    assert user.url == url + "next"


def test_it_can_do_nothing_as_the_user(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    """As Coder's documentation of path-based applications warns."""
    upstream = serve(SITE)
    user.open(portal.session(upstream.url))
    assert user.run("return self.origin") == "null"
    assert user.run("return attack()") == {
        "cookie": "no: SecurityError",
        "api": "no: TypeError",
        "post": "opaque",
        "frame": "no: SecurityError",
        "storage": "no: SecurityError",
        "worker": "no: SecurityError",
        "set": "no: SecurityError",
    }
    user.click("#send")
    user.shows('{"done":false}')
    assert "POST /transfer" in dict(portal.seen)
    assert portal.as_the_user() == []
    assert not any(request.has("cookie") for request in upstream.requests)
    user.open(portal.url + "/me")
    assert ("GET /me", LOGIN) in portal.seen


def test_without_isolation_it_could_do_all_of_that(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    upstream = serve(SITE)
    user.open(portal.session(upstream.url, OFF))
    assert user.run("return self.origin") == portal.url
    assert user.run("return attack()") == {
        "cookie": LOGIN,
        "api": f'{{"cookies":"{LOGIN}"}}',
        "post": "basic",
        "frame": "balance: 17",
        "storage": "0",
        "worker": portal.url + "/",
        "set": "portal_login=evil; Path=/",
    }
    user.run(
        "const found = await navigator.serviceWorker.getRegistrations();"
        "for (const each of found) await each.unregister()"
    )
    assert upstream.requests[0].one("cookie") == LOGIN.encode()
    assert portal.as_the_user() == ["GET /me", "POST /transfer", "GET /account"]
    assert user.cookies() == {"portal_login": "evil"}


def test_it_cannot_set_a_cookie_that_the_portal_sees(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    """CVE-2024-28233 (JupyterHub), CVE-2023-23934 (Werkzeug)."""
    evil = [
        b"portal_login=evil; Path=/",
        b"portal_login=evil; Domain=127.0.0.1; Path=/",
        b"=portal_login=evil; Path=/",
        b"__Host-portal=evil; Secure; Path=/",
        b"portal_login=; Path=/; Max-Age=0",
    ]
    fields = [(b"Set-Cookie", each) for each in evil]
    upstream = serve(pages({"/": page("<title>x</title>", *fields)})).url
    user.open(portal.session(upstream))
    user.open(portal.url + "/me")
    assert portal.seen == [("GET /me", LOGIN)]
    user.open(portal.session(upstream, OFF))
    user.open(portal.url + "/me")
    assert LOGIN not in portal.seen[-1][1]


def test_it_cannot_crowd_the_portals_cookies_out(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    crowd = [
        [(b"Set-Cookie", b"c%d-%d=x" % (turn, number)) for number in range(60)]
        for turn in range(5)
    ]
    answers = {f"/{turn}": page("", *fields) for turn, fields in enumerate(crowd)}
    url = portal.session(serve(pages(answers)).url)
    for turn in range(5):
        user.open(url + str(turn))
    assert user.cookies()["portal_login"] == "secret"
    assert len(user.cookies()) > 100


def test_it_keeps_cookies_of_its_own_and_can_delete_them(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    cookies = {
        b"/in": [
            b"sid=1; Path=/; HttpOnly",
            b"__Host-id=2; Secure; Path=/",
        ],
        b"/deep/in": [b"deep=3; Path=/deep"],
        b"/out": [b"sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
    }

    def play(conn: Conn) -> None:
        while True:
            asked = conn.request()
            said = b"; ".join(asked.all("cookie")).decode()
            fields = [(b"Set-Cookie", each) for each in cookies.get(asked.target, [])]
            conn.send(page(f"<a id=see href=see>{said}</a>", *fields))

    site, other = serve(play), serve(play)
    url = portal.session(site.url)

    def seen(path: str) -> str:
        user.open(url + path)
        return str(user.run("return document.body.innerText"))

    assert seen("in") == ""
    assert seen("deep/in") == "sid=1; __Host-id=2"
    assert seen("see") == "sid=1; __Host-id=2"
    assert seen("deep/see") == "deep=3; sid=1; __Host-id=2"
    user.click("#see")
    user.shows("deep=3; sid=1; __Host-id=2")
    user.open(portal.session(other.url) + "see")
    assert user.run("return document.body.innerText") == ""
    assert seen("out") == "sid=1; __Host-id=2"
    assert seen("see") == "__Host-id=2"
    user.open(portal.url + "/me")
    assert portal.seen == [("GET /me", LOGIN)]


STATE = """return [
  self.origin, location.pathname.includes("/sessions/"), window.ran === true
]"""
HTML = "<title>x</title><script>window.ran = true</script>"
XHTML = (
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title>'
    "<script>window.ran = true</script></head><body/></html>"
)
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>window.ran = true</script></svg>'
XML = '<x><script xmlns="http://www.w3.org/1999/xhtml">window.ran = true</script></x>'
ACTIVE = [
    ("text/html; charset=utf-8", HTML),
    ("TEXT/HTML", HTML),
    ("application/xhtml+xml", XHTML),
    ("image/svg+xml", SVG),
    ("text/xml", XML),
    ("application/xml", XML),
    ("text/xsl", XML),
    ("", HTML),
    ("html", HTML),
    ("*/*", HTML),
    ("unknown/unknown", HTML),
    ("text/plain, text/html", HTML),
]


@pytest.mark.parametrize(("type", "body"), ACTIVE)
def test_whatever_a_browser_runs_scripts_of_runs_in_an_origin_of_its_own(
    user: Chromium, portal: Portal, serve: Serve, type: str, body: str
) -> None:
    upstream = serve(pages({"/": page(body, type=type)})).url
    user.open(portal.session(upstream))
    origin, shown, ran = user.run(STATE)
    # Or it is downloaded: then the window stays where it was.
    assert origin == "null" if shown else not ran
    user.open(portal.session(upstream, OFF))
    assert user.run(STATE) == [portal.url, True, True]


def test_a_page_that_is_revalidated_stays_in_its_own_origin(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    fields = [(b"ETag", b'"1"'), (b"Cache-Control", b"no-cache")]
    lifted = [*fields, (b"Content-Type", b"text/plain")]
    lifted.append((b"Content-Security-Policy", b"img-src *"))
    fresh = response(status="304 Not Modified", headers=lifted)

    def play(conn: Conn) -> None:
        while True:
            known = conn.request().has("if-none-match")
            conn.send(fresh if known else page(HTML, *fields))

    upstream = serve(play)
    url = portal.session(upstream.url)
    for _ in range(2):
        user.open(url)
        assert user.run(STATE) == ["null", True, True]
    asked = [each.has("if-none-match") for each in upstream.requests]
    assert asked == [False, True]


def test_it_cannot_clear_what_the_browser_keeps_for_the_portal(
    user: Chromium, portal: Portal, serve: Serve
) -> None:
    clearing = page("<title>x</title>", (b"Clear-Site-Data", b'"cookies"'))
    upstream = serve(pages({"/": clearing})).url
    user.open(portal.session(upstream))
    assert user.cookies() == {"portal_login": "secret"}
    user.open(portal.session(upstream, OFF))
    assert user.cookies() == {}
