"""A session that is the portal itself: the request ends at its third pass."""

from __future__ import annotations

import pytest

from ..support import contract
from ..support.contract import check
from ..support.servers import Portal, Site
from ..support.upstream import Upstream

CALLER = [(b"X-Caller", b"ada")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_session_that_leads_back_to_itself_ends_in_508(
    portal: Portal, method: str
) -> None:
    # Keys are not passed on, so only a portal with another way to know its callers
    # can be gone round in.
    site = portal.mount("http://127.0.0.1:9", via="sync")
    itself = at(site, portal.address[1])
    portal.control("register", service="my-agent", id=site.id, upstream=itself)
    portal.control("asked")
    answer = site.request(method, "/x", CALLER, b"{}" if method == "POST" else None)
    asked = [each for each in portal.control("asked") if each.startswith("session")]
    assert len(asked) == 3
    assert answer.status == 508
    # It is the third pass that refuses; to the first that is the session's answer.
    assert not answer.ours
    if method != "HEAD":
        assert answer.body == (
            b'{"error": "The request goes in circles", "code": "SP-508-LOOP"}'
        )
    assert site.idle()


def at(site: Site, port: int) -> str:
    """The address of a session at the portal, as an upstream."""
    return f"http://127.0.0.1:{port}{site.public}"


def test_a_request_that_came_through_twice_is_refused(
    portal: Portal, upstream: Upstream
) -> None:
    site = portal.mount(upstream)
    twice = [(b"Via", b"1.1 session-proxy"), (b"Via", b"1.0 a, 1.1 session-proxy")]
    check(site.request("GET", "/", twice), contract.LOOP)
    check(site.request("HEAD", "/", twice), contract.LOOP, to="HEAD")
    strict = portal.mount(upstream, via="strict")
    check(strict.request("GET", "/", twice), contract.LOOP.strictly)
    assert upstream.connections == []


def test_a_portal_behind_a_portal_is_no_loop(
    portal: Portal, upstream: Upstream
) -> None:
    inner = portal.mount(upstream, via="sync")
    outer = portal.mount(at(inner, portal.address[1]), via="async")
    fields = [*CALLER, (b"Via", b"1.0 fred")]
    assert outer.request("GET", "/x", fields).body == b"ok"
    passed = b", ".join(upstream.last.all("via"))
    assert [each.strip() for each in passed.split(b",")] == [
        b"1.0 fred",
        b"1.1 session-proxy",
        b"1.1 session-proxy",
    ]
    assert upstream.last.target == b"/x"


def test_the_version_in_via_is_that_of_the_request(
    portal: Portal, upstream: Upstream
) -> None:
    site = portal.mount(upstream)
    raw = site.raw("GET", "/").replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n", 1)
    assert portal.exchange(raw).status == 200
    assert upstream.last.one("via") == b"1.0 session-proxy"
