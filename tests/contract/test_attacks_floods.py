"""Floods: much of one thing is answered, and the next client is not kept waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product

from ..support.servers import Portal, Site
from ..support.wire import Broken, Fields
from .conftest import Serve

MANY = 10_000
FLOODS: dict[str, Callable[[Site], bytes]] = {
    "equal fields": lambda site: site.raw("GET", "/x", [(b"X", b"y")] * MANY),
    "fields": lambda site: site.raw("GET", "/x", distinct(MANY)),
    "long names": lambda site: site.raw(
        "GET", "/x", [(b"X" * 1000 + name, b"") for name, _ in distinct(300)]
    ),
    "keys": lambda site: site.raw(
        "GET", "/x", [(b"Authorization", b"Bearer pk_test")] * MANY
    ),
    "hosts": lambda site: site.raw("GET", "/x", [(b"Host", b"x")] * MANY),
    "lengths": lambda site: site.raw("GET", "/x", [(b"Content-Length", b"0")] * MANY),
    "codings": lambda site: site.raw(
        "GET", "/x", [(b"Transfer-Encoding", b"chunked")] * MANY
    ),
    "connections": lambda site: site.raw(
        "GET", "/x", [(b"Connection", b"x-%d" % number) for number in range(MANY)]
    ),
    "options": lambda site: site.raw("GET", "/x", [(b"Connection", b"a, " * 20_000)]),
    "forwarders": lambda site: site.raw(
        "GET", "/x", [(b"X-Forwarded-For", b"6.6.6.6")] * MANY
    ),
    "cookies": lambda site: site.raw("GET", "/x", [(b"Cookie", b"a=b; " * 20_000)]),
    "expectations": lambda site: site.raw(
        "GET", "/x", [(b"Expect", b"100-continue")] * MANY
    ),
    "a token": lambda site: site.raw(
        "GET", "/x", [(b"Authorization", b"Bearer" + b" " * 60_000)], key=None
    ),
    "segments": lambda site: site.raw("GET", "/a" * 30_000),
    "slashes": lambda site: site.raw("GET", "/" * 60_000),
    "parameters": lambda site: site.raw("GET", "/;" * 30_000),
    "escapes": lambda site: site.raw("GET", "/" + "%2e" * 20_000),
    "bad escapes": lambda site: site.raw("GET", "/" + "%" * 60_000),
    "markers": lambda site: site.raw("GET", "/x/sessions/y" * 5000),
    "a query": lambda site: site.raw("GET", "/?" + "a[]=b&" * 10_000),
    "an id": lambda site: site.raw("GET", "/x").replace(
        site.id.encode(), b"a-" * 30_000
    ),
}


def distinct(many: int) -> Fields:
    """So many fields of different names."""
    return [(b"X-%d" % number, b"y") for number in range(many)]


def test_a_flood_is_answered_and_keeps_nobody_waiting(
    portal: Portal, serve: Serve
) -> None:
    """CVE-2025-14550 (asgiref): thousands of equal fields at quadratic cost."""
    plain = portal.mount(serve())
    append = portal.mount(serve(), via="append")
    for what, site in (*product(FLOODS, [plain]), ("forwarders", append)):
        fired(site, FLOODS[what](site))
        # The client has gone: gunicorn's gthread lingers for one that has not, and
        # lets everybody wait meanwhile.
        started = time.monotonic()
        assert site.request().status == 200
        # Quadratic work on 10,000 fields is seconds; the bound is no measure of speed.
        assert time.monotonic() - started < 5.0, what


def fired(site: Site, raw: bytes) -> None:
    """Send it. A server may answer by itself, or close; nobody answers with a bug."""
    with site.portal.connect() as client:
        client.sock.settimeout(1.0)  # Some wait for a body.
        try:
            client.send(raw)
            status = client.answer().status
            assert status in (200, 400, 401, 404, 413, 414, 431, 501), (
                status,
                raw[:200],
            )
        except (Broken, OSError):
            pass
