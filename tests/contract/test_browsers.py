"""What the proxy does for the browsers behind it, as it goes over the wire."""

from __future__ import annotations

import re

import pytest

from ..support import contract
from ..support.servers import Portal, Site, request
from ..support.upstream import Conn, answering, response
from ..support.wire import Fields, Message
from .conftest import Serve

VIA = ["", "httpx"]
CSP = b"sandbox allow-scripts allow-forms allow-popups allow-downloads"
APP = b"https://app.example"


def answered(
    portal: Portal, serve: Serve, fields: Fields, *, via: str = ""
) -> tuple[Site, Message]:
    site = portal.mount(serve(answering(response(b"ok", headers=fields))), via=via)
    return site, site.request("GET", "/a/login")


def given_out(site: Site, answer: Message) -> dict[bytes, bytes]:
    """The cookies as a browser would store them, path checked."""
    stored = {}
    for value in answer.all("set-cookie"):
        pair, path, *_ = value.split(b"; ")
        assert path.startswith(b"Path=" + site.public.encode() + b"/"), value
        name, _, content = pair.partition(b"=")
        stored[name] = content
    return stored


def cookie(*stored: dict[bytes, bytes]) -> bytes:
    pairs = [pair for each in stored for pair in each.items()]
    return b"; ".join(name + b"=" + value for name, value in pairs)


@pytest.mark.parametrize("via", VIA)
def test_a_sessions_cookies_come_back_to_it_and_to_nobody_else(
    portal: Portal, serve: Serve, via: str
) -> None:
    said = [
        b"sid=1; Path=/; HttpOnly",
        b"sid=2; Domain=portal.test",
        b"b; SameSite=Lax",
    ]
    fields = [(b"Set-Cookie", each) for each in said]
    site, answer = answered(portal, serve, fields, via=via)
    assert b"Domain" not in b"".join(answer.all("set-cookie"))
    http_only = [b"HttpOnly" in each for each in answer.all("set-cookie")]
    assert http_only == [True, False, False]
    stored = given_out(site, answer)
    assert sorted(stored.values()) == [b"2", b"b"]
    upstream = serve()
    other = portal.mount(upstream, via=via)
    other.request("GET", "/", [(b"Cookie", cookie(stored, {b"login": b"secret"}))])
    assert not upstream.last.has("cookie")
    again = portal.mount(upstream, via=via, id=site.id)
    again.request("GET", "/", [(b"Cookie", cookie({b"login": b"secret"}, stored))])
    assert upstream.last.one("cookie") == b"sid=2; b"


def test_a_session_forges_only_names_of_its_own(portal: Portal, serve: Serve) -> None:
    victim, answer = answered(portal, serve, [(b"Set-Cookie", b"sid=1")])
    [name] = given_out(victim, answer)
    forged = [(b"Set-Cookie", name + b"=evil; Path=" + victim.public.encode())]
    attacker, answer = answered(portal, serve, forged)
    stored = given_out(attacker, answer)
    assert name not in stored
    upstream = serve()
    again = portal.mount(upstream, id=victim.id)
    again.request("GET", "/", [(b"Cookie", cookie(stored))])
    assert not upstream.last.has("cookie")


def test_cookie_lines_that_a_server_joins_bring_nothing_of_the_portals_in(
    portal: Portal, serve: Serve
) -> None:
    site, answer = answered(portal, serve, [(b"Set-Cookie", b"sid=1")])
    own = cookie(given_out(site, answer))
    upstream = serve()
    again = portal.mount(upstream, id=site.id)
    for lines in ([own, b"login=secret"], [b"login=secret; x=y; " + own, b"a=b"]):
        again.request("GET", "/", [(b"Cookie", line) for line in lines])
        assert upstream.last.one("cookie") == b"sid=1"


def test_the_hosts_authenticator_sees_cookies_that_the_session_does_not(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="sync")
    fields = [(b"Cookie", b"login=secret"), (b"X-Caller", b"anna")]
    assert site.request("GET", "/", fields, key=None).status == 200
    assert not upstream.last.has("cookie")


def test_cookies_may_be_dropped_or_forwarded(portal: Portal, serve: Serve) -> None:
    def play(conn: Conn) -> None:
        while True:
            conn.request()
            conn.reply(b"ok", headers=[(b"Set-Cookie", b"a=1; Domain=x; Path=/y")])

    sent = [(b"Cookie", b"login=secret")]
    upstream = serve(play)
    answer = portal.mount(upstream, via="nocookies").request("GET", "/", sent)
    assert not upstream.last.has("cookie") and not answer.has("set-cookie")
    answer = portal.mount(upstream, via="open").request("GET", "/", sent)
    assert upstream.last.one("cookie") == b"login=secret"
    assert answer.one("set-cookie") == b"a=1; Domain=x; Path=/y"


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize(
    "types",
    [
        [b"text/html; charset=utf-8"],
        [b"IMAGE/SVG+xml"],
        [],
        [b"html"],
        [b"application/json", b"text/html"],
        [b"multipart/x-mixed-replace; boundary=x"],
    ],
)
def test_a_page_is_sandboxed(
    portal: Portal, serve: Serve, types: list[bytes], via: str
) -> None:
    fields = [(b"Content-Type", each) for each in types]
    fields += [(b"Content-Security-Policy", b"img-src *"), (b"X-A", b"1")]
    _, answer = answered(portal, serve, fields, via=via)
    assert answer.all("content-type") == types
    assert answer.all("content-security-policy") == [b"img-src *", CSP]
    assert answer.one("x-content-type-options") == b"nosniff"


