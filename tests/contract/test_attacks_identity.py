"""Identity spoofing: what only the platform may say, said by a client all the same."""

from __future__ import annotations

import itertools

import pytest

from ..support.servers import Portal, Site
from ..support.upstream import Upstream, answering, response
from ..support.wire import Fields, Message
from .conftest import Serve

EVIL = b"6.6.6.6"
PLATFORM = [
    *("x-daily-session-id", "x-daily-room-url", "x-daily-room-token"),
    *("x-session-proxy-user", "x-session-proxy-error"),
]
ADDED = ["x-daily-session-id", "x-forwarded-for", "x-request-id", "via", "host"]


def spellings(name: str) -> list[bytes]:
    """A field's name with `-` or `_` at each place, and in three cases."""
    words = name.split("-")
    found = set()
    for marks in itertools.product("-_", repeat=len(words) - 1):
        joined = words[0] + "".join(map("".join, zip(marks, words[1:], strict=True)))
        found |= {joined, joined.upper(), joined.title()}
    return sorted(each.encode() for each in found)


def like(got: Message, name: str) -> list[bytes]:
    """What a server that maps names as CGI does (RFC 3875 §4.1.18) has under it."""
    wanted = name.replace("-", "_").encode()
    return [
        value for key, value in got.headers if key.lower().replace(b"-", b"_") == wanted
    ]


@pytest.mark.parametrize("name", PLATFORM)
def test_no_spelling_of_a_platform_field_arrives(
    site: Site, upstream: Upstream, name: str
) -> None:
    """CVE-2025-64484 (oauth2-proxy), CVE-2026-52845 (Caddy), CVE-2026-33433 (Traefik):
    another spelling is another field to the proxy and the same to the session."""
    ours = [site.id.encode()] if name == "x-daily-session-id" else []
    for spelling in spellings(name):
        assert site.request("GET", "/x", [(spelling, EVIL)]).status == 200
        assert like(upstream.last, name) == ours, spelling
    together: Fields = [(spelling, EVIL) for spelling in spellings(name)[:40]]
    assert site.request("GET", "/x", together).status == 200
    assert like(upstream.last, name) == ours


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-forwarded-host", "forwarded"])
@pytest.mark.parametrize("via", ["", "off"])
def test_no_spelling_of_a_forwarded_field_arrives(
    portal: Portal, upstream: Upstream, name: str, via: str
) -> None:
    """CVE-2022-32148 (Go)."""
    site = portal.mount(upstream, via=via)
    for spelling in spellings(name):
        assert site.request("GET", "/x", [(spelling, EVIL)]).status == 200
        found = like(upstream.last, name)
        assert EVIL not in b"".join(found), spelling
        assert len(found) <= 1
        assert via == "" or found == []


CONNECTIONS = [
    [b"close, %b"],
    [b"%b, close"],
    [b"keep-alive", b"%b"],
    [b"%b", b"close"],
    [b"%b,%b,%b"],
    [b" ,\t%b ,, "],
]


@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("how", range(len(CONNECTIONS)))
def test_connection_takes_nothing_away_that_the_proxy_adds(
    site: Site, upstream: Upstream, name: str, how: int
) -> None:
    """CVE-2024-45410 (Traefik), CVE-2025-48865 (Fabio), CVE-2022-31813 (Apache),
    CVE-2022-1388 (F5), CVE-2021-33197 (Go): RFC 9110 §7.6.1 told the proxy to drop
    what it had just added."""
    for spelling in (name, name.upper(), name.title()):
        for field in (b"Connection", b"connection", b"cOnNeCtIoN"):
            values = [
                each.replace(b"%b", spelling.encode()) for each in CONNECTIONS[how]
            ]
            headers: Fields = [(field, value) for value in values]
            answer = site.request("GET", "/x", headers)
            assert answer.status in (200, 400), answer
            if answer.status == 200:
                for added in ADDED:
                    assert len(upstream.last.all(added)) == 1, (added, headers)
                assert upstream.last.one("x-daily-session-id") == site.id.encode()
                assert upstream.last.one("x-forwarded-for") == b"127.0.0.1"


@pytest.mark.parametrize(
    "name", ["authorization", "cookie", "content-length", "transfer-encoding"]
)
def test_connection_hides_nothing_from_the_checks(
    site: Site, upstream: Upstream, name: str
) -> None:
    """The same advisories, the other way: what is named still counts for framing and
    for the key, and is still not passed on where it never is."""
    fields: Fields = [(b"Connection", b"close, " + name.encode())]
    answer = site.request("POST", "/x", fields, b"hello")
    assert answer.status == 200
    assert upstream.last.body == b"hello"
    assert upstream.last.all("authorization") == []
    assert site.request("GET", "/x", fields, key=None).status == 401
    assert site.request("GET", "/x", fields, key="pk_wrong").status == 401


def test_a_session_does_not_speak_for_the_proxy(portal: Portal, serve: Serve) -> None:
    """What the proxy says of its own answers is no session's to say, in any case."""

    fields: Fields = [
        (spelling, b"unauthenticated")
        for spelling in spellings("x-session-proxy-error")
        if b"_" not in spelling
    ]
    said = answering(response(b"ok", headers=fields))
    answer = portal.mount(serve(said)).request()
    assert answer.status == 200
    assert not answer.ours
