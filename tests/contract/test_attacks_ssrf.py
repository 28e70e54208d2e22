"""Server-side request forgery: nothing in a request chooses where it goes.

A trap listens on a port of its own. Whatever names it, it hears nothing, and what
reaches the session says `Host` of the session and of nobody else.
"""

from __future__ import annotations

import contextlib
from itertools import product

import pytest

from ..support.cases import Cases
from ..support.servers import Portal, request
from ..support.upstream import Upstream, answering, response
from ..support.wire import Broken, Fields
from .conftest import Serve


@pytest.fixture
def trap(serve: Serve) -> Upstream:
    """Where no request may ever arrive."""
    return serve()


def names(trap: Upstream) -> list[bytes]:
    """What an attacker calls it."""
    port = b"%d" % trap.port
    return [
        b"127.0.0.1:" + port,
        b"user:pw@127.0.0.1:" + port,
        b"session.internal@127.0.0.1:" + port,
        b"2130706433:" + port,
        b"0x7f.1:" + port,
        b"[::ffff:127.0.0.1]:" + port,
        b"localhost.:" + port,
    ]


def only_the_session(upstream: Upstream, trap: Upstream) -> None:
    """The trap is empty, and the session was told its own name each time."""
    assert trap.connections == []
    for each in upstream.requests:
        assert each.one("host") == b"127.0.0.1:%d" % upstream.port
        assert each.target.startswith(b"/")


PATHS = [
    *(b"//%b/x", b"///%b/x", b"/http://%b/x", b"/https:/%b/x", b"/@%b/x", b"/x@%b"),
    *(b"/%%2f%%2f%b/x", b"/%%2F/%b", b"/x/%%0d%%0aHost:%%20%b", b"/;@%b", b"/.%b"),
    *(b"/x?url=http://%b/", b"/?http://%b", b"/x?next=//%b", b"/:%b", b"/x%%00%b"),
    *(b"/\\%b/x", b"/%%5c%%5c%b/x", b"/x#@%b/", b"/%%23@%b", b"/..//%b/x"),
]


def test_no_path_and_no_query_chooses_where_it_goes(
    portal: Portal, serve: Serve, trap: Upstream
) -> None:
    """django-revproxy 0.9.7 and asgiproxy: a target joined to the address like a
    reference replaces it; CVE-2025-47269 (code-server)."""
    upstream = serve()
    site = portal.mount(upstream)
    based = portal.mount(upstream.url + "/base")
    for name in names(trap):
        for path in PATHS:
            for each in (site, based):
                raw = request("GET", each.public.encode() + path % name)
                assert portal.exchange(raw).status in (200, 400, 404), path
    only_the_session(upstream, trap)


FIELDS = [
    *(b"X-Forwarded-Host", b"X-Forwarded-Server", b"X-Host", b"X-Original-Host"),
    *(b"X-Forwarded-Proto", b"X-Forwarded-Port", b"X-Forwarded-Prefix", b"Forwarded"),
    *(b"X-Original-URL", b"X-Rewrite-URL", b"X-Forwarded-Uri", b"X-Upstream"),
    *(b"X-Real-IP", b"X-Backend", b"X-Proxy-Target", b"X-Accel-Redirect", b"Referer"),
    *(b"Origin", b"Alt-Used", b"Destination", b"X-Sendfile", b"Location", b"Via"),
]


@pytest.mark.parametrize("via", ["", "append", "off", "httpx"])
def test_no_field_chooses_where_it_goes(
    portal: Portal, serve: Serve, trap: Upstream, via: str
) -> None:
    """CVE-2022-21697 (jupyter-server-proxy), CVE-2023-48023 (Ray)."""
    upstream = serve()
    site = portal.mount(upstream, via=via)
    for name in names(trap):
        for value in (name, b"http://" + name + b"/x", b"host=" + name):
            fields: Fields = [(field, value) for field in FIELDS]
            assert site.request("GET", "/x", fields).status == 200
    only_the_session(upstream, trap)


def test_no_host_chooses_where_it_goes(
    portal: Portal, serve: Serve, trap: Upstream
) -> None:
    """CVE-2026-55602 (http-proxy-middleware): a route found in Host and path."""
    upstream = serve()
    site = portal.mount(upstream)
    for name in names(trap):
        for host in (name, b"http://" + name, name + b"/x", b" " + name, name + b"?"):
            raw = request("GET", site.public + "/x", host=host)
            assert portal.exchange(raw).status in (200, 400), host
    only_the_session(upstream, trap)


SCHEMES = (b"http", b"https", b"HTTP", b"ws", b"ftp", b"file")
UPGRADES = {"plain": b"", "websocket": b"websocket", "h2c": b"h2c", "foo": b"foo"}


def asked(portal: Portal, raw: bytes) -> None:
    """Send it; an answer, if there is one, is no failure to reach somebody. Some
    servers keep a connection open that they gave up."""
    with portal.connect() as client, contextlib.suppress(Broken, OSError):
        client.sock.settimeout(0.2)
        client.send(raw)
        answer = client.head()
        assert answer.status < 502, answer


def test_no_absolute_form_chooses_where_it_goes(
    portal: Portal, serve: Serve, trap: Upstream, cases: Cases
) -> None:
    """CVE-2026-44578 (Next.js): an absolute target with an upgrade skipped the checks
    that it met without. RFC 9112 §3.2.2."""
    upstream = serve()
    site = portal.mount(upstream)
    paths = (site.public.encode() + b"/x", b"/", b"", b"/x@y")

    def attack(case: str) -> None:
        kind, number = case.split(", ")
        fields: Fields = []
        if upgrade := UPGRADES[kind]:
            fields = [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
        name = names(trap)[int(number)]
        for scheme, path, key in product(SCHEMES, paths, ("pk_test", None)):
            target = scheme + b"://" + name + path
            asked(portal, request("GET", target, fields, key=key))
        for method in ("CONNECT", "OPTIONS", "TRACE"):
            for target in (b"*", name, b"http://" + name):
                asked(portal, request(method, target))

    cases([f"{kind}, {number}" for kind, number in product(UPGRADES, "012")], attack)
    assert site.idle()
    only_the_session(upstream, trap)


def test_no_session_sends_the_proxy_elsewhere(
    portal: Portal, serve: Serve, trap: Upstream
) -> None:
    """CVE-2020-8559, CVE-2022-3172 (Kubernetes): the proxy followed a redirect with
    the caller's credentials."""
    for status in (301, 302, 303, 305, 307, 308, 401, 407, 421, 503):
        for name in names(trap)[:2]:
            fields: Fields = [
                (field, value)
                for field in (b"Location", b"Refresh", b"Alt-Svc", b"X-Accel-Redirect")
                for value in (b"http://" + name + b"/x",)
            ]
            said = response(b"ok", status=f"{status} X", headers=fields)
            upstream = serve(answering(said))
            for method in ("GET", "POST"):
                answer = portal.mount(upstream).request(method)
                assert answer.status == status
    assert trap.connections == []