def test_data_is_not_touched_and_nothing_is_where_isolation_is_off(
    portal: Portal, serve: Serve
) -> None:
    json = [(b"Content-Type", b"application/json"), (b"Clear-Site-Data", b'"*"')]
    _, answer = answered(portal, serve, json)
    assert not answer.has("content-security-policy")
    assert not answer.has("x-content-type-options")
    assert not answer.has("clear-site-data")
    _, answer = answered(portal, serve, [(b"Service-Worker-Allowed", b"/")], via="open")
    assert answer.one("service-worker-allowed") == b"/"
    assert not answer.has("content-security-policy")


def test_a_304_brings_the_policy_again(portal: Portal, serve: Serve) -> None:
    fields = [(b"Content-Type", b"text/plain"), (b"ETag", b'"x"')]
    raw = b"HTTP/1.1 304 Not Modified\r\n"
    raw += b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n"
    answer = portal.mount(serve(answering(raw))).request()
    assert answer.status == 304
    assert answer.one("content-security-policy") == CSP


ASKING = [
    (b"Origin", APP),
    (b"Access-Control-Request-Method", b"PATCH"),
    (b"Access-Control-Request-Headers", b"authorization,content-type"),
    (b"Access-Control-Request-Private-Network", b"true"),
]


def test_a_preflight_is_answered_without_a_key_or_a_question(
    portal: Portal, serve: Serve
) -> None:
    upstream = serve()
    site = portal.mount(upstream, via="cors")
    portal.control("asked")
    for target in (site.public + "/x", "/cors/unknown/sessions/none/..%2f"):
        answer = portal.exchange(request("OPTIONS", target, ASKING, key=None))
        assert (answer.status, answer.body, answer.end) == (204, b"", "whole")
        assert answer.one("access-control-allow-origin") == APP
        assert b"PATCH" in answer.one("access-control-allow-methods")
        allowed = answer.one("access-control-allow-headers")
        assert allowed == b"authorization,content-type"
        assert answer.one("access-control-max-age") == b"600"
        assert answer.has("vary") and answer.has("x-request-id")
        assert not answer.has("access-control-allow-private-network")
        assert not answer.ours
    assert portal.control("asked") == []
    assert upstream.requests == []


def test_a_preflight_of_another_origin_is_told_nothing(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve(), via="cors")
    fields = [(b"Origin", b"https://evil.example"), *ASKING[1:]]
    answer = site.request("OPTIONS", "/", fields, key=None)
    assert answer.status == 204
    assert not re.search(rb"(?im)^access-control", answer.raw)


def test_a_preflight_for_the_host_application_is_the_hosts(portal: Portal) -> None:
    raw = request("OPTIONS", "/cors/elsewhere", ASKING, key=None)
    assert portal.exchange(raw).has("x-host")


def test_without_the_option_a_preflight_needs_a_key_and_reaches_the_session(
    portal: Portal, serve: Serve
) -> None:
    theirs = [(b"Access-Control-Allow-Origin", b"*"), (b"Content-Type", b"text/plain")]
    upstream = serve(answering(response(b"", headers=theirs)))
    site = portal.mount(upstream)
    contract.check(
        site.request("OPTIONS", "/", ASKING, key=None), contract.NO_CREDENTIAL
    )
    assert upstream.requests == []
    answer = site.request("OPTIONS", "/", ASKING)
    assert upstream.last.method == b"OPTIONS"
    assert answer.one("access-control-allow-origin") == b"*"


def test_answers_carry_the_proxys_grants_and_not_the_sessions(
    portal: Portal, serve: Serve
) -> None:
    theirs = [
        (b"Access-Control-Allow-Origin", b"*"),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Vary", b"Accept"),
    ]
    site = portal.mount(serve(answering(response(headers=theirs))), via="cors")
    answer = site.request("POST", "/", [(b"Origin", APP)], b"{}")
    assert answer.one("access-control-allow-origin") == APP
    assert not answer.has("access-control-allow-credentials")
    assert b"X-Request-Id" in answer.one("access-control-expose-headers")
    assert answer.all("vary") == [b"Accept", b"Origin"]
    answer = site.request("POST", "/", [(b"Origin", b"https://evil.example")], b"{}")
    assert answer.status == 200
    assert not re.search(rb"(?im)^access-control", answer.raw)


def test_our_own_errors_can_be_read_by_an_allowed_page(
    portal: Portal, serve: Serve
) -> None:
    site = portal.mount(serve(), via="cors")
    for method, key, row in (
        ("GET", None, contract.NO_CREDENTIAL),
        ("HEAD", "pk_wrong", contract.WRONG_CREDENTIAL),
        ("TRACE", "pk_test", contract.METHOD_NOT_ALLOWED),
        ("OPTIONS", None, contract.NO_CREDENTIAL),
    ):
        answer = site.request(method, "/", [(b"Origin", APP)], key=key)
        contract.check(answer, row, to=method)
        assert answer.one("access-control-allow-origin") == APP
        exposed = answer.one("access-control-expose-headers")
        assert exposed == b"X-Request-Id, X-Session-Proxy-Error"
